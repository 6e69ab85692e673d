import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection, connections
from django.db.models import Model
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django_celery_results.models import TaskResult

from analytics.activity.models import Blog, EventType, Log, PendingEvent, Post, SpaceType
from analytics.models import Analysis, Calculation, Status
from devices import maintenance
from devices.models import Device, DeviceKey, DeviceProfile, Erasure, Exclusion, Import, Reading
from devices.storage.postgresql import readings_table
from devices.timeline.periods import Period
from tests.support import factories
from users.models import Token, User

pytestmark = pytest.mark.django_db(databases=["default", "activity"])
EVERYTHING = {"add", "change", "delete", "history"}
# Pages of each model. Staff see none of those in FOR_ADMINS.
PAGES: dict[type[Model], set[str]] = {
    User: EVERYTHING,
    Token: EVERYTHING - {"delete"},
    DeviceProfile: EVERYTHING,
    Device: EVERYTHING,
    DeviceKey: EVERYTHING - {"delete"},
    Reading: set(),
    Import: EVERYTHING - {"add", "delete"},
    Exclusion: EVERYTHING - {"add", "delete"},
    Analysis: EVERYTHING - {"add"},
    Calculation: EVERYTHING - {"add", "delete"},
    TaskResult: EVERYTHING - {"add", "delete"},
    Blog: EVERYTHING,
    Post: EVERYTHING,
    PendingEvent: EVERYTHING - {"add", "delete"},
    Log: EVERYTHING - {"add", "delete"},
    EventType: EVERYTHING - {"add", "delete"},
    SpaceType: EVERYTHING - {"add", "delete"},
}
FOR_ADMINS = {User, Token}
CREDENTIAL = re.compile(r"pl[td]_[0-9a-f]{8}\.[\w-]{43}")

by_model = pytest.mark.parametrize("model", PAGES, ids=lambda model: model.__name__)


def client(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def url(model: type[Model], page: str, *arguments: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def row(model: type[Model]) -> Model:
    """Create a row of each kind and return that of `model`."""
    device = factories.device(profile=factories.profile(f"profile-{DeviceProfile.objects.count()}", ["x"]))
    factories.readings(device, [(1.0,), (2.0,)])
    result = TaskResult.objects.create(task_id=str(device.uuid), result="{}", status="SUCCESS")
    rows: dict[type[Model], Model] = {
        User: device.owner,
        Token: factories.token(device.owner)[0],
        DeviceProfile: device.profile,
        Device: device,
        DeviceKey: DeviceKey.issue(device=device)[0],
        Reading: device,
        Import: Import.objects.create(name="a.csv", digest=device.uuid.hex, started_at=timezone.now()),
        Exclusion: factories.exclusion(device),
        Analysis: Analysis.objects.create(device=device, status=Status.FINISHED, task_result=result),
        Calculation: Calculation.objects.create(
            kernel="well", kernel_version="1", parameters={"lag": 1}, seed=1, asked_by=device.owner
        ),
        TaskResult: result,
        **activity_rows(),
    }
    return rows[model]


def activity_rows() -> dict[type[Model], Model]:
    factories.event_types()
    post = factories.post()
    factories.log(post.author, "comment", of=post.pk)
    now = timezone.now()
    return {
        Blog: post.blog,
        Post: post,
        PendingEvent: PendingEvent.objects.create(user_id=post.author_id, name="login", at=now),
        Log: Log.objects.first(),
        EventType: EventType.objects.first(),
        SpaceType: SpaceType.objects.first(),
    }


def changelist(model: type[Model], made: Model) -> str:
    query = f"?device__id__exact={made.pk}" if model is Reading else ""
    return url(model, "changelist") + query


def queries_of(ask: Callable[[], HttpResponse]) -> list[str]:
    logs = connections["activity"]
    with CaptureQueriesContext(connection) as queries, CaptureQueriesContext(logs) as of_logs:
        assert ask().status_code == 200
    return [query["sql"] for query in [*queries, *of_logs]]


def choose(client: Client, model: type[Model], action: str, *rows: Model, **fields: str) -> HttpResponse:
    """Run an action on rows of a list; return the next page."""
    data = {"action": action, "_selected_action": [row.pk for row in rows], **fields}
    return client.post(url(model, "changelist"), data, follow=True)


class TestPages:
    def test_every_registered_model_is_in_the_table(self):
        assert set(admin.site._registry) == set(PAGES)

    @pytest.mark.parametrize("person", [factories.admin, factories.colleague])
    def test_start_page_shows_only_permitted_sections(self, person):
        user = person()
        response = client(user).get("/admin/")
        assert response.status_code == 200
        assert (b"/admin/users/token/" in response.content) is user.is_admin
        assert b"/admin/devices/device/" in response.content

    @by_model
    @pytest.mark.parametrize("person", [factories.admin, factories.colleague])
    def test_each_page_follows_the_table_of_permissions(self, person, model):
        user, made = person(), row(model)
        seen = client(user)
        is_closed = model in FOR_ADMINS and not user.is_admin
        may = set() if is_closed else PAGES[model]
        pages = {page: url(model, page, made.pk) for page in EVERYTHING - {"add"} if model is not Reading}
        assert seen.get(changelist(model, made)).status_code == (403 if is_closed else 200)
        for page, path in {"add": url(model, "add"), **pages}.items():
            assert seen.get(path).status_code == (200 if page in may else 403), page

    @pytest.mark.parametrize("path", ["/admin/", "/admin/devices/device/", "/admin/users/user/add/"])
    def test_owner_is_redirected_to_the_login(self, path):
        response = client(factories.owner()).get(path)
        assert (response.status_code, "login" in response["Location"]) == (302, True)

    @by_model
    def test_queries_of_a_list_do_not_grow_with_its_rows(self, model):
        seen, first = client(factories.admin()), row(model)
        seen.get(changelist(model, first))
        before = queries_of(lambda: seen.get(changelist(model, first)))
        for _ in range(4):
            row(model)
        if model is Reading:
            factories.readings(first, [(3.0,)] * 20)
        after = queries_of(lambda: seen.get(changelist(model, first)))
        assert len(after) == len(before), after

    @pytest.mark.parametrize("model", [model for model in PAGES if model is not Reading])
    def test_a_list_can_be_searched(self, model):
        made = row(model)
        page = client(factories.admin()).get(url(model, "changelist"), {"q": str(made.pk)[:8]})
        assert page.status_code == 200

    def test_staff_choose_the_owner_of_a_new_device_from_a_plain_list(self):
        seen, owner = client(factories.colleague()), factories.owner()
        form = seen.get(url(Device, "add")).content.decode()
        assert "admin/autocomplete" not in re.search(r"<select[^>]*name=\"owner\"[^>]*>", form)[0]
        fields = {"owner": owner.pk, "profile": factories.profile().pk, "name": "New", "time_zone": "UTC"}
        assert seen.post(url(Device, "add"), fields).status_code == 302
        assert Device.objects.get().owner == owner


class TestUsers:
    def test_user_is_added_with_a_password_and_a_role(self):
        fields = {"login": "ada", "name": "Ada", "email": "ada@example.com", "role": "staff"}
        secret = {"usable_password": "true", "password1": "plumb-7-line", "password2": "plumb-7-line"}
        response = client(factories.admin()).post(url(User, "add"), fields | secret)
        assert response.status_code == 302
        user = User.objects.get(login="ada")
        assert (user.role, user.check_password("plumb-7-line")) == ("staff", True)

    def test_used_email_is_a_form_error(self):
        User.objects.create_user("ada", "ada@example.com")
        fields = {
            "login": "x",
            "name": "X",
            "email": "ADA@example.com",
            "role": "owner",
            "usable_password": "false",
        }
        response = client(factories.admin()).post(url(User, "add"), fields)
        assert response.status_code == 200
        assert b"This email is in use." in response.content

    def test_user_without_devices_is_deleted_with_their_tokens(self):
        user = factories.owner()
        factories.token(user)
        client(factories.admin()).post(url(User, "delete", user.pk), {"post": "yes"})
        assert not User.objects.filter(pk=user.pk).exists()
        assert not Token.objects.exists()

    def test_user_with_devices_cannot_be_deleted(self):
        device = factories.device()
        response = client(factories.admin()).post(url(User, "delete", device.owner.pk), {"post": "yes"})
        assert b"protected" in response.content
        assert Device.objects.filter(pk=device.pk).exists()

    def test_a_password_can_be_set(self):
        user = factories.owner()
        page = f"/admin/users/user/{user.pk}/password/"
        seen = client(factories.admin())
        assert seen.get(page).status_code == 200
        fields = {"usable_password": "true", "password1": "plumb-7-line", "password2": "plumb-7-line"}
        seen.post(page, fields)
        user.refresh_from_db()
        assert user.check_password("plumb-7-line")


class TestCredentials:
    def test_a_new_token_is_shown_once(self):
        seen, user = client(factories.admin()), factories.owner()
        response = seen.post(
            url(Token, "add"), {"user": user.pk, "name": "export", "scopes": ["read"]}, follow=True
        )
        [text] = CREDENTIAL.findall(response.content.decode())
        token = Token.find(text, timezone.now())
        assert (token.user, token.name, token.scopes) == (user, "export", ["read"])
        for page in (url(Token, "changelist"), url(Token, "change", token.pk), "/admin/"):
            assert text not in seen.get(page).content.decode()

    def test_a_new_key_is_shown_once(self):
        seen, device = client(factories.colleague()), factories.device()
        response = seen.post(url(DeviceKey, "add"), {"device": device.pk}, follow=True)
        [text] = CREDENTIAL.findall(response.content.decode())
        assert DeviceKey.find(text, timezone.now()).device == device
        assert text not in seen.get(url(DeviceKey, "changelist")).content.decode()

    def test_changing_a_token_issues_no_new_one(self):
        token, text = factories.token()
        ends = {"expires_at_0": "2030-01-01", "expires_at_1": "00:00:00"}
        response = client(factories.admin()).post(
            url(Token, "change", token.pk), {"name": "new", "scopes": ["read"], **ends}, follow=True
        )
        assert not CREDENTIAL.search(response.content.decode())
        found = Token.find(text, timezone.now())
        assert (found.name, found.scopes, found.expires_at.year) == ("new", ["read"], 2030)

    def test_rotated_keys_stay_valid_for_a_day(self):
        devices = [factories.device(), factories.device()]
        old = [DeviceKey.issue(device=device)[1] for device in devices]
        response = choose(client(factories.colleague()), Device, "rotate_keys", *devices)
        new, now = CREDENTIAL.findall(response.content.decode()), timezone.now()
        assert {DeviceKey.find(text, now).device for text in new} == set(devices)
        assert all(DeviceKey.find(text, now) for text in old)
        assert not any(DeviceKey.find(text, now + timedelta(days=1)) for text in old)

    def test_revoked_token_is_refused_at_once(self):
        (first, first_text), (_second, second_text) = factories.token(), factories.token()
        choose(client(factories.admin()), Token, "revoke", first)
        assert Token.find(first_text, timezone.now()) is None
        assert Token.find(second_text, timezone.now()) is not None


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


class TestAnalyses:
    def test_action_cancels_open_analyses_only(self):
        device = factories.device()
        open_one = Analysis.objects.create(device=device)
        over = Analysis.objects.create(device=device, status=Status.FINISHED)
        response = choose(client(factories.colleague()), Analysis, "cancel", open_one, over)
        assert b"Cancelled: 1." in response.content
        statuses = [Analysis.objects.get(pk=analysis.pk).status for analysis in (open_one, over)]
        assert statuses == [Status.CANCELLED, Status.FINISHED]

    @pytest.mark.parametrize("model", [Analysis, TaskResult])
    def test_rows_written_by_the_product_are_read_only(self, model):
        made = row(model)
        assert client(factories.admin()).post(url(model, "change", made.pk), {}).status_code == 403


class TestFilters:
    @pytest.mark.parametrize(
        "query", ["created_at__year=99999999", "created_at__year=0", "role__exact=%00", "q=%00", "p=99999999"]
    )
    def test_value_that_no_database_accepts_is_refused_or_ignored(self, query):
        response = client(factories.admin()).get(f"{url(User, 'changelist')}?{query}")
        assert response.status_code in (200, 302, 400)


class TestActivity:
    def test_posts_created_and_deleted_here_write_their_events(self):
        seen, blog = client(factories.colleague()), factories.blog()
        fields = {"blog": blog.pk, "author": blog.owner_id, "header": "Frost", "text": "Cold."}
        for _ in range(3):
            assert seen.post(url(Post, "add"), fields).status_code == 302
        first, *_ = Post.objects.all()
        seen.post(url(Post, "change", first.pk), {"header": "New", "text": ""})
        assert Post.objects.get(pk=first.pk).header == "New"
        seen.post(url(Post, "delete", first.pk), {"post": "yes"})
        choose(seen, Blog, "delete_selected", blog, post="yes")
        events = PendingEvent.objects.filter(user_id=blog.owner_id, object_id=blog.pk)
        assert sorted(event.name for event in events) == ["create_post"] * 3 + ["delete_post"] * 3
        assert not Blog.objects.exists()

    def test_logs_show_logins_and_are_searched_by_login(self):
        post = activity_rows()[Post]
        factories.log(987_654_321, "logout")
        seen = client(factories.colleague())
        page = seen.get(url(Log, "changelist"), {"q": post.author.login}).content.decode()
        assert ("comment" in page, "unknown" in page) == (True, False)
        assert "unknown" in seen.get(url(Log, "changelist")).content.decode()
        assert "0 logs" in seen.get(url(Log, "changelist"), {"q": "nobody"}).content.decode()

    def test_list_of_logs_counts_only_up_to_its_last_page(self):
        activity_rows()
        seen = client(factories.colleague())
        page = url(Log, "changelist") + "?_facets=True"
        counts = [sql for sql in queries_of(lambda: seen.get(page)) if "COUNT(" in sql]
        assert counts
        assert all("LIMIT 10000" in sql for sql in counts if "activity_log" in sql)
