"""The readings store: the one module that touches the readings table in bulk.

A reading is a row (device's integer id, time, values in the order of the profile's channels). The table is
partitioned by month, has a B-tree on (device, time), and no key: rows come and go but never change, so
`ctid` tells apart two readings of the same stamp.
"""

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
from django.db import DatabaseError, connection, transaction

from devices.periods import Period

TABLE = "devices_reading"
PARTITION_LOCK = 7_586_202
ERASE_BATCH = 20_000
# All that is older lies in one partition, so that nobody can make thousands of them by sending old stamps.
FIRST_MONTH = datetime(2000, 1, 1, tzinfo=UTC)


class NewReading(NamedTuple):
    device_id: int
    time: datetime
    values: Sequence[float]


class StoredReading(NamedTuple):
    device_id: int
    time: datetime
    values: list[float]
    place: str

    @property
    def position(self) -> "Position":
        return Position(self.time, self.device_id, self.place)


class Position(NamedTuple):
    """Where a page of readings ended: readings are ordered by these three, newest first."""

    time: datetime
    device_id: int
    place: str


def append(readings: Sequence[NewReading]) -> None:
    """Store all of them or none, in one COPY. Values must be finite: the table refuses others."""
    try:
        copy_in(readings)
    except DatabaseError as error:
        if not lacks_partition(error):
            raise
        make_partitions(reading.time for reading in readings)
        copy_in(readings)


def copy_in(readings: Iterable[NewReading]) -> None:
    lines = "".join(
        f"{device_id}\t{time.isoformat()}\t{{{','.join(map(repr, values))}}}\n"
        for device_id, time, values in readings
    )
    # A savepoint where a transaction is open already: a failed COPY must not end it.
    with transaction.atomic(), connection.cursor() as cursor:
        copy(cursor, f"COPY {TABLE} (device_id, time, values) FROM STDIN", io.StringIO(lines))


def copy(cursor: Any, statement: str, file: Any) -> None:
    """psycopg2's COPY, whose errors Django does not turn into its own unasked."""
    with connection.wrap_database_errors:
        cursor.copy_expert(statement, file)


def lacks_partition(error: DatabaseError) -> bool:
    diagnosis = getattr(error.__cause__, "diag", None)
    # Check violation without a constraint's name: no partition takes the row.
    return diagnosis is not None and diagnosis.sqlstate == "23514" and diagnosis.constraint_name is None


def make_partitions(times: Iterable[datetime]) -> list[str]:
    """Make the monthly partitions that these times need; returns the names of the new ones."""
    months = {
        time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0) for time in times
    }
    made = []
    for first in sorted(month for month in months if month >= FIRST_MONTH):
        name = f"{TABLE}_{first:%Y_%m}"
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITION_LOCK])
            cursor.execute("SELECT to_regclass(%s) IS NULL", [name])
            if cursor.fetchone()[0]:
                # Attaching takes a weaker lock than creating in place: readings keep coming in meanwhile.
                cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
                # PostgreSQL adds the month: Python has none after December 9999.
                cursor.execute(
                    f"ALTER TABLE {TABLE} ATTACH PARTITION {name}"
                    " FOR VALUES FROM (%s) TO (%s + interval '1 month')",
                    [first, first],
                )
                made.append(name)
    return made


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


def values(device_id: int, period: Period, channel_count: int) -> np.ndarray:
    """Every reading's values as float64 of shape (channel_count, readings), in no particular order.

    Raises ValueError if a stored reading has another number of values.
    """
    bounds, parameters = conditions(period)
    columns = ", ".join(f"values[{i + 1}]" for i in range(channel_count))
    buffer = io.BytesIO()
    with connection.cursor() as cursor:
        query = cursor.mogrify(
            f"COPY (SELECT {columns} FROM {TABLE} WHERE device_id = %s{bounds}) TO STDOUT (FORMAT binary)",
            [device_id, *parameters],
        )
        copy(cursor, query.decode(), buffer)
    return decode_binary_copy(buffer.getbuffer(), channel_count)


def decode_binary_copy(data: memoryview, columns: int) -> np.ndarray:
    """Binary COPY of float8 columns: 19 bytes of header, rows of a count and (length, value)*, 2 of end."""
    fields = [("count", ">i2")]
    for i in range(columns):
        fields += [(f"length{i}", ">i4"), (f"value{i}", ">f8")]
    row = np.dtype(fields)
    rows, rest = divmod(data.nbytes - 21, row.itemsize)
    table = np.frombuffer(data, row, count=rows, offset=19)
    if rest or any((table[f"length{i}"] != 8).any() for i in range(columns)):
        raise ValueError(f"A stored reading has not {columns} values.")
    return np.array([table[f"value{i}"] for i in range(columns)], dtype=np.float64).reshape(columns, rows)


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
