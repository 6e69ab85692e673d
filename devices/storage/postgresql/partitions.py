"""Partitions of the readings table: when and how they are made.

In advance: every 6 hours Celery beat runs `devices.tasks.make_partitions`, which makes those of this month
and of the MONTHS_AHEAD next ones; `manage.py make_partitions` does it at once.

On the first reading that needs one: PostgreSQL refuses a row that no partition takes (`lacks_partition`);
`readings_table` then makes the partition and stores the rows again.

A partition is attached and not created in place: attaching takes a weaker lock on the readings table, so that
readings keep coming in meanwhile.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
from django.db import connection, transaction

from devices.locks import AdvisoryLock
from devices.timeline.instants import MICROSECONDS_PER_DAY, UNIX_EPOCH, UnixMicroseconds

TABLE = "devices_reading"
MONTHS_AHEAD = 3
# Each partition makes each query about all devices a little slower, and anybody may post readings with old
# times. Hence months from FIRST_MONTH on, years before it, and one partition at either end of time.
FIRST_YEAR = datetime(2000, 1, 1, tzinfo=UTC)
FIRST_MONTH = datetime(2026, 1, 1, tzinfo=UTC)
END_OF_MONTHS = datetime(2100, 1, 1, tzinfo=UTC)


def lacks_partition(error: Exception) -> bool:
    """Tell whether this error, of Django or of psycopg2, says that no partition takes the row."""
    diagnosis = getattr(error.__cause__ or error, "diag", None)
    # PostgreSQL reports it as a check violation (23514) that names no constraint.
    return diagnosis is not None and diagnosis.sqlstate == "23514" and diagnosis.constraint_name is None


def make_coming_partitions(now: datetime) -> list[str]:
    """Make the partitions of this month and of the MONTHS_AHEAD next ones; returns the names of new ones."""
    months = [now.replace(day=1)]
    for _ in range(MONTHS_AHEAD):
        months.append(month_after(months[-1]))
    return make_partitions(months)


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
    made = []
    for first in sorted(first for first in firsts if FIRST_YEAR <= first < END_OF_MONTHS):
        is_month = first >= FIRST_MONTH
        name = f"{TABLE}_{first:%Y_%m}" if is_month else f"{TABLE}_{first:%Y}"
        end = month_after(first) if is_month else first.replace(year=first.year + 1)
        if make_partition(name, first, end):
            made.append(name)
    return made


def make_partition(name: str, start: datetime, end: datetime) -> bool:
    """Make a partition unless it exists; returns whether it is new."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [AdvisoryLock.MAKE_PARTITION])
        cursor.execute("SELECT to_regclass(%s) IS NULL", [name])
        if not cursor.fetchone()[0]:
            return False
        # CREATE … PARTITION OF would lock out readers and writers. The functions run as the table's owner.
        cursor.execute("SELECT devices_create_partition(%s)", [name])
        cursor.execute("SELECT devices_attach_partition(%s, %s, %s)", [name, start, end])
        return True


def first_of_partition(time: datetime) -> datetime:
    """Return when the month of this time begins, or, before FIRST_MONTH, its year."""
    month = time.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return month if month >= FIRST_MONTH else month.replace(month=1)


def month_after(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
