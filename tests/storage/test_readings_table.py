import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain, count
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices import storage
from devices.storage.postgresql import readings_table
from devices.storage.postgresql.partitions import make_partitions
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.concurrency import at_the_same_time
from tests.support.factories import NOON

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
# The readings table has no foreign key: a number that nobody has is a new sender.
numbers = count(1)
finite = st.floats(allow_nan=False, allow_infinity=False)
reproducible = hypothesis_settings(derandomize=True, deadline=None)


def append(device_id: int, *times: datetime) -> None:
    factories.append((device_id, time, [float(i)]) for i, time in enumerate(times))


def stored(device_id: int) -> list[tuple[datetime, list[float]]]:
    """Return all readings, oldest first."""
    return [
        (row.time, row.values) for row in reversed(readings_table.page([device_id], Period(), limit=10_000))
    ]


def partitions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'devices_reading'::regclass"
        )
        return {row[0] for row in cursor.fetchall()}


class TestRoundTrip:
    @reproducible
    @given(st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=20))
    @example(
        [[-0.0, 0.0, 5e-324], [2.2250738585072011e-308, 1.7976931348623157e308, -1.7976931348623157e308]]
    )
    @example([[0.1, 1 / 3, math.pi], [2.0**53 + 2, 1e22, 5e-5]])
    def test_values_come_back_bit_for_bit(self, rows):
        device_id = next(numbers)
        factories.append((device_id, NOON, row) for row in rows)
        by_page = [row.values for row in readings_table.page([device_id], Period(), limit=len(rows))]
        by_channel = factories.stored_values(device_id, Period(), 3).T.tolist()
        expected = sorted(map(str, rows))
        assert sorted(map(str, by_page)) == expected
        assert sorted(map(str, by_channel)) == expected

    @reproducible
    @given(st.lists(st.datetimes(datetime(1, 1, 1), datetime(1999, 12, 31), timezones=st.just(UTC))))
    def test_any_old_stamp_comes_back_to_the_microsecond(self, times):
        device_id = next(numbers)
        append(device_id, *times)
        assert [time for time, _ in stored(device_id)] == sorted(times)

    @pytest.mark.parametrize(
        "stamp",
        [
            "0001-01-01T00:00:00.000001",
            "1999-12-31T23:59:59.999999",
            "2000-01-01T00:00:00",
            "2024-02-29T23:59:59.999999",
            "2026-12-31T23:59:59.999999",
            "9999-12-31T23:59:59.999999",
        ],
    )
    def test_stamps_of_every_year_come_back(self, stamp):
        device_id, time = next(numbers), datetime.fromisoformat(stamp).replace(tzinfo=UTC)
        append(device_id, time)
        assert stored(device_id) == [(time, [0.0])]
        assert (
            readings_table.latest([device_id])[device_id].time
            == readings_table.first_time([device_id])
            == time
        )

    def test_a_reading_with_another_number_of_values_gives_no_statistics(self):
        device_id = next(numbers)
        factories.append([(device_id, NOON, [1.0, 2.0])])
        with pytest.raises(ValueError, match="3 values"):
            factories.stored_values(device_id, Period(), 3)


class TestAppend:
    def test_two_readings_with_the_same_stamp_are_two_readings(self):
        device_id = next(numbers)
        append(device_id, NOON, NOON)
        append(device_id, NOON)
        assert len(stored(device_id)) == 3

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_one_bad_value_stores_nothing_and_aborts_no_transaction(self, bad):
        device_id = next(numbers)
        rows = [(device_id, NOON, [value]) for value in (1.0, bad, 2.0)]
        with pytest.raises(IntegrityError, match="reading_values_finite"):
            factories.append(rows)
        assert stored(device_id) == []

    @pytest.mark.parametrize(
        ("values", "constraint"),
        [
            ("'{NaN}'", "reading_values_finite"),
            ("'{1, NaN, 2}'", "reading_values_finite"),
            ("'{Infinity}'", "reading_values_finite"),
            ("'{1, -Infinity}'", "reading_values_finite"),
            ("'{NULL}'", "reading_values_finite"),
            ("'{1, NULL}'", "reading_values_finite"),
            ("'{}'", "reading_values_one_dimension"),
            ("'{{1, 2}, {3, 4}}'", "reading_values_one_dimension"),
        ],
    )
    def test_the_table_refuses_wrong_values(self, values, constraint):
        assert refused(f"'2026-11-21', {values}").constraint_name == constraint

    def test_the_table_refuses_missing_fields(self):
        assert refused("'2026-11-21', NULL").column_name == "values"
        assert refused("NULL, '{1}'").message_primary.startswith("no partition")

    @pytest.mark.parametrize(
        ("time", "constraint"), [("-infinity", "reading_time_finite"), ("infinity", "reading_time_finite")]
    )
    def test_the_table_refuses_an_infinite_time(self, time, constraint):
        assert refused(f"'{time}', '{{1}}'").constraint_name == constraint


def refused(row: str) -> Any:
    """Return the database's diagnosis of a row of `time, values` that it refuses."""
    make_partitions([NOON])
    insert = f"INSERT INTO devices_reading (device_id, time, values) VALUES (1, {row})"
    with pytest.raises(DatabaseError) as caught, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(insert)
    return caught.value.__cause__.diag


class TestPartitions:
    @pytest.fixture(autouse=True)
    def _for_each_month(self, settings: Any) -> None:
        settings.PARTITION_MONTHS = 1200

    def test_the_first_reading_of_a_month_makes_its_partition(self):
        name = "devices_reading_2031_03"
        assert name not in partitions()
        device_id = next(numbers)
        append(device_id, datetime(2031, 3, 31, 23, 59, 59, tzinfo=UTC))
        assert name in partitions()
        assert len(stored(device_id)) == 1

    def test_a_batch_makes_all_its_partitions_and_is_stored_once(self):
        device_id = next(numbers)
        times = [datetime(2032, month, 1, tzinfo=UTC) for month in (1, 2, 3, 2, 1)]
        append(device_id, *times)
        assert {f"devices_reading_2032_0{month}" for month in (1, 2, 3)} <= partitions()
        assert [time for time, _ in stored(device_id)] == sorted(times)

    def test_months_are_in_utc(self):
        tokyo = timedelta(hours=9)
        stamp = datetime.fromisoformat("2033-05-01T08:00:00+09:00")
        assert stamp.utcoffset() == tokyo
        assert make_partitions([stamp]) == ["devices_reading_2033_04"]

    def test_years_before_the_product_have_one_partition_each(self):
        device_id = next(numbers)
        times = [datetime(2011, month, 1, tzinfo=UTC) for month in range(1, 13)]
        times += [datetime(2012, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC)]
        before = partitions()
        append(device_id, *times)
        assert partitions() - before <= {f"devices_reading_{year}" for year in (2011, 2012, 2025)}
        assert {"devices_reading_2011", "devices_reading_2012"} <= partitions()
        assert [time for time, _ in stored(device_id)] == times

    def test_readings_before_2000_are_stored_without_a_new_partition(self):
        before, device_id = partitions(), next(numbers)
        append(device_id, *(datetime(year, 6, 1, tzinfo=UTC) for year in (1, 1066, 1970, 1999)))
        assert partitions() == before
        assert readings_table.count([device_id], Period()) == 4

    def test_coming_partitions_are_made_once(self):
        now = datetime(2029, 11, 30, 23, tzinfo=UTC)
        names = [f"devices_reading_{month}" for month in ("2029_11", "2029_12", "2030_01", "2030_02")]
        assert storage.current().prepare(now) == names
        assert storage.current().prepare(now) == []

    @pytest.mark.django_db(transaction=True)
    def test_processes_that_make_them_at_the_same_time_share_the_work(self):
        now = datetime(2031, 5, 17, tzinfo=UTC)
        made = at_the_same_time(lambda: storage.current().prepare(now), times=4)
        names = [f"devices_reading_2031_0{month}" for month in (5, 6, 7, 8)]
        assert sorted(chain.from_iterable(made)) == names

    @pytest.mark.django_db(transaction=True)
    def test_first_readings_of_a_month_at_the_same_time_are_all_stored(self):
        device_id, time = next(numbers), datetime(2034, 7, 1, tzinfo=UTC)
        at_the_same_time(lambda: append(device_id, time), times=4)
        assert readings_table.count([device_id], Period()) == 4


# Few stamps, so that many are equal, on both sides of a month's end.
stamps = st.integers(-3, 3).map(lambda step: datetime(2026, 11, 1, tzinfo=UTC) + step * SECOND)
readings = st.lists(st.tuples(st.integers(0, 2), stamps), max_size=30)
periods = st.builds(Period, st.none() | stamps, st.none() | stamps)


def sent(rows: list[tuple[int, datetime]]) -> tuple[list[int], list[tuple[datetime, int, float]]]:
    """Store rows of (index of a device, time); returns devices and (time, device, number)."""
    ids = [next(numbers) for _ in range(3)]
    factories.append((ids[device], time, [float(i)]) for i, (device, time) in enumerate(rows))
    return ids, [(time, ids[device], float(i)) for i, (device, time) in enumerate(rows)]


def within(period: Period, time: datetime) -> bool:
    return (period.start is None or period.start <= time) and (period.end is None or time < period.end)


class TestReading:
    @reproducible
    @given(readings, periods, st.integers(1, 7), st.sets(st.integers(0, 2)))
    def test_pages_lose_and_repeat_nothing(self, rows, period, limit, asked):
        ids, everything = sent(rows)
        wanted = {ids[device] for device in asked}
        pages, after = [], None
        while page := readings_table.page(list(wanted), period, limit=limit, after=after):
            pages.append(page)
            after = page[-1].position
            assert len(pages) <= len(rows)
        got = [(row.time, row.device_id, row.values[0]) for page in pages for row in page]
        expected = [row for row in everything if row[1] in wanted and within(period, row[0])]
        assert sorted(got) == sorted(expected)
        assert [row[:2] for row in got] == sorted((row[:2] for row in expected), reverse=True)
        assert all(len(page) == limit for page in pages[:-1])

    @reproducible
    @given(readings, periods)
    def test_count_agrees_with_a_plain_list(self, rows, period):
        ids, everything = sent(rows)
        expected = [row for row in everything if row[1] in ids[:2] and within(period, row[0])]
        assert readings_table.count(ids[:2], period) == len(expected)

    @reproducible
    @given(readings, periods)
    def test_values_are_those_of_the_device_and_the_period(self, rows, period):
        ids, everything = sent(rows)
        [got] = factories.stored_values(ids[0], period, 1)
        expected = [
            number for time, device, number in everything if device == ids[0] and within(period, time)
        ]
        assert sorted(got) == expected

    @reproducible
    @given(readings, stamps)
    def test_first_latest_and_recent_agree_with_a_plain_list(self, rows, since):
        ids, everything = sent(rows)
        times = {device: [row[0] for row in everything if row[1] == device] for device in ids}
        latest = readings_table.latest(ids)
        assert {device: reading.time for device, reading in latest.items()} == {
            device: max(those) for device, those in times.items() if those
        }
        assert readings_table.first_time(ids) == min((row[0] for row in everything), default=None)
        assert readings_table.sent_since(ids, since) == {row[1] for row in everything if row[0] >= since}

    def test_the_latest_is_the_first_of_the_first_page(self):
        device_id = next(numbers)
        append(device_id, NOON, NOON, NOON - SECOND)
        assert readings_table.page([device_id], Period(), limit=1) == [
            readings_table.latest([device_id])[device_id]
        ]

    def test_no_devices_have_no_readings(self):
        append(next(numbers), NOON)
        assert readings_table.page([], Period(), limit=10) == []
        assert (readings_table.latest([]), readings_table.sent_since([], NOON)) == ({}, set())
        assert (readings_table.count([], Period()), readings_table.first_time([])) == (0, None)


class TestErase:
    def test_all_readings_of_one_device_are_deleted_and_no_others(self):
        device_id, other = next(numbers), next(numbers)
        append(device_id, NOON, NOON - timedelta(days=40), datetime(1, 1, 1, tzinfo=UTC))
        append(other, NOON)
        assert readings_table.erase(device_id, [].append) == 3
        assert (stored(device_id), len(stored(other))) == ([], 1)
        assert readings_table.erase(device_id, [].append) == 0

    @pytest.mark.parametrize(("rows", "steps"), [(0, 1), (10, 1), (11, 2), (25, 3), (33, 4)])
    def test_steps_are_bounded(self, monkeypatch, rows, steps):
        monkeypatch.setattr(readings_table, "ERASE_BATCH", 10)
        device_id = next(numbers)
        append(device_id, *(NOON + i * SECOND for i in range(rows)))
        with CaptureQueriesContext(connection) as queries:
            assert readings_table.erase(device_id, [].append) == rows
        assert len(queries) == steps
        assert stored(device_id) == []

    def test_readings_of_one_time_are_deleted_in_one_step(self, monkeypatch):
        monkeypatch.setattr(readings_table, "ERASE_BATCH", 10)
        device_id = next(numbers)
        append(device_id, *[NOON] * 35, NOON + SECOND)
        assert readings_table.erase(device_id, [].append) == 36
        assert stored(device_id) == []


MONTHS = ("2026_09", "2026_10", "2026_11")


@pytest.fixture
def many_readings() -> None:
    """201,000 readings of 20 devices, a third in each of three months."""
    make_partitions(datetime(2026, month, 1, tzinfo=UTC) for month in (9, 10, 11))
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO devices_reading (device_id, time, values)
            SELECT 1 + i %% 20, month + i * interval '30 s', ARRAY[i, -i, 0]
            FROM generate_series(1, 67000) AS i, unnest(%s::timestamptz[]) AS month
            """,
            [[f"{month.replace('_', '-')}-01" for month in MONTHS]],
        )
        cursor.execute("ANALYZE devices_reading")


def plan(read: Callable[[], object]) -> str:
    """Return PostgreSQL's plan for the one query that `read` makes."""
    with CaptureQueriesContext(connection) as queries:
        read()
    [query] = queries
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {query['sql']}")
        return "\n".join(row[0] for row in cursor.fetchall())


@pytest.mark.usefixtures("many_readings")
def test_every_read_uses_the_index():
    [last] = readings_table.page([7], Period(), limit=1)
    for read in (
        lambda: readings_table.page([7], Period(), limit=100),
        lambda: readings_table.page(list(range(1, 21)), Period(), limit=100, after=last.position),
        lambda: readings_table.latest(list(range(1, 21))),
        lambda: readings_table.newest(list(range(1, 21)), 20),
        lambda: readings_table.sent_since(list(range(1, 21)), NOON),
        lambda: readings_table.first_time(list(range(1, 21))),
        lambda: readings_table.count([7], Period()),
        lambda: readings_table.erase(7, [].append),
    ):
        text = plan(read)
        # An empty partition is cheapest to scan.
        assert "Seq Scan on devices_reading_2026" not in text, text
        assert "Index" in text, text


@pytest.mark.usefixtures("many_readings")
def test_a_period_of_one_month_reads_no_other_month():
    october = Period(datetime(2026, 10, 2, tzinfo=UTC), datetime(2026, 10, 9, tzinfo=UTC))
    for read in (
        lambda: readings_table.page([7, 8], october, limit=100),
        lambda: readings_table.count([7, 8], october),
    ):
        text = plan(read)
        assert [month for month in MONTHS if month in text] == ["2026_10"], text
        assert "Seq Scan" not in text, text
