"""The readings store: the one module that touches the readings table in bulk.

A reading is a row (device's integer id, time, values in the order of the profile's channels). The table is
partitioned by month, has a B-tree on (device, time), and no key: rows come and go but never change, so
`ctid` tells apart two readings of the same stamp.
"""

import io
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from django.db import DatabaseError, connection, transaction

from devices import journal
from devices.locks import AdvisoryLock
from devices.periods import Period
from devices.spans import INFINITY, MINUS_INFINITY, Span, arrays, literal, microseconds
from devices.storage import Day, Position, Rows, StoredReading

TABLE = "devices_reading"
ERASE_BATCH = 20_000
COPY_IN = f"COPY {TABLE} (device_id, time, values) FROM STDIN (FORMAT binary)"
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
COPY_PIECE_BYTES = 256 * 1024
FLOAT8 = 701
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# PostgreSQL counts microseconds from 2000 on.
PG_EPOCH = 946_684_800_000_000
# Each partition costs every question about all devices a little, and whoever posts old stamps makes them: so
# months only since the product is there, years before, and one partition at either end of time.
FIRST_YEAR = datetime(2000, 1, 1, tzinfo=UTC)
FIRST_MONTH = datetime(2026, 1, 1, tzinfo=UTC)
END_OF_MONTHS = datetime(2100, 1, 1, tzinfo=UTC)


def encode(device_id: int, time: int, values: Sequence[float]) -> Rows:
    """One reading; `time` in microseconds since 1970."""
    count = len(values)
    head = (3, 4, device_id, 8, time - PG_EPOCH, 20 + 12 * count, 1, 0, FLOAT8, count, 1)
    items = [part for value in values for part in (8, value)]
    return Rows(row_format(count).pack(*head, *items), (time,))


@lru_cache(maxsize=64)
def row_format(count: int) -> struct.Struct:
    # Field count; device; time; array: length, dimensions, nulls, type, size, lower bound; items.
    return struct.Struct(">h ii iq iiiIii" + "id" * count)


def encode_many(device_ids: int | np.ndarray, times: np.ndarray, values: np.ndarray) -> Rows:
    """Readings with the same number of channels, as `encode` makes one by one.

    `times`: int64 microseconds since 1970 of shape (n,); `values`: float64 of shape (n, channels);
    `device_ids`: one for all, or of shape (n,).
    """
    count = values.shape[1]
    table = np.empty(len(times), row_type(count))
    head = {"fields": 3, "l1": 4, "device": device_ids, "l2": 8, "time": times - PG_EPOCH}
    array = {"l3": 20 + 12 * count, "dimensions": 1, "nulls": 0, "type": FLOAT8, "size": count, "lower": 1}
    for name, value in (head | array).items():
        table[name] = value
    table["items"]["length"] = 8
    table["items"]["value"] = values
    return Rows(table.tobytes(), times)


@lru_cache(maxsize=64)
def row_type(count: int) -> np.dtype:
    """The same layout as `row_format`."""
    integers = ("l3", "dimensions", "nulls", "type", "size", "lower")
    item = np.dtype([("length", ">i4"), ("value", ">f8")])
    return np.dtype(
        [
            ("fields", ">i2"),
            *(("l1", ">i4"), ("device", ">i4")),
            *(("l2", ">i4"), ("time", ">i8")),
            *((name, ">i4") for name in integers),
            ("items", item, (count,)),
        ]
    )


def append(rows: Rows) -> None:
    """Store all of them or none, in one COPY. Values must be finite: the table refuses others."""
    try:
        copy_in(rows)
    except DatabaseError as error:
        if not lacks_partition(error):
            raise
        make_partitions_for(rows.times)
        copy_in(rows)


def copy_in(rows: Rows) -> None:
    # A savepoint where a transaction is open already: a failed COPY must not end it.
    with transaction.atomic(), connection.cursor() as cursor:
        note_late(cursor, late([rows], journal.late_before(cursor)))
        copy(cursor, COPY_IN, copy_file([rows.payload]))


def late(group: Iterable[Rows], before: int) -> list[Rows]:
    """Those that have a stamp before this, in microseconds since 1970."""
    return [rows for rows in group if len(rows.times) and min_of(rows.times) < before]


def min_of(times: Sequence[int]) -> int:
    return times.min() if isinstance(times, np.ndarray) else min(times)


def note_late(cursor: Any, group: Sequence[Rows]) -> None:
    """In the transaction that stores these: their late readings, and fresh ones among them as well."""
    if group:
        found = [senders(rows.payload) for rows in group]
        device_ids, times = (np.concatenate(part) for part in zip(*found, strict=True))
        journal.note_readings(cursor, device_ids, times)


def senders(payload: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Device ids and times, in microseconds since 2000, of the rows that `encode` or `encode_many` made."""
    found = tables(payload)
    device_ids = [rows["device"].astype(np.int64) for rows in found]
    return np.concatenate(device_ids), np.concatenate([rows["time"].astype(np.int64) for rows in found])


def tables(payload: bytes) -> list[np.ndarray]:
    """The same rows in `row_type`s: each as many of them as follow each other with one number of values."""
    found, place = [], 0
    while place < len(payload):
        count = int.from_bytes(payload[place + 38 : place + 42], "big")
        layout = row_type(count)
        rows = np.frombuffer(payload, layout, (len(payload) - place) // layout.itemsize, place)
        same = np.cumprod((rows["fields"] == 3) & (rows["l3"] == 20 + 12 * count)).astype(bool)
        found.append(rows[same])
        place += len(found[-1]) * layout.itemsize
    return found


def copy_file(payloads: Iterable[bytes]) -> io.BytesIO:
    return io.BytesIO(b"".join((COPY_HEADER, *payloads, COPY_END)))


def make_partitions_for(times: Iterable[int]) -> list[str]:
    """Make the partitions that these times, in microseconds since 1970, need."""
    days = np.unique(np.fromiter(times, np.int64) // 86_400_000_000)
    return make_partitions(EPOCH + timedelta(days=int(day)) for day in days)


def copy(cursor: Any, statement: str, file: Any) -> None:
    """psycopg2's COPY, whose errors Django does not turn into its own unasked."""
    with connection.wrap_database_errors:
        cursor.copy_expert(statement, file, COPY_PIECE_BYTES)


def lacks_partition(error: Exception) -> bool:
    """Whether this error of Django's, or of psycopg2's, says that no partition takes the row."""
    diagnosis = getattr(error.__cause__ or error, "diag", None)
    # Check violation without a constraint's name: no partition takes the row.
    return diagnosis is not None and diagnosis.sqlstate == "23514" and diagnosis.constraint_name is None


def make_partitions(times: Iterable[datetime]) -> list[str]:
    """Make the partitions that these times need; returns the names of the new ones."""
    firsts = {first_of_partition(time.astimezone(UTC)) for time in times}
    made = []
    for first in sorted(first for first in firsts if FIRST_YEAR <= first < END_OF_MONTHS):
        is_month = first >= FIRST_MONTH
        name = f"{TABLE}_{first:%Y_%m}" if is_month else f"{TABLE}_{first:%Y}"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [AdvisoryLock.MAKE_PARTITION])
            cursor.execute("SELECT to_regclass(%s) IS NULL", [name])
            if cursor.fetchone()[0]:
                # Attaching takes a weaker lock than creating in place: readings keep coming in meanwhile.
                cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
                end = month_after(first) if is_month else first.replace(year=first.year + 1)
                cursor.execute(
                    f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", [first, end]
                )
                made.append(name)
    return made


def first_of_partition(time: datetime) -> datetime:
    """When the month, or before FIRST_MONTH the year, of this time begins."""
    month = time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return month if month >= FIRST_MONTH else month.replace(month=1)


def month_after(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def page(
    device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
) -> list[StoredReading]:
    """Up to `limit` readings of these devices, newest first, from behind `after` on."""
    bounds, parameters = conditions(period)
    if after is not None:
        bounds += " AND time <= %s AND (time, device_id, ctid) < (%s, %s, %s::tid)"
        parameters += [after.time, *after]
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.device_id, r.time, r.values, r.ctid::text
            FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT device_id, time, values, ctid FROM {TABLE}
                WHERE device_id = d.id{bounds}
                ORDER BY time DESC, ctid DESC LIMIT %s
            ) AS r
            ORDER BY r.time DESC, r.device_id DESC, r.ctid DESC LIMIT %s
            """,
            [list(device_ids), *parameters, limit, limit],
        )
        return [StoredReading(*row) for row in cursor.fetchall()]


def latest(device_ids: Sequence[int]) -> dict[int, StoredReading]:
    """The reading with the largest stamp of each device that has one."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.device_id, r.time, r.values, r.ctid::text
            FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT device_id, time, values, ctid FROM {TABLE}
                WHERE device_id = d.id ORDER BY time DESC, ctid DESC LIMIT 1
            ) AS r
            """,
            [list(device_ids)],
        )
        return {row[0]: StoredReading(*row) for row in cursor.fetchall()}


def sent_since(device_ids: Sequence[int], time: datetime) -> set[int]:
    """Those of the devices that have a reading at `time` or later."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT d.id FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT FROM {TABLE} WHERE device_id = d.id AND time >= %s LIMIT 1
            ) AS r
            """,
            [list(device_ids), time],
        )
        return {row[0] for row in cursor.fetchall()}


def count(device_ids: Sequence[int], period: Period) -> int:
    """How many readings the devices have in the period; reads the index only."""
    bounds, parameters = conditions(period)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM {TABLE} WHERE device_id = ANY(%s){bounds}", [list(device_ids), *parameters]
        )
        return cursor.fetchone()[0]


def has(device_id: int, time: datetime, values: Sequence[float]) -> bool:
    """Whether there is a reading of exactly this stamp and these values."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT FROM {TABLE} WHERE device_id = %s AND time = %s AND values = %s::float8[] LIMIT 1",
            [device_id, time, list(values)],
        )
        return cursor.rowcount == 1


def first_time(device_ids: Sequence[int]) -> datetime | None:
    """The smallest stamp of the devices' readings."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT min(r.time) FROM unnest(%s::int[]) AS d (id) CROSS JOIN LATERAL (
                SELECT time FROM {TABLE} WHERE device_id = d.id ORDER BY time LIMIT 1
            ) AS r
            """,
            [list(device_ids)],
        )
        return cursor.fetchone()[0]


def read(
    spans: Sequence[Span], channel_count: int, *, limit: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each span the times, int64 microseconds since 2000 of shape (n,), and the values, float64 of shape
    (channel_count, n), of its readings in the order of time. With `limit`: its first ones.

    Raises ValueError if a stored reading has another number of values.
    """
    if not spans:
        return []
    if len(spans) == 1:
        # The planner sees the bounds, and leaves partitions out.
        query = f"SELECT 1, time, values FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s"
        parameters: list = [spans[0].device_id, literal(spans[0].start), literal(spans[0].end)]
        if limit is not None:
            query += " ORDER BY time LIMIT %s"
            parameters.append(limit)
    else:
        query = f"""
            SELECT s.n::int, r.time, r.values
            FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])
                WITH ORDINALITY AS s (device_id, start_time, end_time, n)
            CROSS JOIN LATERAL (
                SELECT time, values FROM {TABLE}
                WHERE device_id = s.device_id AND time >= s.start_time AND time < s.end_time
                ORDER BY time LIMIT %s
            ) AS r
        """
        parameters = [*arrays(spans), limit]
    tables = by_span(decode_binary_copy(binary_copy(query, parameters), channel_count), len(spans))
    return [(rows["time"].astype(np.int64), rows["items"]["value"].astype(np.float64).T) for rows in tables]


def by_span(table: np.ndarray, spans: int) -> list[np.ndarray]:
    """The rows of each span in the order of time; as they come they nearly always are in it."""
    number, time = table["device"], table["time"]
    ordered = number[1:] > number[:-1]
    ordered |= (number[1:] == number[:-1]) & (time[1:] >= time[:-1])
    if not ordered.all():
        table = table[np.lexsort((time, number))]
        number = table["device"]
    return np.split(table, np.searchsorted(number, np.arange(2, spans + 1)))


def binary_copy(query: str, parameters: Sequence[object] | Mapping[str, object]) -> memoryview:
    """The result in PostgreSQL's binary COPY format: 19 bytes of header, rows, 2 bytes of end."""
    buffer = io.BytesIO()
    with connection.cursor() as cursor:
        statement = cursor.mogrify(f"COPY ({query}) TO STDOUT (FORMAT binary)", parameters)
        copy(cursor, statement.decode(), buffer)
    return buffer.getbuffer()


def decode_binary_copy(data: memoryview, channel_count: int) -> np.ndarray:
    """Rows of (int4, timestamptz, float8[]) as a structured array. Raises ValueError if an array has another
    number of values."""
    layout = row_type(channel_count)
    rows, rest = divmod(data.nbytes - 21, layout.itemsize)
    table = np.frombuffer(data, layout, count=rows, offset=19)
    if rest or (table["size"] != channel_count).any():
        raise wrong_count(channel_count)
    return table


def decode_rows(data: bytes | memoryview, channel_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and values, as `read` has them, of `timestamptz_send(time) || array_send(values)`."""
    layout = sent_type(channel_count)
    rows, rest = divmod(len(data), layout.itemsize)
    table = np.frombuffer(data, layout, rows)
    if rest or (table["size"] != channel_count).any():
        raise wrong_count(channel_count)
    return table["time"].astype(np.int64), table["items"]["value"].astype(np.float64).T


@lru_cache(maxsize=64)
def sent_type(count: int) -> np.dtype:
    """As in a row of a COPY, but for the lengths before the fields."""
    return np.dtype([("time", ">i8"), *row_type(count).descr[6:]])


def wrong_count(channel_count: int) -> ValueError:
    return ValueError(f"A stored reading has not {channel_count} values.")


def binary_rows(
    query: str, parameters: Sequence[object] | Mapping[str, object]
) -> list[list[memoryview | None]]:
    """The fields of each row as PostgreSQL's binary format has them: bytea is not made text on its way."""
    data = binary_copy(query, parameters)
    rows, place = [], 19
    while (fields := int.from_bytes(data[place : place + 2], "big", signed=True)) >= 0:
        place += 2
        row: list[memoryview | None] = []
        for _ in range(fields):
            size = int.from_bytes(data[place : place + 4], "big", signed=True)
            place += 4
            row.append(None if size < 0 else data[place : place + size])
            place += max(size, 0)
        rows.append(row)
    return rows


class Counted(NamedTuple):
    """Readings that count, in the order of time, as `read` has them, and how many are excluded."""

    times: np.ndarray
    values: np.ndarray
    excluded: int


class Exclusions:
    """The rules in force by which readings are left out of statistics."""

    def __init__(self, rules: Iterable[tuple[int, datetime, datetime, list[float] | None]]) -> None:
        self.by_device: dict[int, list[tuple[int, int, list[float] | None]]] = defaultdict(list)
        for device_id, start, end, only in rules:
            self.by_device[device_id].append((microseconds(start), microseconds(end), only))

    def applied(self, device_id: int, times: np.ndarray, values: np.ndarray) -> Counted:
        """To readings of a device in the order of time."""
        if device_id not in self.by_device:
            return Counted(times, values, 0)
        kept = np.ones(len(times), bool)
        for start, end, only in self.by_device[device_id]:
            first, last = np.searchsorted(times, (start, end))
            if only is None:
                kept[first:last] = False
            elif len(only) == len(values):
                kept[first:last] &= (values[:, first:last] != np.array(only)[:, None]).any(axis=0)
        return Counted(times[kept], values[:, kept], len(times) - int(kept.sum()))


def exclusions(device_ids: Sequence[int]) -> Exclusions:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT device_id, start_time, end_time, values FROM devices_exclusion
            WHERE device_id = ANY(%s) AND lifted_at IS NULL
            """,
            [list(device_ids)],
        )
        return Exclusions(cursor.fetchall())


def counts(spans: Sequence[Span]) -> list[int]:
    """How many readings each span has; reads the index only."""
    if not spans:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT r.count
            FROM unnest(%s::int[], %s::timestamptz[], %s::timestamptz[])
                WITH ORDINALITY AS s (device_id, start_time, end_time, n)
            CROSS JOIN LATERAL (
                SELECT count(*) FROM {TABLE}
                WHERE device_id = s.device_id AND time >= s.start_time AND time < s.end_time
            ) AS r
            ORDER BY s.n
            """,
            arrays(spans),
        )
        return [row[0] for row in cursor.fetchall()]


def clear(device_id: int) -> None:
    """Delete all readings of a device in one step."""
    with transaction.atomic(), connection.cursor() as cursor:
        journal.note(Span(device_id, MINUS_INFINITY, INFINITY))
        cursor.execute("DELETE FROM devices_segment WHERE device_id = %s", [device_id])
        cursor.execute(f"DELETE FROM {TABLE} WHERE device_id = %s", [device_id])


def erase(device_id: int) -> int:
    """Delete all readings of a device in bounded steps, a transaction each; returns how many there were."""
    # Up to the stamp of the first reading behind the batch; readings that share it enlarge the step.
    last = f"SELECT time FROM {TABLE} WHERE device_id = %(device)s ORDER BY time OFFSET %(batch)s LIMIT 1"
    step = f"DELETE FROM {TABLE} WHERE device_id = %(device)s AND time <= coalesce(({last}), 'infinity')"
    total = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(step, {"device": device_id, "batch": ERASE_BATCH})
            total += cursor.rowcount
            if cursor.rowcount <= ERASE_BATCH:
                return total


def days(device_id: int) -> dict[int, Day]:
    """By days since 1970, in UTC; see `storage.Storage.days`."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT (time AT TIME ZONE 'UTC')::date - '1970-01-01', count(*), sum(
                ('x' || left(md5(timestamptz_send(time) || array_send(values)), 16))::bit(64)::bigint
            )
            FROM {TABLE} WHERE device_id = %s GROUP BY 1
            """,
            [device_id],
        )
        return {day: Day(count, int(total) % 2**64) for day, count, total in cursor.fetchall()}


def rows(span: Span) -> Rows:
    """The device's readings of a span that has both bounds."""
    query = f"SELECT device_id, time, values FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s"
    data = binary_copy(query, [span.device_id, literal(span.start), literal(span.end)])
    payload = bytes(data[19:-2])
    return Rows(payload, senders(payload)[1] + PG_EPOCH if payload else ())


def remove(span: Span) -> None:
    """Delete the readings of a span that has both bounds."""
    with transaction.atomic(), connection.cursor() as cursor:
        journal.note(span)
        cursor.execute(
            f"DELETE FROM {TABLE} WHERE device_id = %s AND time >= %s AND time < %s",
            [span.device_id, literal(span.start), literal(span.end)],
        )


def conditions(period: Period) -> tuple[str, list]:
    """SQL that follows a WHERE condition, and its parameters."""
    bounds, parameters = "", []
    if period.start is not None:
        bounds += " AND time >= %s"
        parameters.append(period.start)
    if period.end is not None:
        bounds += " AND time < %s"
        parameters.append(period.end)
    return bounds, parameters
