"""Partitions of the readings table: when and how they are made.

In advance: every 6 hours Celery beat runs `devices.tasks.make_partitions`, which makes those of this month
and of the MONTHS_AHEAD next ones; `manage.py make_partitions` does it at once.

On the first reading that needs one: PostgreSQL refuses a row that no partition takes (`lacks_partition`);
`readings_table` then makes the partition and stores the rows again.

Readings of PARTITION_MONTHS ahead and more lie in one partition, BEYOND: a batch with odd times would make
hundreds for good. When the months come near, their readings move out of it (`move_beyond`).

A partition is attached and not created in place: attaching takes a weaker lock on the readings table, so that
readings keep coming in meanwhile.
"""

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection, transaction

from devices.locks import AdvisoryLock
from devices.timeline.instants import MICROSECONDS_PER_DAY, UNIX_EPOCH, UnixMicroseconds

TABLE = "devices_reading"
MONTHS_AHEAD = 3
# Each partition makes each query about all devices a little slower, and anybody may post readings with old
# times. Hence months from FIRST_MONTH on, years before it, and one partition at either end of time.
BEYOND = f"{TABLE}_beyond"
FIRST_YEAR = datetime(2000, 1, 1, tzinfo=UTC)
FIRST_MONTH = datetime(2026, 1, 1, tzinfo=UTC)
END_OF_MONTHS = datetime(2100, 1, 1, tzinfo=UTC)
LOWER_BOUND = re.compile(r"FROM \('([^']+)'\)")


def lacks_partition(error: Exception) -> bool:
    """Tell whether this error, of Django or of psycopg2, says that no partition takes the row."""
    diagnosis = getattr(error.__cause__ or error, "diag", None)
    # PostgreSQL reports it as a check violation (23514) that names no constraint.
    return diagnosis is not None and diagnosis.sqlstate == "23514" and diagnosis.constraint_name is None


def make_coming_partitions(now: datetime) -> list[str]:
    """Make the partitions of this month and of the MONTHS_AHEAD next ones; returns the names of new ones."""
    months = [months_later(now, number) for number in range(MONTHS_AHEAD + 1)]
    start = start_of_beyond()
    moved = move_beyond(now) if start is not None and start <= months[-1] else []
    return moved + make_partitions(months)


def make_partitions_apart(times: Iterable[UnixMicroseconds]) -> None:
    """Do as `make_partitions_for` on a new connection: this thread's may be in an aborted transaction."""

    def make() -> None:
        try:
            make_partitions_for(times)
        finally:
            connection.close()

    # Django has a connection for each thread.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(make).result()


def make_partitions_for(times: Iterable[UnixMicroseconds]) -> list[str]:
    days = np.unique(np.fromiter(times, np.int64) // MICROSECONDS_PER_DAY)
    return make_partitions(UNIX_EPOCH + timedelta(days=int(day)) for day in days)


def make_partitions(times: Iterable[datetime]) -> list[str]:
    """Make the partitions that readings of these times need; returns the names of new ones."""
    firsts = {first_of_partition(time.astimezone(UTC)) for time in times}
    made, now = [], datetime.now(UTC)
    for first in sorted(first for first in firsts if FIRST_YEAR <= first < END_OF_MONTHS):
        if first >= horizon(now) and make_beyond(now):
            made.append(BEYOND)
        if is_in_beyond(first):
            continue
        is_month = first >= FIRST_MONTH
        name = f"{TABLE}_{first:%Y_%m}" if is_month else f"{TABLE}_{first:%Y}"
        end = month_after(first) if is_month else first.replace(year=first.year + 1)
        if make_partition(name, first, end):
            made.append(name)
    return made


def make_partition(name: str, start: datetime, end: datetime) -> bool:
    """Make a partition unless it exists; returns whether it is new."""
    with changing_partitions() as cursor:
        if exists(cursor, name):
            return False
        create(cursor, name)
        attach(cursor, name, start, end)
        return True


@contextmanager
def changing_partitions() -> Iterator[Any]:
    """A cursor in a transaction that alone changes partitions, and waits 5 s at most for others."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [AdvisoryLock.MAKE_PARTITION])
        yield cursor


def exists(cursor: Any, name: str) -> bool:
    # `to_regclass` may still know that there was none before another process made it.
    cursor.execute(
        "SELECT EXISTS ("
        "SELECT FROM pg_class WHERE relname = %s AND relnamespace = current_schema()::regnamespace)",
        [name],
    )
    return cursor.fetchone()[0]


# Functions in the database, which run as the table's owner: see the migration `partitions_by_owner`.


def create(cursor: Any, name: str) -> None:
    # CREATE … PARTITION OF would lock out readers and writers.
    cursor.execute("SELECT devices_create_partition(%s)", [name])


def attach(cursor: Any, name: str, start: datetime, end: datetime) -> None:
    cursor.execute("SELECT devices_attach_partition(%s, %s, %s)", [name, start, end])


# --- The partition of what is far ahead


def horizon(now: datetime) -> datetime:
    """The first month whose readings need not have a partition of their own."""
    return min(months_later(now, settings.PARTITION_MONTHS), END_OF_MONTHS)


def start_of_beyond() -> datetime | None:
    """The lower bound of the partition BEYOND; None without one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = to_regclass(%s)", [BEYOND]
        )
        row = cursor.fetchone()
    found = row and LOWER_BOUND.search(row[0] or "")
    return datetime.fromisoformat(found[1]).astimezone(UTC) if found else None


def is_in_beyond(first: datetime) -> bool:
    start = start_of_beyond()
    return start is not None and first >= start


def make_beyond(now: datetime) -> bool:
    """Make the partition BEYOND unless it exists; returns whether it is new.

    It begins behind the last month that has a partition already: an earlier version made one for any month.
    """
    with changing_partitions() as cursor:
        if exists(cursor, BEYOND):
            return False
        cursor.execute(
            "SELECT max(relname::text) FROM pg_class WHERE relname ~ %s", [f"^{TABLE}_\\d{{4}}_\\d\\d$"]
        )
        last = cursor.fetchone()[0]
        start = horizon(now)
        if last is not None:
            start = max(start, month_after(datetime.strptime(last[-7:], "%Y_%m").replace(tzinfo=UTC)))
        if start >= END_OF_MONTHS:
            return False
        create(cursor, BEYOND)
        attach(cursor, BEYOND, start, END_OF_MONTHS)
        return True


def move_beyond(now: datetime) -> list[str]:
    """Let BEYOND begin at the horizon of now; returns the partitions made of what lay before.

    Readers and writers wait meanwhile. It is rare, once in PARTITION_MONTHS, and there is little to move.
    """
    made, end = [], horizon(now)
    with changing_partitions() as cursor:
        start = start_of_beyond()
        if start is None or start >= end:
            return []
        cursor.execute("SELECT devices_detach_partition(%s)", [BEYOND])
        cursor.execute(
            f"SELECT DISTINCT date_trunc('month', time, 'UTC') FROM {BEYOND} WHERE time < %s", [end]
        )
        for month in sorted(row[0].astimezone(UTC) for row in cursor.fetchall()):
            name, after = f"{TABLE}_{month:%Y_%m}", month_after(month)
            create(cursor, name)
            cursor.execute(
                f"WITH moved AS (DELETE FROM {BEYOND} WHERE time >= %s AND time < %s RETURNING *)"
                f" INSERT INTO {name} SELECT * FROM moved",
                [month, after],
            )
            attach(cursor, name, month, after)
            made.append(name)
        if end < END_OF_MONTHS:
            attach(cursor, BEYOND, end, END_OF_MONTHS)
    return made


# --- Months


def first_of_partition(time: datetime) -> datetime:
    """Return when the month of this time begins, or, before FIRST_MONTH, its year."""
    month = time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return month if month >= FIRST_MONTH else month.replace(month=1)


def months_later(time: datetime, count: int) -> datetime:
    """The beginning of the month that is `count` months after that of this time."""
    month = time.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for _ in range(count):
        month = month_after(month)
    return month


def month_after(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
