"""`copy_readings` verifies each day of each device and copies only days that differ, there and back."""

import io
from datetime import datetime, timedelta

import numpy as np
import psycopg2
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from devices import statistics, storage, transfer
from devices.locks import AdvisoryLock
from devices.models import Device, Segment
from devices.storage import interface, row_codec
from devices.storage.interface import Storage
from devices.storage.postgresql import readings_table, segment_schedule
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import Period
from devices.timeline.spans import Span
from tests.support import factories
from tests.support.factories import NOON

pytestmark = [pytest.mark.clickhouse, pytest.mark.django_db(transaction=True)]
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
EVER = Period()
OWN = "postgresql"


@pytest.fixture
def there(chdb_readings: str) -> Storage:
    """ClickHouse, empty, while READINGS_URL still chooses PostgreSQL."""
    found = storage.opened(chdb_readings)
    found.client.command("TRUNCATE TABLE readings")
    return found


@pytest.fixture
def here() -> Storage:
    return storage.opened(OWN)


@pytest.fixture
def devices() -> list[Device]:
    """Two devices of different profiles with readings of many days, at both ends of time, and repeated."""
    found = [factories.device(), factories.device(profile=factories.profile("scalar", ("value",)))]
    for device in found:
        width = len(device.channels)
        times = unix_microseconds(NOON) - np.arange(5000) * 60_000_000
        values = np.random.default_rng(device.pk).normal(20, 5, (5000, width))
        readings_table.append(row_codec.encode_rows(device.pk, times, values))
        row = [-0.0] * width
        factories.append((device.pk, NOON, row) for _ in range(3))
        ends = (
            "0001-01-01T00:00:00+00:00",
            "1999-12-31T23:59:59.999999+00:00",
            "9999-12-31T23:59:59.999999+00:00",
        )
        factories.append((device.pk, datetime.fromisoformat(end), row) for end in ends)
    return found


def copy(to: str, **options: object) -> str:
    """Run the command; returns its output. Raises CommandError."""
    said = io.StringIO()
    call_command("copy_readings", to=to, stdout=said, stderr=said, **options)
    return said.getvalue()


def failing(to: str, **options: object) -> str:
    said = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command("copy_readings", to=to, stdout=said, stderr=said, **options)
    return said.getvalue() + str(error.value)


def same(here: Storage, there: Storage, devices: list[Device]) -> bool:
    return all(here.days(device.pk) == there.days(device.pk) != {} for device in devices)


def test_all_readings_arrive_and_figures_are_the_same(devices, here, there, settings):
    assert "2 devices" in copy(there.url)
    assert same(here, there, devices)
    ours = statistics.of_devices(devices, EVER)[0]
    settings.READINGS_URL = there.url
    theirs = statistics.of_devices(devices, EVER)[0]
    assert ours.channels == theirs.channels
    assert ours.readings == theirs.readings == 2 * 5006


def test_equal_days_are_not_copied_again(devices, here, there):
    copy(there.url)
    inserts = "SELECT count() FROM system.parts WHERE table = 'readings' AND database = currentDatabase()"
    before = there.query(inserts)
    readings_table.append(row_codec.encode_row(devices[0].pk, unix_microseconds(NOON), [7.0, 8.0, 9.0]))
    readings_table.append(row_codec.encode_row(devices[0].pk, unix_microseconds(NOON - DAY), [7.0, 8.0, 9.0]))
    [first, second] = transfer.compare(here, there, devices, lambda *_: None)
    assert (first.source.count - first.target.count, second.source.count - second.target.count) == (1, 1)
    copy(there.url)
    assert same(here, there, devices)
    # A day's missing readings are one insert: one part each, less what was merged meanwhile.
    assert there.query(inserts)[0][0] <= before[0][0] + 2


def test_killed_in_the_middle_it_goes_on(devices, here, there, monkeypatch):
    monkeypatch.setattr(transfer, "READINGS_AT_ONCE", 100)
    done = []

    def stop(doing: str, *progress: int) -> None:
        done.append(doing)
        if done.count("Copying") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transfer.copy(here, there, devices, stop, transfer.Surplus.DIFFERS)
    assert not same(here, there, devices)
    # Half a day, as if killed within one.
    [*_, day, _] = transfer.compare(here, there, devices, lambda *_: None)
    there.take_over(
        here.rows_of(transfer.pieces(transfer.Stretch(day.span, day.source.count, is_new=True))[0])
    )
    copy(there.url)
    assert same(here, there, devices)


def test_many_devices_with_few_readings_need_few_inserts(there, here):
    devices = [factories.device() for _ in range(40)]
    factories.append((device.pk, NOON + i * DAY, [i, 2, 3]) for device in devices for i in range(-50, 0, 7))
    copy(there.url)
    assert same(here, there, devices)
    parts = "SELECT countDistinct(_part), countDistinct(_partition_id) FROM readings"
    [(inserted, months)] = there.query(parts)
    assert inserted == months


def test_days_that_follow_each_other_are_one_stretch(devices):
    def difference(device: Device, day: int, here: int, there: int) -> transfer.Difference:
        return transfer.Difference(
            device, day, interface.DayChecksum(here, 1), interface.DayChecksum(there, 2)
        )

    one, two = devices
    days = [
        *(difference(one, day, 10, 0) for day in (1, 2, 3, 7)),
        difference(one, 8, 10, 5),
        difference(one, 9, 0, 5),
        difference(two, 9, transfer.READINGS_AT_ONCE, 0),
        difference(two, 10, 10, 0),
    ]
    found = [(s.span.device_id == one.pk, s.readings, s.is_new) for s in transfer.stretches(days)]
    assert found == [
        (True, 30, True),
        (True, 10, True),
        (True, 10, False),
        (False, transfer.READINGS_AT_ONCE, True),
        (False, 10, True),
    ]


def test_check_only_compares_and_lists_what_differs(devices, here, there):
    copy(there.url)
    readings_table.append(row_codec.encode_row(devices[1].pk, unix_microseconds(NOON), [1.5]))
    said = failing(there.url, check=True)
    assert f"{devices[1].uuid} 2026-11-21: 725 in the source, 724 in the target" in said
    assert "differ: 1." in said
    assert not same(here, there, devices)
    # As many readings, but one of them another.
    there.take_over(row_codec.encode_row(devices[1].pk, unix_microseconds(NOON), [1.25]))
    assert "725 on both sides, with other times or values" in failing(there.url, check=True)
    copy(there.url, delete=True)
    assert "2 devices" in copy(there.url, check=True)


def test_readings_deleted_in_the_source_are_deleted_in_the_target(devices, here, there):
    copy(there.url)
    here.clear(devices[0].pk)
    here.remove([Span.of(devices[1].pk, Period(NOON - DAY, NOON))])
    assert "stay, unless --delete is given" in failing(there.url)
    assert there.days(devices[0].pk) != {}
    copy(there.url, delete=True)
    assert there.days(devices[0].pk) == {}
    assert here.days(devices[1].pk) == there.days(devices[1].pk)


def test_after_the_switch_only_missing_readings_are_added(devices, here, there, settings):
    copy(there.url)
    late, new = [
        (row_codec.encode_row(devices[1].pk, unix_microseconds(NOON + i * SECOND), [i])) for i in (5, 6)
    ]
    # One comes here after the copy, the next one there after the switch.
    here.append(late)
    settings.READINGS_URL = there.url
    storage.current().append(new)
    before = there.counts([devices[1].pk], EVER)[devices[1].pk]
    copy(there.url)
    assert there.counts([devices[1].pk], EVER)[devices[1].pk] == before + 1
    assert there.has(devices[1].pk, NOON + 5 * SECOND, [5.0])
    assert there.has(devices[1].pk, NOON + 6 * SECOND, [6.0])
    copy(there.url)
    assert there.counts([devices[1].pk], EVER)[devices[1].pk] == before + 1


def test_nothing_is_deleted_where_the_portal_writes_even_without_its_settings(devices, here, there):
    copy(there.url)
    # After the switch, in a shell without READINGS_URL: the command takes the portal to be on PostgreSQL.
    there.take_over(row_codec.encode_row(devices[1].pk, unix_microseconds(NOON + SECOND), [7.5]))
    assert "stay, unless --delete is given" in failing(there.url)
    assert there.has(devices[1].pk, NOON + SECOND, [7.5])


def test_delete_is_refused_where_the_portal_writes(there, settings):
    settings.READINGS_URL = there.url
    assert "--delete" in failing(there.url, delete=True)


def test_only_one_copies_at_a_time(devices, there):
    with psycopg2.connect(**connection.get_connection_params()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock.COPY_READINGS])
        assert "Another copy_readings is running." in failing(there.url)
    other.close()


def test_copying_back(devices, here, there, settings):
    copy(there.url)
    settings.READINGS_URL = there.url
    device = devices[1]
    segment_schedule.build(device.pk, 1, settled_seconds=0)
    assert Segment.objects.filter(device_id=device.pk).exists()
    there.clear(devices[0].pk)
    factories.readings(device, [[1e9]] * 10, start=NOON - 2 * DAY)
    copy(OWN, delete=True)
    assert here.days(devices[0].pk) == {}
    assert here.days(device.pk) == there.days(device.pk)
    theirs = statistics.of_device(device, EVER)
    settings.READINGS_URL = ""
    # Its segments were built before the copy came back.
    assert statistics.of_device(device, EVER).channels == theirs.channels
    assert theirs.channels["value", ""].max == 1e9


def test_copying_makes_no_result_stale(devices, there, settings):
    before = statistics.snapshot()
    copy(there.url)
    settings.READINGS_URL = there.url
    assert statistics.changed_since([device.pk for device in devices], EVER, before) == set()


def test_copying_one_device(devices, here, there):
    copy(there.url, device=devices[1].uuid)
    assert (there.days(devices[0].pk), there.days(devices[1].pk)) == ({}, here.days(devices[1].pk))
    assert "no such device" in failing(there.url, device=devices[0].uuid.__class__(int=1))


def test_wrong_urls_are_refused_and_passwords_are_not_shown(devices, there):
    assert "source is the target" in failing(OWN)
    for nonsense in (
        "mysql://localhost/x",
        "clickhouse://",
        "clickhouse:///readings",
        "clickhouse://localhost",
        "clickhouse://somebody:hush@127.0.0.1:1x/readings",
        "clickhouse://[::1/readings",
    ):
        said = failing(nonsense)
        assert said.startswith("--to must be of the form clickhouse://user:password@host:port/database")
        assert "hush" not in said
    assert failing(OWN, **{"from": "nonsense"}).startswith("--from must be")
    said = failing("clickhouse://somebody:hush@127.0.0.1:1/readings")
    assert said.startswith("ClickHouse does not answer at 127.0.0.1:1: ")
    assert "refused" in said
    assert "hush" not in said
    assert "\n" not in said


def test_the_engine_of_the_tests_is_refused_unless_tests_added_it(devices, monkeypatch):
    monkeypatch.delitem(storage.ENGINES, "chdb", raising=False)
    assert failing("chdb:///tmp/x").startswith("--to must be")


def test_without_readings_there_is_nothing_to_do(there):
    assert "0 devices" in copy(there.url)
    factories.device(created_at=timezone.now())
    assert "1 devices" in copy(there.url, check=True)
