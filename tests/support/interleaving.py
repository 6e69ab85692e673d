"""Random interleavings of writes, segment builds, corrections and deletions, with checked statistics.

PostgreSQL itself and plain arithmetic give the expected answers.
"""

import json
import math
import struct
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from django.db import connection
from django.utils import timezone

from devices import exclusions, maintenance, statistics
from devices.access.grants import Target
from devices.exclusions import Extent
from devices.ingestion import group_commit, idempotency, intake
from devices.ingestion.flusher import Flusher, PendingWrite
from devices.models import Device, Exclusion
from devices.statistics import Coverage, Statistics
from devices.storage import row_codec
from devices.storage.postgresql import readings_table, segment_builder, segment_schedule
from devices.storage.postgresql.segment_builder import SegmentSizes
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import Period
from tests.support import factories

SECOND = timedelta(seconds=1)
SMALL = SegmentSizes(base=300, run=40, fan=3, least=20, step=2)
# The shortest allowed: fresh readings leave no entry in the change log.
SETTLED_SECONDS = 61
WINDOW_SECONDS = 7200
CHANNELS = ("a", "b")
PERCENTILES = ("0", "5", "12.5", "50", "99.9", "100")


class PastAnswer(NamedTuple):
    """An answer to check again later."""

    device: Device
    period: Period
    answer: Statistics


class Interleaving:
    """Takes random steps and compares each answer with PostgreSQL's."""

    def __init__(self, devices: Sequence[Device], seed: int, *, sizes: SegmentSizes = SMALL) -> None:
        self.random = Random(seed)
        self.sizes = sizes
        self.devices = devices
        self.start = timezone.now() - timedelta(seconds=WINDOW_SECONDS)
        self.flusher = Flusher()
        self.past_answers: list[PastAnswer] = []
        self.counts: dict[str, int] = {}
        self.segments_used = self.rows_read = 0

    def step(self) -> None:
        steps: Sequence[tuple[Callable[[], None], int]] = (
            (self.append, 8),
            (self.append_block, 8),
            (self.ingest, 5),
            (self.flush, 5),
            (self.build, 24),
            (self.exclude, 3),
            (self.exclude_one, 2),
            (self.lift, 4),
            (self.clear, 1),
            (self.compact, 2),
            (self.ask, 30),
            (self.ask_all, 8),
            (self.ask_again, 8),
        )
        functions, weights = zip(*steps, strict=True)
        [step] = self.random.choices(functions, weights)
        self.counts[step.__name__] = self.counts.get(step.__name__, 0) + 1
        step()

    def close(self) -> None:
        self.flusher.disconnect()

    # --- Steps that change something

    def stamp(self) -> datetime:
        """A random time; sometimes one of ten fixed ones, near the present, or far in the past."""
        kind = self.random.random()
        if kind < 0.1:
            return self.start + self.random.randrange(10) * 60 * SECOND
        if kind < 0.15:
            return timezone.now() - self.random.random() * 120 * SECOND
        if kind < 0.17:
            return self.start - timedelta(days=self.random.randrange(400))
        return self.start + self.random.randrange(WINDOW_SECONDS * 1000) * timedelta(milliseconds=1)

    def value(self) -> float:
        kind = self.random.random()
        if kind < 0.5:
            return round(self.random.gauss(0, 3), 1) or 0.0
        if kind < 0.9:
            return self.random.gauss(1e3, 1e-3)
        if kind < 0.98:
            return self.random.choice((1.5, 2.5, -1e300, 5e-324, -5e-324))
        return self.random.uniform(-1, 1) * 1.7e308

    def reading(self) -> tuple[datetime, list[float]]:
        return self.stamp(), [self.value() for _ in CHANNELS]

    def device(self) -> Device:
        return self.random.choice(self.devices)

    def append(self) -> None:
        rows = [(self.device().pk, *self.reading()) for _ in range(self.random.randrange(1, 30))]
        factories.append(rows)

    def append_block(self) -> None:
        """Store regular readings of a device, more than a segment holds."""
        device, start = self.device(), self.stamp()
        times = unix_microseconds(start) + np.arange(self.random.randrange(100, 900)) * 1_000_000
        now = unix_microseconds(timezone.now())
        values = np.round(
            np.random.default_rng(self.random.randrange(2**32)).normal(20, 5, (len(times), 2)), 2
        )
        readings_table.append(row_codec.encode_rows(device.pk, times[times < now], values[times < now]))

    def taken(self) -> intake.Intake:
        device = self.device()
        readings = (self.reading() for _ in range(self.random.randrange(1, 20)))
        body = [
            {"timestamp": time.isoformat(), **dict(zip(CHANNELS, values, strict=True))}
            for time, values in readings
        ]
        return intake.take_batch(Target.of(device), json.dumps(body).encode(), timezone.now())

    def ingest(self) -> None:
        group_commit.store_now(self.taken())

    def flush(self) -> None:
        """Store several requests in one group, some with an Idempotency-Key."""
        requests = []
        for _ in range(self.random.randrange(1, 4)):
            key = idempotency.IdempotencyClaim("t", str(self.random.random()), b"")
            requests.append(PendingWrite(self.taken(), self.random.choice((None, key)), None))
        outcomes = self.flusher.flush(requests)
        assert all(isinstance(outcome, dict) for outcome in outcomes), outcomes

    def build(self) -> None:
        build(self.device(), self.sizes)

    def extent(self) -> tuple[datetime, datetime]:
        start = self.stamp()
        return start, start + self.random.choice((1, 60, 900)) * self.random.random() * SECOND + SECOND

    def exclude(self) -> None:
        exclusions.make(
            self.device(), Extent(*self.extent()), reason="Test.", by="tester", now=timezone.now()
        )

    def exclude_one(self) -> None:
        device = self.device()
        rows = readings_table.page([device.pk], Period(None, self.stamp()), limit=1)
        if rows:
            extent = exclusions.of_reading(device, rows[0].time, rows[0].values)
            exclusions.make(device, extent, reason="Test.", by="tester", now=timezone.now())

    def lift(self) -> None:
        found = Exclusion.objects.in_force().order_by("?").first()
        if found is not None:
            exclusions.lift(found, by="tester", now=timezone.now())

    def clear(self) -> None:
        self.device().clear()

    def compact(self) -> None:
        maintenance.compact_changes()

    # --- Steps that ask for statistics

    def period(self) -> Period:
        start, end = sorted((self.stamp(), self.stamp()))
        return Period(
            start if self.random.random() < 0.6 else None,
            end + SECOND if self.random.random() < 0.6 else None,
        )

    def ask(self) -> None:
        device, period = self.device(), self.period()
        percentiles = self.random.sample(PERCENTILES, self.random.randrange(3))
        answer = statistics.of_device(device, period, percentiles=percentiles)
        check(answer, [device], period, percentiles)
        assert statistics.count([device.pk], period) == {device.pk: answer.readings + answer.excluded}
        self.segments_used += answer.segments_used
        self.rows_read += answer.rows_read
        self.past_answers = [*self.past_answers[-20:], PastAnswer(device, period, answer)]

    def ask_all(self) -> None:
        period = self.period()
        pooled, each = statistics.of_devices(self.devices, period, percentiles=["25"])
        check(pooled, self.devices, period, ["25"])
        for device in self.devices:
            check(each[device.pk], [device], period, ["25"])

    def ask_again(self) -> None:
        """Check that a past answer still holds if neither a change nor another count is reported."""
        if not self.past_answers:
            return
        device, period, answer = self.random.choice(self.past_answers)
        changed = statistics.changed_since([device.pk], period, answer.snapshot)
        count = statistics.count([device.pk], period)[device.pk]
        if not changed and count == answer.readings + answer.excluded:
            check(answer, [device], period, list(answer.channels["a", ""].percentiles))


def make_device() -> Device:
    made = factories.device(profile=factories.profile("pair", CHANNELS))
    return Device.objects.with_channels().get(pk=made.pk)


def build(device: Device, sizes: SegmentSizes = SMALL) -> segment_builder.BuildProgress:
    return segment_schedule.build(
        device.pk, len(device.channels), sizes=sizes, settled_seconds=SETTLED_SECONDS
    )


# --- Expected answers


def check(answer: Statistics, devices: Sequence[Device], period: Period, percentiles: Sequence[str]) -> None:
    expected = by_postgresql([device.pk for device in devices], period, percentiles)
    assert (answer.readings, answer.excluded) == (expected["count"], expected["excluded"])
    assert (answer.first, answer.last) == (expected["first"], expected["last"])
    for name, values, figures in zip(CHANNELS, expected["values"], expected["figures"], strict=True):
        numbers = answer.channels[name, ""]
        assert numbers.count == expected["count"]
        if not numbers.count:
            assert (numbers.sum, numbers.avg, numbers.median) == (0.0, None, None)
            continue
        ours = [numbers.min, numbers.max, numbers.median, *(numbers.percentiles[p] for p in percentiles)]
        assert all(map(agree, ours, figures)), (name, ours, figures)
        total = exact_total(values)
        assert numbers.sum == total
    if len(devices) == 1:
        check_coverage(answer, period, expected["times"])


def agree(ours: float, theirs: float) -> bool:
    """Compare to the last bit; where PostgreSQL's interpolation overflows, ours must be finite."""
    return (
        struct.pack("d", ours) == struct.pack("d", theirs) if math.isfinite(theirs) else math.isfinite(ours)
    )


def exact_total(values: Sequence[float]) -> float | None:
    try:
        return math.fsum(values)
    except OverflowError:
        whole = sum(
            int(value.as_integer_ratio()[0] * 2**1074 // value.as_integer_ratio()[1]) for value in values
        )
        try:
            return whole / 2**1074
        except OverflowError:
            return None


def by_postgresql(device_ids: Sequence[int], period: Period, percentiles: Sequence[str]) -> dict[str, Any]:
    shares = ", ".join(["0.5", *(str(Decimal(p) / 100) for p in percentiles)])
    figures = ", ".join(
        f"ARRAY[min(v[{i}]), max(v[{i}])] || percentile_cont(ARRAY[{shares}]::float8[])"
        f" WITHIN GROUP (ORDER BY v[{i}]), array_agg(v[{i}])"
        for i in range(1, len(CHANNELS) + 1)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH stored AS (
                SELECT time, values AS v, EXISTS (
                    SELECT FROM devices_exclusion AS e
                    WHERE e.device_id = r.device_id AND e.lifted_at IS NULL AND e.start_time <= r.time
                        AND e.end_time > r.time AND (e.values IS NULL OR e.values = r.values)
                ) AS is_excluded
                FROM devices_reading AS r
                WHERE device_id = ANY(%s)
                    AND time >= coalesce(%s::timestamptz, '-infinity')
                    AND time < coalesce(%s::timestamptz, 'infinity')
            )
            SELECT (SELECT count(*) FROM stored WHERE is_excluded), count(*), min(time), max(time),
                array_agg(time ORDER BY time), {figures}
            FROM stored WHERE NOT is_excluded
            """,
            [list(device_ids), period.start, period.end],
        )
        excluded, count, first, last, times, *rest = cursor.fetchone()
    return {
        **{"excluded": excluded, "count": count, "first": first, "last": last, "times": times or []},
        **{"figures": [list_or_none(part) for part in rest[::2]], "values": rest[1::2]},
    }


def list_or_none(figures: list[float] | None) -> list[float]:
    return figures or []


def check_coverage(answer: Statistics, period: Period, times: Sequence[datetime]) -> None:
    intervals = [(later - earlier, earlier, later) for earlier, later in pairwise(times) if later > earlier]
    rhythm = median(length / SECOND for length, _, _ in intervals) if intervals else None
    assert answer.interval_seconds == rhythm or math.isclose(answer.interval_seconds, rhythm, rel_tol=1e-12)
    found = answer.coverage
    if not times:
        is_closed = period.start is not None and period.end is not None
        assert (found.percent, found.gaps) == ((0.0, 1) if is_closed else (None, None))
        return
    if rhythm is None:
        assert found == Coverage(None, None, None, None)
        return
    start, end = period.start or times[0], period.end or times[-1]
    intervals += [(times[0] - start, start, times[0]), (end - times[-1], times[-1], end)]
    expected = answer.interval_seconds
    gaps = [interval for interval in intervals if interval[0] / SECOND > 2 * expected]
    lacking = sum(length / SECOND - expected for length, _, _ in gaps)
    assert found.gaps == len(gaps)
    assert math.isclose(found.percent, 100 * (1 - lacking / ((end - start) / SECOND)), abs_tol=1e-6)
    if gaps:
        longest = max(length for length, _, _ in gaps)
        assert (found.longest.seconds, found.longest.end - found.longest.start) == (longest / SECOND, longest)
        assert (longest, found.longest.start, found.longest.end) in gaps
