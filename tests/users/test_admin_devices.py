"""Django admin: profiles, devices and readings."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices import maintenance
from devices.models import Device, DeviceKey, DeviceProfile, Erasure, Reading
from devices.storage.postgresql import readings_table
from devices.timeline.periods import Period
from tests.support import factories
from tests.users.admin_pages import (
    changelist,
    choose,
    client,
    queries_of,
    url,
)

pytestmark = pytest.mark.django_db(databases=["default", "activity"])


class TestProfiles:
    def test_profile_in_use_keeps_order_and_names_of_its_channels(self):
        device = factories.device()
        [x, *_] = channels = list(device.profile.channels.all())
        fields = {"name": device.profile.name, "channels-TOTAL_FORMS": 4, "channels-INITIAL_FORMS": 3}
        for i, channel in enumerate(channels):
            fields |= {
                f"channels-{i}-id": channel.pk,
                f"channels-{i}-kind": "gauge",
                f"channels-{i}-unit": "m",
            }
        fields |= {"channels-0-name": "w", "channels-0-position": 7, "channels-1-DELETE": "on"}
        fields |= {"channels-3-name": "new", "channels-3-position": 3, "channels-3-kind": "gauge"}
        client(factories.colleague()).post(url(DeviceProfile, "change", device.profile.pk), fields)
        x.refresh_from_db()
        assert (x.unit, x.name, x.position) == ("m", "x", 0)
        assert device.profile.channels.count() == 3

    def test_profile_in_use_cannot_be_deleted(self):
        device = factories.device()
        page = url(DeviceProfile, "delete", device.profile.pk)
        client(factories.colleague()).post(page, {"post": "yes"})
        assert DeviceProfile.objects.filter(pk=device.profile.pk).exists()


class TestDeletingDevices:
    def test_delete_page_does_not_grow_with_the_readings(self):
        seen, device = client(factories.colleague()), factories.device()
        DeviceKey.issue(device=device)
        page = url(Device, "delete", device.pk)
        size, queries = len(seen.get(page).content), len(queries_of(lambda: seen.get(page)))
        factories.readings(device, [(1.0, 2.0, 3.0)] * 50_000)
        assert len(seen.get(page).content) == size
        assert len(queries_of(lambda: seen.get(page))) == queries

    def test_readings_of_a_deleted_device_are_erased_in_the_background(self):
        device = factories.device()
        number = device.pk
        DeviceKey.issue(device=device)
        factories.readings(device, [(1.0, 2.0, 3.0)] * 10)
        response = client(factories.colleague()).post(url(Device, "delete", number), {"post": "yes"})
        assert response.status_code == 302
        assert not Device.objects.exists()
        assert readings_table.count([number], Period()) == 10
        assert maintenance.erase_readings(timezone.now()) == 10

    def test_readings_of_devices_deleted_in_the_list_are_erased_too(self):
        devices = [factories.device(), factories.device()]
        for device in devices:
            DeviceKey.issue(device=device)
        ids = {device.pk for device in devices}
        choose(client(factories.colleague()), Device, "delete_selected", *devices, post="yes")
        assert not Device.objects.exists()
        assert set(Erasure.objects.values_list("pk", flat=True)) == ids


class TestReadings:
    def test_list_needs_a_device(self):
        factories.readings(factories.device(), [(1.0, 2.0, 3.0)])
        seen = client(factories.colleague())
        with CaptureQueriesContext(connection) as queries:
            response = seen.get(url(Reading, "changelist"))
        assert b"Choose a device" in response.content
        assert b"field-values" not in response.content
        assert not [query for query in queries if "devices_reading" in query["sql"]]

    def test_list_shows_the_readings_of_the_device_newest_first(self):
        device, other = factories.device(), factories.device()
        factories.readings(device, [(1.5, 0, 0), (2.5, 0, 0)])
        factories.readings(other, [(7.5, 0, 0)])
        page = client(factories.colleague()).get(changelist(Reading, device)).content.decode()
        assert re.findall(r'"field-values">(\d\.5), ', page) == ["2.5", "1.5"]

    def test_list_never_counts_the_whole_table(self):
        device = factories.device()
        factories.readings(device, [(1.0, 2.0, 3.0)] * 10_100)
        queries = queries_of(lambda: client(factories.colleague()).get(changelist(Reading, device)))
        reading = [sql for sql in queries if "devices_reading" in sql]
        assert reading
        for sql in reading:
            assert re.search(r"LIMIT \d+", sql), sql
            assert f'"device_id" = {device.pk}' in sql

    @pytest.mark.parametrize(
        "query", ["device__id__exact=x", "device__id__exact=99999999999", "time__gt=x", "p=x"]
    )
    def test_nonsense_in_the_query_is_no_server_error(self, query):
        response = client(factories.colleague()).get(url(Reading, "changelist") + f"?{query}", follow=True)
        assert response.status_code == 200

    def test_readings_are_read_only(self):
        device = factories.device()
        factories.readings(device, [(1.0, 2.0, 3.0)] * 2)
        seen = client(factories.admin())
        key = factories.NOON.isoformat()
        query = f"?device__id__exact={device.pk}"
        assert seen.post(url(Reading, "add"), {}).status_code == 403
        for page in ("change", "delete"):
            assert seen.post(url(Reading, page, key) + query, {"post": "yes"}).status_code in (302, 403, 404)
        choose(seen, Reading, "delete_selected", post="yes")
        assert readings_table.count([device.pk], Period()) == 2

    @pytest.mark.parametrize("page", ["change", "history", "delete"])
    def test_reading_has_no_page_of_its_own(self, page):
        device = factories.device()
        factories.readings(device, [(1.0, 2.0, 3.0)])
        factories.readings(device, [(1.0, 2.0, 3.0)])
        path = url(Reading, page, factories.NOON.isoformat()) + f"?device__id__exact={device.pk}"
        assert client(factories.admin()).get(path).status_code in (302, 403, 404)
