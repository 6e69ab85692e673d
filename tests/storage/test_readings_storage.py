"""One suite for all storages of readings: the same cases, the same answers. See tests/support/readings.py."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from uuid import uuid4

import numpy as np
import pytest
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from devices import statistics, storage
from devices.models import Device
from devices.statistics import Statistics
from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.timeline.instants import from_pg_microseconds, unix_microseconds
from devices.timeline.periods import Period
from devices.timeline.spans import Span
from tests.support import factories
from tests.support.factories import NOON

pytestmark = pytest.mark.django_db
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
EVER = Period()
# The readings have no foreign key: a number that nobody has is a new sender.
numbers = count(1_000_000)
ENDS = (
    "0001-01-01T00:00:00.000001",
    "1999-12-31T23:59:59.999999",
    "2024-02-29",
    "9999-12-31T23:59:59.999999",
)


def send(device_id: int, *times: datetime) -> None:
    factories.append((device_id, time, [float(i)]) for i, time in enumerate(times))


def stored(device_id: int, period: Period = EVER) -> list[tuple[datetime, list[float]]]:
    """Return all readings, oldest first."""
    rows = storage.current().page([device_id], period, limit=10_000)
    return [(row.time, row.values) for row in reversed(rows)]


class TestRows:
    @pytest.mark.parametrize("stamp", ENDS)
    def test_stamps_of_every_year_come_back(self, kept, stamp):
        device_id, time = next(numbers), datetime.fromisoformat(stamp).replace(tzinfo=UTC)
        send(device_id, time)
        assert stored(device_id) == [(time, [0.0])]
        assert kept.latest([device_id])[device_id].time == kept.first_time([device_id]) == time

    def test_any_number_of_values_comes_back_bit_for_bit(self, kept):
        device_id = next(numbers)
        rows = [
            [-0.0, 5e-324, math.pi],
            [1.7976931348623157e308],
            [0.1] * 200,
            [-1.7976931348623157e308, 1 / 3],
        ]
        factories.append((device_id, NOON + i * SECOND, row) for i, row in enumerate(rows))
        assert str([values for _, values in stored(device_id)]) == str(rows)

    def test_a_batch_may_span_many_months_and_years(self, kept):
        device_id = next(numbers)
        times = [datetime(year, month, 1, tzinfo=UTC) for year in range(1990, 2040) for month in (1, 2, 7)]
        send(device_id, *times)
        assert [time for time, _ in stored(device_id)] == times

    def test_two_readings_with_the_same_stamp_are_two(self, kept):
        device_id = next(numbers)
        for _ in range(2):
            factories.append([(device_id, NOON, [1.0])] * 2)
        assert kept.counts([device_id], EVER) == {device_id: 4}

    def test_pages_hold_every_reading_once(self, kept):
        ids = [next(numbers) for _ in range(3)]
        times = [NOON - i % 5 * SECOND for i in range(17)]
        for device_id in ids:
            send(device_id, *times)
        period = Period(NOON - 3 * SECOND, NOON)
        expected = sorted(
            ((time, device_id, float(i)) for device_id in ids for i, time in enumerate(times)),
            key=lambda row: row[:2],
            reverse=True,
        )
        expected = [row for row in expected if period.start <= row[0] < period.end]
        for limit in (1, 2, 5, 100):
            shown, after = [], None
            while rows := kept.page(ids, period, limit=limit, after=after):
                shown += [(row.time, row.device_id, *row.values) for row in rows]
                after = rows[-1].position
                assert kept.is_place(after.place)
            assert [row[:2] for row in shown] == [row[:2] for row in expected]
            assert sorted(shown) == sorted(expected)

    def test_old_readings_are_found_as_well_as_new_ones(self, kept):
        old, new = next(numbers), next(numbers)
        now = timezone.now().replace(microsecond=0)
        ages = (10 * SECOND, 5 * HOUR, 7 * DAY, 400 * DAY)
        send(new, *(now - age for age in ages))
        send(old, now - 3000 * DAY)
        for limit in range(1, 6):
            rows = kept.page([old, new], EVER, limit=limit)
            assert [row.time for row in rows] == [now - age for age in (*ages, 3000 * DAY)][:limit]
        latest = kept.latest([old, new, next(numbers)])
        assert {device_id: row.time for device_id, row in latest.items()} == {
            new: now - 10 * SECOND,
            old: now - 3000 * DAY,
        }
        assert kept.sent_since([old, new], now - HOUR) == {new}
        assert kept.first_time([old, new]) == now - 3000 * DAY

    def test_the_latest_is_the_first_of_the_first_page(self, kept):
        device_id = next(numbers)
        send(device_id, NOON, NOON, NOON - SECOND)
        assert kept.page([device_id], EVER, limit=1) == [kept.latest([device_id])[device_id]]

    def test_newest_readings_come_for_each_device(self, kept):
        busy, sparse, silent = (next(numbers) for _ in range(3))
        now = timezone.now().replace(microsecond=0)
        send(busy, *(now - age for age in (SECOND, HOUR, 2 * HOUR, 3 * DAY)))
        # One of these lies before every period that a storage may look into first.
        send(sparse, now - 5 * HOUR, now - 3000 * DAY)
        for limit in (1, 2, 3, 10):
            newest = kept.newest([busy, sparse, silent], limit)
            assert {device_id: [row.time for row in rows] for device_id, rows in newest.items()} == {
                busy: [now - age for age in (SECOND, HOUR, 2 * HOUR, 3 * DAY)][:limit],
                sparse: [now - 5 * HOUR, now - 3000 * DAY][:limit],
            }
            devices, times = kept.newest_times([busy, sparse, silent], limit)
            found = zip(devices.tolist(), map(from_pg_microseconds, times.tolist()), strict=True)
            assert sorted(found) == sorted((pk, row.time) for pk, rows in newest.items() for row in rows)
        assert kept.newest([busy], 10)[busy] == kept.page([busy], EVER, limit=10)

    def test_no_devices_have_no_readings(self, kept):
        send(next(numbers), NOON)
        assert kept.page([], EVER, limit=10) == []
        assert kept.newest([], 5) == {}
        assert [len(part) for part in kept.newest_times([], 5)] == [0, 0]
        assert (kept.latest([]), kept.sent_since([], NOON), kept.counts([], EVER)) == ({}, set(), {})
        assert kept.first_time([]) is None

    def test_bounds_are_half_open_to_the_microsecond(self, kept):
        device_id, other = next(numbers), next(numbers)
        send(device_id, NOON - MICROSECOND, NOON, NOON + HOUR - MICROSECOND, NOON + HOUR)
        for period, expected in (
            (Period(NOON, NOON + HOUR), 2),
            (Period(NOON), 3),
            (Period(None, NOON), 1),
            (EVER, 4),
        ):
            assert kept.counts([device_id, other], period) == {device_id: expected, other: 0}
            assert len(stored(device_id, period)) == expected

    def test_a_reading_is_recognised_by_time_and_values(self, kept):
        device_id = next(numbers)
        factories.append([(device_id, NOON, [0.0, 1.5])])
        assert kept.has(device_id, NOON, [-0.0, 1.5])
        for other in (
            (device_id, NOON, [0.0, 2.5]),
            (device_id, NOON, [0.0]),
            (device_id, NOON + SECOND, [0.0, 1.5]),
        ):
            assert not kept.has(*other)

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_batch_with_a_value_that_is_not_finite_is_refused(self, kept, bad):
        device_id = next(numbers)
        with pytest.raises(Exception, match="values_finite"):
            factories.append((device_id, NOON, [value]) for value in (1.0, bad))
        assert kept.counts([device_id], EVER) == {device_id: 0}


class TestDeleting:
    @pytest.mark.django_db(transaction=True)
    def test_a_cleared_device_has_no_readings_and_others_lose_none(self, kept):
        device, other = factories.device(), factories.device()
        for each in (device, other):
            factories.readings(each, [[1, 2, 3]] * 5)
        before = statistics.snapshot()
        kept.clear(device.pk)
        assert kept.counts([device.pk, other.pk], EVER) == {device.pk: 0, other.pk: 5}
        assert statistics.changed_since([device.pk, other.pk], EVER, before) == {device.pk}
        factories.readings(device, [[1, 2, 3]])
        assert len(stored(device.pk)) == 1

    def test_erasing_returns_the_number_of_readings(self, kept):
        device_id, other = next(numbers), next(numbers)
        send(device_id, NOON, NOON - 40 * DAY, datetime(1, 1, 1, tzinfo=UTC))
        send(other, NOON)
        assert [kept.erase(device_id, [].append), kept.erase(device_id, [].append)] == [3, 0]
        assert kept.counts([device_id, other], EVER) == {device_id: 0, other: 1}

    def test_only_the_span_is_removed(self, kept):
        device_id = next(numbers)
        send(device_id, *(NOON + i * SECOND for i in range(5)))
        kept.remove([Span.of(device_id, Period(NOON + SECOND, NOON + 3 * SECOND))])
        assert [time for time, _ in stored(device_id)] == [NOON, NOON + 3 * SECOND, NOON + 4 * SECOND]


class TestChangeLog:
    @pytest.mark.django_db(transaction=True)
    def test_late_readings_are_noted_and_fresh_ones_are_not(self, kept):
        device_id, before = next(numbers), statistics.snapshot()
        send(device_id, timezone.now())
        assert statistics.changed_since([device_id], EVER, before) == set()
        send(device_id, NOON - 400 * DAY)
        assert statistics.changed_since([device_id], EVER, before) == {device_id}
        assert statistics.changed_since([device_id], Period(NOON - DAY), before) == set()


# --- Figures

finite = st.floats(allow_nan=False, allow_infinity=False)
ordinary = st.floats(-100, 100).map(lambda value: round(value, 2))
tied = st.sampled_from([-0.0, 0.0, 5e-324, 1.0, 1e308, -1e308, 1.7976931348623157e308])
steps = st.integers(0, 10**6) | st.sampled_from([0, 10**6, 3600 * 10**6, 10**10])
rows = st.lists(st.tuples(steps, st.one_of(finite, ordinary, tied), ordinary), max_size=25)
shares = st.lists(
    st.sampled_from(["0", "5", "12.5", "25", "33.3", "75", "95", "99.9", "100"]), unique=True, max_size=3
)
reproducible = hypothesis_settings(
    derandomize=True,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def rows_of(device: Device, found: Sequence[tuple[int, float, float]]) -> Rows:
    times = unix_microseconds(NOON) + np.cumsum([step for step, _, _ in found], dtype=np.int64)
    return row_codec.encode_rows(device.pk, times, np.array([values for _, *values in found]))


def comparable(answer: Statistics) -> Statistics:
    """Leave out how the answer was found."""
    return replace(answer, segments_used=0, snapshot="")


def pair() -> list[Device]:
    """Two devices that share a channel."""
    profiles = [factories.profile("pair", ("a", "b"), "V"), factories.profile("swapped", ("b", "c"), "V")]
    return [factories.device(profile=profile) for profile in profiles]


@pytest.mark.clickhouse
@reproducible
@given(asked=st.tuples(rows, rows, shares, st.lists(st.integers(0, 20), max_size=5)))
@example(([(0, 1e308, 1.0)] * 3, [(0, -0.0, 0.0)], ["5"], []))
@example(([(0, 1e308, 1.0), (0, -1e308, 1.0)], [], ["12.5"], [3, 9]))
def test_figures_are_postgresqls_to_the_last_bit(clickhouse_readings, settings, asked):
    first, second, percentiles, cuts = asked
    devices = pair()
    periods = [EVER, *(Period(NOON + a * HOUR, NOON + b * HOUR) for a, b in pairwise(sorted({*cuts})))]
    exclude(devices, first)
    answers = []
    for url in ("postgresql", clickhouse_readings.url):
        settings.READINGS_URL = url
        for device, found in zip(devices, (first, second), strict=True):
            if found:
                storage.current().append(rows_of(device, found))
        answers.append(
            (
                list(map(comparable, statistics.of_periods(devices[0], periods, percentiles=percentiles))),
                all_of(devices, EVER, percentiles),
                all_of(devices, Period(NOON, NOON + HOUR), percentiles),
                statistics.count([device.pk for device in devices], Period(NOON + SECOND)),
            )
        )
    assert answers[0] == answers[1]


def exclude(devices: Sequence[Device], found: Sequence[tuple[int, float, float]]) -> None:
    """Exclude a stretch of time, and single readings."""
    if len(found) > 4:
        start = NOON + 2 * SECOND
        factories.exclusion(devices[0], start, start + SECOND / 2)
        time = NOON + sum(step for step, _, _ in found[:4]) * MICROSECOND
        factories.exclusion(devices[0], time, time + MICROSECOND, list(found[3][1:]))


def all_of(devices: Sequence[Device], period: Period, percentiles: Sequence[str]) -> tuple:
    pooled, each = statistics.of_devices(devices, period, percentiles=percentiles)
    return comparable(pooled), {pk: comparable(answer) for pk, answer in each.items()}


class TestFigures:
    def test_a_device_without_readings(self, kept):
        answer = statistics.of_device(factories.device(), EVER, percentiles=["5"])
        assert (answer.readings, answer.excluded, answer.first, answer.rows_read) == (0, 0, None, 0)
        x = answer.channels["x", ""]
        assert (x.count, x.sum, x.min, x.avg, x.median, x.percentiles) == (
            0,
            0.0,
            None,
            None,
            None,
            {"5": None},
        )

    def test_many_buckets_in_any_order_and_with_holes(self, kept):
        device = factories.device()
        factories.readings(device, [[i, -i, 0] for i in range(100)])
        periods = [Period(NOON + i * SECOND, NOON + (i + 7) * SECOND) for i in (0, 90, 10, 17, 3)]
        found = statistics.of_periods(device, [EVER, *periods])
        assert [answer.channels["x", ""].min for answer in found] == [0, 0, 90, 10, 17, 3]
        assert [answer.readings for answer in found] == [100, 7, 7, 7, 7, 7]
        assert found[0].coverage.gaps == 0
        assert found[0].interval_seconds == 1.0

    @pytest.mark.parametrize("rows", [[[1.0, 2.0]], [[1.0, 2.0, 3.0], [1.0, 2.0]], [[1.0] * 4, [1.0] * 3]])
    def test_another_number_of_values_than_the_profile_has_gives_no_statistics(self, kept, rows):
        device = factories.device()
        factories.readings(device, rows)
        with pytest.raises(ValueError, match="3 values"):
            statistics.of_device(device, EVER)

    def test_sums_are_correctly_rounded_and_null_beyond_the_largest_double(self, kept):
        device = factories.device()
        rows = [[1e308, 1e100, 5e-324], [1e308, 1.0, 5e-324], [-1.0, -1e100, 0.1]]
        factories.readings(device, rows)
        x, y, z = statistics.of_device(device, EVER).channels.values()
        assert (x.sum, y.sum, z.sum) == (None, 1.0, 0.1)
        assert x.avg == pytest.approx(2 / 3 * 1e308)

    def test_a_series_has_every_reading_that_counts_once(self, kept):
        device = factories.device()
        factories.readings(device, [[i, 1e308, -i] for i in range(1000)])
        factories.exclusion(device, NOON + 100 * SECOND, NOON + 150 * SECOND)
        period = Period(NOON, NOON + 997 * SECOND + MICROSECOND)
        for points in (1, 7, 1000):
            found = kept.series(device.pk, 3, period, points)
            assert len(found.counts) <= points
            assert found.counts.sum() == 948
            assert (found.starts[1:] > found.ends[:-1]).all()
            mean = (found.means[0] * found.counts).sum() / 948
            assert mean == pytest.approx((997 * 998 / 2 - sum(range(100, 150))) / 948)
            assert found.means[1] == pytest.approx(np.full(len(found.counts), 1e308))
            assert (found.lows[0].min(), found.highs[0].max(), found.lows[2].min()) == (0, 997, -997)
        nothing = kept.series(device.pk, 3, Period(NOON - DAY, NOON - HOUR), 10)
        assert (nothing.counts.tolist(), nothing.lows.shape) == ([], (3, 0))

    @pytest.mark.clickhouse
    @pytest.mark.parametrize("points", [1, 3, 7, 144, 5000])
    def test_columns_of_a_series_are_the_same_in_every_storage(self, clickhouse_readings, settings, points):
        device, random = factories.device(), np.random.default_rng(points)
        times = np.sort(random.integers(0, 86_400_000_000, 3000)) + unix_microseconds(NOON)
        found = []
        for url in ("postgresql", clickhouse_readings.url):
            settings.READINGS_URL = url
            storage.current().append(row_codec.encode_rows(device.pk, times, np.ones((3000, 3))))
            found.append(storage.current().series(device.pk, 3, Period(NOON, NOON + DAY), points))
        for name in ("starts", "ends", "counts"):
            assert (getattr(found[0], name) == getattr(found[1], name)).all()

    def test_hourly_means_leave_excluded_readings_out(self, kept):
        device = factories.device()
        factories.append((device.pk, NOON + i * HOUR / 2, [i, 0.1, 0]) for i in range(6))
        factories.exclusion(device, NOON, NOON + MICROSECOND)
        period = Period(NOON - HOUR, NOON + 2 * HOUR)
        assert kept.hourly_means(device.pk, 0, period) == [(NOON, 1.0), (NOON + HOUR, 2.5)]
        assert kept.hourly_means(device.pk, 1, period) == [(NOON, 0.1), (NOON + HOUR, 0.1)]


class TestCopying:
    @pytest.mark.clickhouse
    def test_days_have_the_same_checksums_in_every_storage(self, clickhouse_readings):
        device_id, elsewhere = next(numbers), storage.opened("postgresql")
        values = [[-0.0], [0.0], [5e-324, 1.0], [1e308, -1 / 3, 2.0], [0.1] * 130]
        times = [
            NOON,
            NOON - MICROSECOND,
            NOON - 300 * DAY,
            *(datetime.fromisoformat(f"{t}+00:00") for t in (ENDS[0], ENDS[-1])),
        ]
        for time, row in zip(times, values, strict=True):
            for each in (elsewhere, clickhouse_readings):
                each.append(row_codec.encode_row(device_id, unix_microseconds(time), row))
        days = elsewhere.days(device_id)
        assert days == clickhouse_readings.days(device_id)
        assert sum(day.count for day in days.values()) == 5

    def test_rows_go_out_and_in_again(self, kept):
        device_id, other = next(numbers), next(numbers)
        factories.append((device_id, NOON + i * SECOND, [float(i)] * (1 + i % 3)) for i in range(10))
        rows = kept.rows_of(Span.of(device_id, Period(NOON, NOON + 9 * SECOND)))
        assert len(rows.times) == 9
        tables = row_codec.split_by_width(rows.payload)
        found = sorted((int(row["time"]), row["items"]["value"].tolist()) for part in tables for row in part)
        assert [values for _, values in found] == [[float(i)] * (1 + i % 3) for i in range(9)]
        assert len(kept.rows_of(Span.of(other, Period(NOON, NOON + SECOND))).payload) == 0


@pytest.mark.clickhouse
class TestTokens:
    def test_rows_repeated_under_their_token_are_stored_once(self, clickhouse_readings):
        device_id, token = next(numbers), uuid4().hex
        rows = row_codec.encode_row(device_id, unix_microseconds(NOON), [1.0])
        for given_token in (token, token, "", "", f"{token}2"):
            clickhouse_readings.append(rows, given_token)
        assert clickhouse_readings.counts([device_id], EVER) == {device_id: 4}

    def test_so_are_rows_in_many_partitions(self, clickhouse_readings):
        device_id = next(numbers)
        times = np.array([unix_microseconds(NOON) - i * 30 * 86_400_000_000 for i in range(150)])
        rows = row_codec.encode_rows(device_id, times, np.ones((150, 2)))
        for _ in range(2):
            clickhouse_readings.append(rows, "the same")
        assert clickhouse_readings.counts([device_id], EVER) == {device_id: 150}
