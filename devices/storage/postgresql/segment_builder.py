"""Builds the segments of one device: repairs and extends base segments, merges them to larger ones.

`segment_schedule` says when, `segment_contents` computes what a segment has.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from django.db import connection, transaction

from devices.exact.keys import Doubles
from devices.storage import change_log, exclusion_rules
from devices.storage.postgresql import readings_by_span, segment_table
from devices.storage.postgresql.segment_contents import base_segment, cut_places, upper_segment
from devices.storage.postgresql.segment_lookup import VALID
from devices.storage.postgresql.segment_table import (
    PlacedSegment,
    SegmentRow,
    delete_touching,
    insert_segments,
    insert_unbuilt,
    read_contents,
)
from devices.timeline.instants import (
    INFINITY,
    MICROSECONDS_PER_SECOND,
    MINUS_INFINITY,
    PgMicroseconds,
    PgTimes,
    pg_literal,
)
from devices.timeline.spans import Span

# Segments are built of readings older than SETTLED_SECONDS, see `change_log.settled_before`.
SETTLED_SECONDS = 15 * 60
# A larger segment that late readings broke is merged again after QUIET_SECONDS without changes.
QUIET_SECONDS = 10 * 60
# The bounds of the time between two visits to a device.
SOONEST_SECONDS, LATEST_SECONDS = 60, 3600
LOCK_TIMEOUT = "2s"


# --- Deciding sizes


@dataclass(frozen=True)
class SegmentSizes:
    base: int = 8192  # readings in a base segment
    run: int = 64  # readings in a run of a base segment
    run_fan: int = 16  # runs of base segments in a run of a larger segment
    fan: int = 64  # base segments in a larger segment
    least: int = 1024  # readings that are worth a first segment
    step: int = 16  # base segments built in one transaction

    def are_worth_building(self, new: int, last: SegmentRow | None) -> bool:
        """Tell whether `new` readings behind the last base segment are enough to go on.

        A last segment that is not full is built again together with them, when it doubles or gets full: so a
        reading is built of only a few times.
        """
        if last is None:
            return new >= self.least
        if last.rows >= self.base:
            return new >= min(self.least, self.base)
        return new > 0 and (new >= last.rows or last.rows + new >= self.base)

    def readings_awaited(self, last: SegmentRow) -> int:
        """Return about how many readings behind the last base segment are worth building."""
        return min(max(last.rows, 1), self.base - last.rows % self.base)

    def mergeable_at_end(self, segments: Sequence[SegmentRow]) -> Sequence[SegmentRow]:
        """Choose from the base segments behind the last larger one."""
        # The very last one will be built again when it grows.
        return segments[: self.fan] if len(segments) > self.fan else []

    def mergeable_between(self, segments: Sequence[SegmentRow], quiet_seconds: float) -> Sequence[SegmentRow]:
        """Choose from the base segments between two larger ones."""
        is_quiet = all(segment.age_seconds >= quiet_seconds for segment in segments)
        if not is_quiet or len(segments) < 2:
            return []
        return segments if len(segments) < 2 * self.fan else segments[: self.fan]


SIZES = SegmentSizes()


# --- Visiting a device


class BuildProgress(NamedTuple):
    """Of one visit: readings that went into base segments, and how long the next visit may wait."""

    readings: int
    is_done: bool
    wait_seconds: float


class SegmentBuilder:
    """Brings the segments of one device up to date in bounded steps.

    Each step is a transaction that sees one state of the data, the one that its segments are about. A builder
    can be stopped anywhere, nothing waits for it, and it waits for no lock.
    """

    def __init__(self, device_id: int, channels: int, *, sizes: SegmentSizes, settled_seconds: float) -> None:
        self.device_id = device_id
        self.channels = channels
        self.sizes = sizes
        self.settled_seconds = settled_seconds
        self.readings = 0

    def visit(self, until: float) -> BuildProgress:
        """Work until nothing is left to do or `time.monotonic()` is past `until`.

        Raises DatabaseError, SegmentReplaced.
        """
        for work in (self.repair, self.extend, self.merge):
            while work():
                if time.monotonic() >= until:
                    return BuildProgress(self.readings, False, 0.0)
        return BuildProgress(self.readings, True, self.expected_wait())

    @contextmanager
    def step(self) -> Iterator[Any]:
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            yield cursor

    def segments(self, cursor: Any, condition: str, parameters: Sequence[object] = ()) -> list[SegmentRow]:
        return segment_table.segment_rows(cursor, self.device_id, condition, parameters)

    # Base segments

    def repair(self) -> bool:
        """Build the first base segments again whose stretch was changed; returns whether there were any."""
        with self.step() as cursor:
            condition = f"level = 0 AND NOT ({VALID}) ORDER BY start_time LIMIT %s"
            broken = self.segments(cursor, condition, [self.sizes.step])
            if not broken:
                return False
            end = broken[0].end
            for segment in broken[1:]:
                if segment.start != end:
                    break
                end = segment.end
            reached = self.rebuild(cursor, broken[0].start, end)
            if reached < end:
                insert_unbuilt(cursor, self.device_id, reached, end)
            return True

    def extend(self) -> bool:
        """Build base segments behind the last one; returns whether there may be more to build."""
        settled = change_log.settled_before(self.settled_seconds)
        with self.step() as cursor:
            last = self.last_base(cursor)
            start = last.end if last else MINUS_INFINITY
            if start >= settled:
                return False
            new = self.count_up_to_base(cursor, start, settled)
            if not self.sizes.are_worth_building(new, last):
                return False
            if last and last.rows < self.sizes.base:
                start = last.start
            return self.rebuild(cursor, start, settled) < settled

    def last_base(self, cursor: Any) -> SegmentRow | None:
        found = self.segments(cursor, "level = 0 ORDER BY start_time DESC LIMIT 1")
        return found[0] if found else None

    def count_up_to_base(self, cursor: Any, start: PgMicroseconds, end: PgMicroseconds) -> int:
        span = Span(self.device_id, start, end)
        return readings_by_span.count_up_to(cursor, span, self.sizes.base)

    def rebuild(self, cursor: Any, start: PgMicroseconds, end: PgMicroseconds) -> PgMicroseconds:
        """Replace the segments of a stretch by new base segments.

        Returns where these end: before `end` if there are more readings than one step may build of.
        """
        delete_touching(cursor, self.device_id, start, end)
        times, values, end = self.first_rows(start, end)
        rules = exclusion_rules.rules_in_force([self.device_id])
        places = cut_places(times, self.sizes.base)
        bounds = [start, *times[places].tolist(), end]
        segments = []
        for i, (first, last) in enumerate(zip([0, *places], [*places, len(times)], strict=True)):
            chosen = PgTimes(times[first:last])
            low, high = (int(chosen[0]), int(chosen[-1])) if len(chosen) else (INFINITY, MINUS_INFINITY)
            counted = rules.applied(self.device_id, chosen, values[:, first:last])
            segment = base_segment(counted, PgMicroseconds(low), PgMicroseconds(high), self.sizes.run)
            segments.append(PlacedSegment(segment, bounds[i], bounds[i + 1]))
        insert_segments(self.device_id, segments)
        self.readings += len(times)
        return end

    def first_rows(
        self, start: PgMicroseconds, end: PgMicroseconds
    ) -> tuple[PgTimes, Doubles, PgMicroseconds]:
        """Read as many rows as one step may build of; returns also where their stretch ends."""
        most = self.sizes.base * self.sizes.step
        [(times, values)] = readings_by_span.read(
            [Span(self.device_id, start, end)], self.channels, limit=most + 1
        )
        if len(times) <= most:
            return times, values, end
        next_time = PgMicroseconds(int(times[most]))
        if times[0] < next_time:
            rows = int(np.searchsorted(times, next_time))
            return PgTimes(times[:rows]), values[:, :rows], next_time
        # Readings of one time are never parted, however many they are.
        span = Span(self.device_id, start, PgMicroseconds(next_time + 1))
        [(times, values)] = readings_by_span.read([span], self.channels)
        return times, values, span.end

    # Larger segments

    def merge(self) -> bool:
        """Merge the first base segments that are ready for it; returns whether there were any."""
        with self.step() as cursor:
            uppers = self.segments(cursor, "level = 1 ORDER BY start_time")
            broken = [upper.id for upper in uppers if not upper.is_valid]
            if broken:
                cursor.execute("DELETE FROM devices_segment WHERE id = ANY(%s)", [broken])
            valid = [upper for upper in uppers if upper.is_valid]
            starts = [MINUS_INFINITY, *(upper.end for upper in valid)]
            ends = [*(upper.start for upper in valid), INFINITY]
            for start, end in zip(starts, ends, strict=True):
                group = self.mergeable(cursor, start, end) if start < end else []
                if group:
                    contents = read_contents([segment.id for segment in group], self.channels)
                    merged = upper_segment(contents, self.channels, self.sizes.run_fan)
                    insert_segments(self.device_id, [PlacedSegment(merged, group[0].start, group[-1].end)])
                    return True
            return False

    def mergeable(self, cursor: Any, start: PgMicroseconds, end: PgMicroseconds) -> Sequence[SegmentRow]:
        """Choose base segments to merge between two larger ones, or behind the last."""
        condition = "level = 0 AND start_time >= %s AND end_time <= %s ORDER BY start_time"
        bounds = [pg_literal(start), pg_literal(end)]
        if end == INFINITY:
            segments = self.segments(cursor, f"{condition} LIMIT %s", [*bounds, self.sizes.fan + 1])
            group = self.sizes.mergeable_at_end(segments)
        else:
            quiet_seconds = min(QUIET_SECONDS, self.settled_seconds)
            group = self.sizes.mergeable_between(self.segments(cursor, condition, bounds), quiet_seconds)
        return group if all(segment.is_valid for segment in group) else []

    # The next visit

    def expected_wait(self) -> float:
        """Return the seconds until, at the pace so far, enough readings to go on are there."""
        settled = change_log.settled_before(self.settled_seconds)
        with self.step() as cursor:
            last = self.last_base(cursor)
            if last is None or settled <= last.end:
                return SOONEST_SECONDS
            new = self.count_up_to_base(cursor, last.end, settled)
        if not new:
            return LATEST_SECONDS
        seconds = (settled - last.end) / MICROSECONDS_PER_SECOND
        wait = (self.sizes.readings_awaited(last) - new) * seconds / new
        return min(max(wait, SOONEST_SECONDS), LATEST_SECONDS)
