import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from threading import Event

import numpy as np
import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from devices import exclusions, maintenance, statistics, tasks
from devices.exclusions import Extent
from devices.locks import AdvisoryLock
from devices.models import Change, Device, Rollup, Segment
from devices.storage import change_log, row_codec
from devices.storage.postgresql import readings_table, segment_schedule
from devices.storage.postgresql.chart_columns import series
from devices.storage.postgresql.segment_builder import SegmentSizes
from devices.timeline.instants import MICROSECONDS_PER_HOUR, unix_microseconds
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.concurrency import another_connection, own_connection
from tests.support.interleaving import CHANNELS, SMALL, Interleaving, build, check, make_device

pytestmark = pytest.mark.django_db(transaction=True)

STEPS = 300
SECOND = timedelta(seconds=1)
CONCURRENT_SECONDS = 8
ALL = Period()


def filled(rows: int = 3000, *, ago: timedelta = timedelta(hours=2)) -> Device:
    """A device with readings a second apart, the first `ago`."""
    made = make_device()
    add(made, timezone.now() - ago, rows)
    return made


def add(to: Device, start: datetime, rows: int) -> None:
    values = np.random.default_rng(rows).normal(20, 5, (rows, 2))
    readings_table.append(
        row_codec.encode_rows(to.pk, unix_microseconds(start) + np.arange(rows) * 1_000_000, values)
    )


def built(rows: int = 3000) -> Device:
    made = filled(rows)
    build(made)
    return made


def right(of: Device, period: Period = ALL) -> statistics.Statistics:
    """Return the answer, after checking it against PostgreSQL's."""
    answer = statistics.of_device(of, period, percentiles=["5"])
    check(answer, [of], period, ["5"])
    return answer


def tiles(of: Device, level: int = 0) -> list[Segment]:
    return list(Segment.objects.filter(device_id=of.pk, level=level).order_by("start_time"))


def first_time(of: Device) -> datetime:
    return readings_table.first_time([of.pk])


def test_answers_are_postgresqls_after_any_steps():
    interleaving = Interleaving([make_device(), make_device()], seed=4)
    with closing(interleaving):
        for _ in range(STEPS):
            interleaving.step()
    assert interleaving.segments_used > 100


def test_writers_builders_and_questions_at_the_same_time():
    """Answers agree with PostgreSQL's while others write and build."""
    devices = [filled(1000), filled(1000)]
    over = Event()
    errors: list[Exception] = []

    def until_over(seed: int, job: Callable[[Interleaving], None]) -> Callable[[], int]:
        def run() -> int:
            interleaving, times = Interleaving(devices, seed), 0
            with closing(interleaving):
                while not over.is_set() and not errors:
                    try:
                        job(interleaving)
                    except Exception as error:  # whatever it is, the test is to end with it
                        errors.append(error)
                    times += 1
            return times

        return own_connection(run)

    def ask(interleaving: Interleaving) -> None:
        with change_log.repeatable_read():
            interleaving.ask()

    jobs = [
        until_over(1, Interleaving.append),
        until_over(2, Interleaving.flush),
        until_over(3, Interleaving.build),
        until_over(4, Interleaving.build),
        until_over(5, Interleaving.exclude),
        until_over(6, Interleaving.lift),
        until_over(7, ask),
        until_over(8, ask),
    ]
    with ThreadPoolExecutor(len(jobs)) as threads:
        running = [threads.submit(job) for job in jobs]
        over.wait(CONCURRENT_SECONDS)
        over.set()
        counts = [job.result() for job in running]
    for error in errors:
        raise error
    assert min(counts) > 0, counts
    for each in devices:
        build(each)
        assert right(each).segments_used > 0


class TestBuilding:
    def test_base_segments_tile_the_time_line_and_larger_ones_stand_on_them(self):
        of = built()
        base, upper = tiles(of), tiles(of, 1)
        assert sum(tile.count for tile in base) == 3000
        assert all(a.end_time == b.start_time for a, b in pairwise(base))
        starts, ends = {tile.start_time for tile in base}, {tile.end_time for tile in base}
        assert upper
        assert all(tile.start_time in starts and tile.end_time in ends for tile in upper)
        answer = right(of)
        assert (answer.rows_read, answer.readings) == (0, 3000)
        assert answer.segments_used < len(base)

    def test_a_second_visit_has_nothing_to_do(self):
        of = built()
        before = [tile.pk for tile in tiles(of)]
        assert build(of).readings == 0
        assert [tile.pk for tile in tiles(of)] == before

    def test_fresh_readings_are_left_alone(self):
        of = make_device()
        add(of, timezone.now() - timedelta(seconds=50), 40)
        build(of)
        assert tiles(of) == []

    def test_an_open_transaction_is_waited_for(self):
        with another_connection() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1")
            settled = change_log.settled_before(61)
            assert settled < (time.time() - 946_684_800 - 61) * 1_000_000
            cursor.execute("ROLLBACK")

    def test_a_device_that_somebody_else_builds_is_left_to_them(self):
        of = filled()
        with another_connection() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [AdvisoryLock.BUILD_SEGMENTS, of.pk])
            assert build(of) == (0, False, 0.0)
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [AdvisoryLock.BUILD_SEGMENTS, of.pk])
        assert build(of).readings == 3000

    def test_work_stops_when_time_is_up_and_goes_on_later(self):
        of = filled(5000)
        sizes = SegmentSizes(base=100, run=40, fan=3, least=20, step=2)
        progress = segment_schedule.build(of.pk, 2, until=0, sizes=sizes, settled_seconds=61)
        assert not progress.is_done
        assert progress.readings == 200
        assert right(of).segments_used == 2
        segment_schedule.build(of.pk, 2, sizes=sizes, settled_seconds=61)
        assert right(of).rows_read == 0

    def test_a_segment_that_is_not_full_grows(self):
        of = filled(100, ago=timedelta(hours=2))
        build(of)
        assert [tile.count for tile in tiles(of)] == [100]
        add(of, timezone.now() - timedelta(hours=1), 150)
        build(of)
        assert [tile.count for tile in tiles(of)] == [250]

    def test_readings_of_one_time_stay_in_one_segment(self):
        of, time_ = make_device(), timezone.now() - timedelta(hours=1)
        factories.append((of.pk, time_, [float(i), 1.0]) for i in range(1000))
        add(of, time_ + SECOND, 700)
        build(of)
        assert 1000 in [tile.count for tile in tiles(of)]
        assert right(of).rows_read == 0

    def test_many_more_readings_in_an_old_stretch_are_built_in_steps(self):
        of = built(700)
        add(of, first_time(of) - timedelta(hours=5), 4000)
        build(of)
        assert max(tile.count for tile in tiles(of)) <= SMALL.base
        assert right(of).rows_read == 0


class TestChanges:
    @pytest.mark.parametrize("place", [0, 0.4, 1.0])
    def test_a_late_reading_counts_at_once(self, place):
        of = built()
        time_ = first_time(of) + place * 2999 * SECOND
        factories.append([(of.pk, time_, [1e9, -1e9])])
        answer = right(of)
        assert answer.readings == 3001
        assert 0 < answer.rows_read < 1000
        build(of)
        assert right(of).rows_read == 0

    def test_an_uncommitted_reading_is_neither_seen_nor_built_in(self):
        of = built()
        time_ = first_time(of) + 500 * SECOND
        with another_connection() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO devices_change VALUES (%s, %s, %s, false)", [of.pk, time_, time_])
            cursor.execute("INSERT INTO devices_reading VALUES (%s, %s, '{5,5}')", [of.pk, time_])
            assert right(of).rows_read == 0
            segment_schedule.drop([of.pk])
            build(of)
            cursor.execute("COMMIT")
        answer = right(of)
        assert answer.readings == 3001
        assert answer.rows_read > 0

    def test_exclusions_and_their_lifting_take_effect_at_once(self):
        of = built()
        start = first_time(of) + 1000 * SECOND
        extent = Extent(start, start + 600 * SECOND)
        made = exclusions.make(of, extent, reason="Test.", by="tester", now=timezone.now())
        answer = right(of)
        assert (answer.readings, answer.excluded) == (2400, 600)
        build(of)
        answer = right(of)
        assert (answer.readings, answer.excluded, answer.rows_read) == (2400, 600, 0)
        exclusions.lift(made, by="tester", now=timezone.now())
        assert (right(of).readings, right(of).excluded) == (3000, 0)

    def test_a_cleared_device_starts_again_from_nothing(self):
        of = built()
        of.clear()
        assert (right(of).readings, right(of).segments_used, tiles(of)) == (0, 0, [])
        add(of, timezone.now() - timedelta(hours=1), 400)
        build(of)
        assert (right(of).readings, right(of).rows_read) == (400, 0)

    def test_segments_of_another_cluster_are_not_trusted(self):
        """After a dump is restored their transaction ids mean nothing."""
        of = built()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE devices_segment SET cluster = cluster - 1")
        assert right(of).segments_used == 0
        build(of)
        assert right(of).rows_read == 0

    def test_a_snapshot_of_another_cluster_counts_as_changed(self):
        of = built()
        now = statistics.snapshot()
        assert statistics.changed_since([of.pk], ALL, now) == set()
        cluster, _, state = now.partition("/")
        assert statistics.changed_since([of.pk], ALL, f"{int(cluster) - 1}/{state}") == {of.pk}

    def test_fresh_readings_leave_no_entry_and_late_ones_few(self):
        of = make_device()
        add(of, timezone.now() - timedelta(seconds=30), 20)
        assert not Change.objects.exists()
        add(of, timezone.now() - timedelta(hours=2), 6000)
        assert 2 <= Change.objects.count() <= 3
        add(of, timezone.now() - timedelta(days=30), 8000)
        times = unix_microseconds(timezone.now()) - np.arange(1000) * 7_200_000_000
        readings_table.append(row_codec.encode_rows(of.pk, times, np.zeros((1000, 2))))
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM devices_change WHERE is_wide")
            assert cursor.fetchone()[0] == 1

    def test_the_log_is_kept_small_and_says_the_same(self):
        of = built()
        before = statistics.snapshot()
        hour = first_time(of).replace(minute=0, second=0, microsecond=0)
        for i in range(50):
            factories.append([(of.pk, hour + i * SECOND, [1.0, 1.0])])
        after = statistics.snapshot()
        maintenance.compact_changes()
        assert Change.objects.filter(first_time=hour).count() == 1
        period = Period(hour, hour + timedelta(hours=1))
        assert statistics.changed_since([of.pk], period, before) == {of.pk}
        assert statistics.changed_since([of.pk], period, after) == set()
        assert right(of).readings == 3050


class TestMaintenance:
    def test_devices_are_visited_when_due(self):
        of, other = filled(6000), filled(10)
        assert tasks.build_rollups() > 0
        assert right(of).rows_read < 1024
        assert set(Rollup.objects.values_list("device_id", flat=True)) == {of.pk, other.pk}
        assert tasks.build_rollups() == 0
        factories.append([(of.pk, first_time(of), [1.0, 1.0])])
        assert tasks.build_rollups() > 0

    def test_segments_of_an_erased_device_are_deleted(self):
        of = built()
        of.erase()
        tasks.tidy_rollups()
        assert (Segment.objects.count(), Change.objects.count(), Rollup.objects.count()) == (0, 0, 0)

    def test_the_command_rebuilds(self, capsys):
        of = filled(6000)
        call_command("rebuild_rollups")
        assert "1 of 1: Pump" in capsys.readouterr().out
        assert right(of).segments_used > 0
        call_command("rebuild_rollups", device=of.uuid)
        assert right(of).segments_used > 0


class TestSeries:
    @pytest.mark.parametrize("points", [1, 7, 60, 1000])
    def test_columns_hold_every_reading_once(self, points):
        of = built()
        start = first_time(of)
        exclusions.make(
            of, Extent(start, start + 30 * SECOND), reason="Test.", by="tester", now=timezone.now()
        )
        period = Period(start, start + 2900 * SECOND)
        found = series(of.pk, len(of.channels), period, points)
        answer = right(of, period)
        assert found.counts.sum() == answer.readings == 2870
        assert len(found.counts) <= points
        assert (found.starts[1:] > found.ends[:-1]).all()
        for place, name in enumerate(CHANNELS):
            numbers = answer.channels[name, ""]
            assert (found.lows[place].min(), found.highs[place].max()) == (numbers.min, numbers.max)
            mean = (found.means[place] * found.counts).sum() / found.counts.sum()
            assert mean == pytest.approx(numbers.avg, rel=1e-12)

    def test_no_readings_give_no_columns(self):
        now = timezone.now()
        assert series(make_device().pk, 2, Period(now, now + SECOND), 100).counts.tolist() == []


def test_late_readings_touch_a_span_for_each_device_and_hour():
    hour = MICROSECONDS_PER_HOUR
    found = change_log.touched_spans(np.array([2, 1, 1, 1]), np.array([5, hour + 1, 3, hour + 9]))
    assert found == [(1, 3, 3), (1, hour + 1, hour + 9), (2, 5, 5)]
    times = np.arange(150) * hour
    assert change_log.touched_spans(np.full(150, 7), times) == [(7, 0, 149 * hour)]
