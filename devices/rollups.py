"""When and where segments are built of readings that have come to rest: base ones, and larger ones of those.

The base segments of a device tile its time line without holes from -infinity to where they end so far, each
beginning where the one before ends, cut only between different stamps. All is derived: what is wrong, or was
dropped, is built anew.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from django.db import IntegrityError, OperationalError, connection, transaction

from devices import store, tiles
from devices.columns import Gone
from devices.cover import VALID
from devices.locks import AdvisoryLock
from devices.making import base_segment, cuts, upper_segment
from devices.spans import INFINITY, MINUS_INFINITY, Span, literal
from devices.tiles import UNBUILT, Tile, insert, stored

logger = logging.getLogger(__name__)

# Only readings older than this are built of. Fresh ones, which leave no entry in the change log, are stored
# within LATE_AFTER_SECONDS of their stamp and however long a transaction takes: the oldest is waited for.
SETTLED_SECONDS = 15 * 60
TRANSACTION_MARGIN_SECONDS = 5 * 60
# Where late readings disturbed a larger segment, it is made again when there has been quiet for so long.
QUIET_SECONDS = 10 * 60
SOONEST_SECONDS, LATEST_SECONDS = 60, 3600
LOCK_TIMEOUT = "2s"


@dataclass(frozen=True)
class Sizes:
    """Readings of a base segment, and of a run in it; runs of those in a run of a larger one; base segments
    of a larger one; readings that are worth a first segment; base segments made in one transaction."""

    base: int = 8192
    run: int = 64
    run_fan: int = 16
    fan: int = 64
    least: int = 1024
    step: int = 16


SIZES = Sizes()


class Progress(NamedTuple):
    """Of a visit to a device."""

    readings: int  # that went into base segments
    is_done: bool
    wait_seconds: float


# --- Visiting a device


class Builder:
    """Brings the segments of one device up to date, in bounded steps of a transaction each.

    A step sees one state of the data, which is the one that its segments are about, and commits by itself: so
    it can be stopped anywhere. Nothing waits for it, and it waits for nothing.
    """

    def __init__(self, device_id: int, channels: int, *, sizes: Sizes, settled_seconds: float) -> None:
        self.device_id = device_id
        self.channels = channels
        self.sizes = sizes
        self.settled_seconds = settled_seconds
        self.readings = 0

    def visit(self, until: float) -> Progress:
        """Work until all is done or `time.monotonic()` is past `until`. Raises DatabaseError, Gone."""
        state = self.state()
        for work in (self.repair, self.extend, self.merge):
            while work():
                if time.monotonic() >= until:
                    return Progress(self.readings, False, 0.0)
        wait = self.expected_wait()
        self.note_visit(state, wait)
        return Progress(self.readings, True, wait)

    @contextmanager
    def step(self) -> Iterator[Any]:
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            yield cursor

    def state(self) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_snapshot()::text")
            return cursor.fetchone()[0]

    def settled_before(self) -> int:
        """All readings before this that leave no entry in the change log are committed.

        To be asked before the step's transaction begins: a writer that is under way now either is among the
        oldest, or has committed by then.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT timestamptz_send(least(
                    clock_timestamp() - make_interval(secs => %s),
                    min(xact_start) - make_interval(secs => %s)
                ))
                FROM pg_stat_activity
                WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
                """,
                [self.settled_seconds, min(TRANSACTION_MARGIN_SECONDS, self.settled_seconds)],
            )
            return int.from_bytes(cursor.fetchone()[0], "big", signed=True)

    def tiles(self, cursor: Any, condition: str, parameters: Sequence[object] = ()) -> list[Tile]:
        return tiles.tiles(cursor, self.device_id, condition, parameters)

    # Base segments

    def repair(self) -> bool:
        """Build anew the first base segments whose stretch was changed; whether there were any."""
        with self.step() as cursor:
            condition = f"level = 0 AND NOT ({VALID}) ORDER BY start_time LIMIT %s"
            broken = self.tiles(cursor, condition, [self.sizes.step])
            if not broken:
                return False
            end = broken[0].end
            for tile in broken[1:]:
                if tile.start != end:
                    break
                end = tile.end
            reached = self.replace(cursor, broken[0].start, end)
            if reached < end:
                cursor.execute(UNBUILT, [self.device_id, literal(reached), literal(end)])
            return True

    def extend(self) -> bool:
        """Go on behind the last base segment if that is worthwhile; whether there may be more."""
        settled = self.settled_before()
        with self.step() as cursor:
            last = self.last_base(cursor)
            start = last.end if last else MINUS_INFINITY
            if start >= settled or not self.is_worthwhile(last, self.rows_behind(cursor, start, settled)):
                return False
            if last and last.rows < self.sizes.base:
                start = last.start
            return self.replace(cursor, start, settled) < settled

    def is_worthwhile(self, last: Tile | None, new: int) -> bool:
        """A last segment that is not full is built anew with what has come since. It doubles at least, or
        gets full: so a reading is built of a few times at most."""
        if last is None:
            return new >= self.sizes.least
        if last.rows >= self.sizes.base:
            return new >= min(self.sizes.least, self.sizes.base)
        return new > 0 and (new >= last.rows or last.rows + new >= self.sizes.base)

    def last_base(self, cursor: Any) -> Tile | None:
        found = self.tiles(cursor, "level = 0 ORDER BY start_time DESC LIMIT 1")
        return found[0] if found else None

    def rows_behind(self, cursor: Any, start: int, end: int) -> int:
        """How many rows there are, counted up to what fills a segment."""
        cursor.execute(
            f"""
            SELECT count(*) FROM (
                SELECT FROM {store.TABLE} WHERE device_id = %s AND time >= %s AND time < %s LIMIT %s
            ) AS r
            """,
            [self.device_id, literal(start), literal(end), self.sizes.base],
        )
        return cursor.fetchone()[0]

    def replace(self, cursor: Any, start: int, end: int) -> int:
        """Build base segments for a stretch in place of those that are there; returns where that ends, which
        is before `end` if there are too many readings for a step."""
        cursor.execute(
            "DELETE FROM devices_segment WHERE device_id = %s AND end_time > %s AND start_time < %s",
            [self.device_id, literal(start), literal(end)],
        )
        times, values, end = self.first_rows(start, end)
        rules = store.exclusions([self.device_id])
        places = cuts(times, self.sizes.base)
        bounds = [start, *times[places].tolist(), end]
        segments = []
        for i, (first, last) in enumerate(zip([0, *places], [*places, len(times)], strict=True)):
            chosen = times[first:last]
            low, high = (int(chosen[0]), int(chosen[-1])) if len(chosen) else (INFINITY, MINUS_INFINITY)
            counted = rules.applied(self.device_id, chosen, values[:, first:last])
            segments.append((base_segment(counted, low, high, self.sizes.run), bounds[i], bounds[i + 1]))
        insert(self.device_id, segments)
        self.readings += len(times)
        return end

    def first_rows(self, start: int, end: int) -> tuple[np.ndarray, np.ndarray, int]:
        """As many as a step may have, and where their stretch ends."""
        most = self.sizes.base * self.sizes.step
        [(times, values)] = store.read([Span(self.device_id, start, end)], self.channels, limit=most + 1)
        if len(times) <= most:
            return times, values, end
        next_time = int(times[most])
        if times[0] < next_time:
            rows = int(np.searchsorted(times, next_time))
            return times[:rows], values[:, :rows], next_time
        # Stamps are never parted: as many readings as have this one are in one segment.
        span = Span(self.device_id, start, next_time + 1)
        [(times, values)] = store.read([span], self.channels)
        return times, values, span.end

    # Larger segments

    def merge(self) -> bool:
        """Merge the first base segments that wait for it; whether there were any."""
        with self.step() as cursor:
            uppers = self.tiles(cursor, "level = 1 ORDER BY start_time")
            broken = [tile.id for tile in uppers if not tile.is_valid]
            if broken:
                cursor.execute("DELETE FROM devices_segment WHERE id = ANY(%s)", [broken])
            uppers = [tile for tile in uppers if tile.is_valid]
            starts = [MINUS_INFINITY, *(tile.end for tile in uppers)]
            ends = [*(tile.start for tile in uppers), INFINITY]
            for start, end in zip(starts, ends, strict=True):
                group = self.waiting_group(cursor, start, end) if start < end else []
                if group:
                    merged = upper_segment(
                        stored([tile.id for tile in group], self.channels), self.channels, self.sizes.run_fan
                    )
                    insert(self.device_id, [(merged, group[0].start, group[-1].end)])
                    return True
            return False

    def waiting_group(self, cursor: Any, start: int, end: int) -> list[Tile]:
        """Of the base segments between two larger ones, or behind the last, those to be merged now."""
        condition = "level = 0 AND start_time >= %s AND end_time <= %s ORDER BY start_time"
        fan = self.sizes.fan
        if end == INFINITY:
            tiles = self.tiles(cursor, f"{condition} LIMIT %s", [literal(start), literal(end), fan + 1])
            # The last of all will be built anew when it grows.
            group = tiles[:fan] if len(tiles) > fan else []
        else:
            tiles = self.tiles(cursor, condition, [literal(start), literal(end)])
            is_quiet = all(tile.age >= self.quiet_seconds for tile in tiles)
            group = tiles if len(tiles) < 2 * fan else tiles[:fan]
            group = group if is_quiet and len(tiles) > 1 else []
        return group if all(tile.is_valid for tile in group) else []

    @property
    def quiet_seconds(self) -> float:
        return min(QUIET_SECONDS, self.settled_seconds)

    # When to come again

    def expected_wait(self) -> float:
        """Seconds until, at the pace so far, there will be enough to go on with."""
        settled = self.settled_before()
        with self.step() as cursor:
            last = self.last_base(cursor)
            if last is None or settled <= last.end:
                return SOONEST_SECONDS
            new = self.rows_behind(cursor, last.end, settled)
        needed = min(max(last.rows, 1), self.sizes.base - last.rows % self.sizes.base)
        seconds = (settled - last.end) / 1_000_000
        wait = (needed - new) * seconds / new if new else LATEST_SECONDS
        return min(max(wait, SOONEST_SECONDS), LATEST_SECONDS)

    def note_visit(self, state: str, wait: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO devices_rollup (device_id, checked_in, next_check)
                VALUES (%s, %s, now() + make_interval(secs => %s))
                ON CONFLICT (device_id) DO UPDATE
                SET checked_at = now(), checked_in = excluded.checked_in, next_check = excluded.next_check
                """,
                [self.device_id, state, wait],
            )


@contextmanager
def held_by_us(device_id: int) -> Iterator[bool]:
    """Whether the device is ours to build; another process may be at it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [AdvisoryLock.BUILD_SEGMENTS, device_id])
        is_ours = cursor.fetchone()[0]
    try:
        yield is_ours
    finally:
        if is_ours:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [AdvisoryLock.BUILD_SEGMENTS, device_id])


def build(
    device_id: int,
    channels: int,
    *,
    until: float = float("inf"),
    sizes: Sizes = SIZES,
    settled_seconds: float = SETTLED_SECONDS,
) -> Progress:
    """Bring the segments of a device up to date, if nobody else is at it.

    What fails because data change at this moment is left for the next time.
    """
    with held_by_us(device_id) as is_ours:
        if not is_ours:
            return Progress(0, False, 0.0)
        builder = Builder(device_id, channels, sizes=sizes, settled_seconds=settled_seconds)
        try:
            return builder.visit(until)
        except (OperationalError, IntegrityError, Gone) as error:
            logger.info("Segments of device %d are left for later: %s", device_id, error)
        except ValueError as error:
            # Of another number of values than its profile has channels: nobody but a hand in the database.
            logger.warning("Device %d cannot have segments: %s", device_id, error)
            builder.note_visit(builder.state(), LATEST_SECONDS)
        return Progress(builder.readings, False, 0.0)


# --- Maintenance

DUE = """
    SELECT d.id, (SELECT count(*) FROM devices_channel AS c WHERE c.profile_id = d.profile_id)
    FROM devices_device AS d LEFT JOIN devices_rollup AS r ON r.device_id = d.id
    WHERE r.device_id IS NULL OR r.next_check <= now() OR EXISTS (
        SELECT FROM devices_change AS c
        WHERE c.device_id = d.id AND c.xid >= pg_snapshot_xmin(r.checked_in)
    )
    ORDER BY r.next_check NULLS FIRST, random() LIMIT %s
"""
AT_ONCE = 500


def build_due(seconds: float) -> int:
    """Build for the devices that are due, for so long; returns the number of readings built of. Several
    processes may do so at a time: each device is one's at a time."""
    until = time.monotonic() + seconds
    total = 0
    with connection.cursor() as cursor:
        cursor.execute(DUE, [AT_ONCE])
        due = cursor.fetchall()
    for device_id, channels in due:
        if time.monotonic() >= until:
            break
        total += build(device_id, channels, until=until).readings
    return total


def drop(device_ids: Sequence[int]) -> None:
    """Forget the segments of these devices: they are due to be built anew."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM devices_segment WHERE device_id = ANY(%s)", [list(device_ids)])
        cursor.execute("DELETE FROM devices_rollup WHERE device_id = ANY(%s)", [list(device_ids)])


def sweep() -> int:
    """Delete what devices that are no more have left behind; returns the number of rows."""
    gone = "WHERE NOT EXISTS (SELECT FROM devices_device AS d WHERE d.id = t.device_id)"
    total = 0
    with connection.cursor() as cursor:
        for table in ("devices_segment", "devices_change", "devices_rollup"):
            cursor.execute(f"DELETE FROM {table} AS t {gone}")
            total += cursor.rowcount
    return total
