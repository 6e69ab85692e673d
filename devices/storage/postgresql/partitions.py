from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
from django.db import connection, transaction

from devices.locks import AdvisoryLock
from devices.timeline.instants import UNIX_EPOCH

TABLE = "devices_reading"
# Each partition costs every question about all devices a little, and whoever posts old stamps makes them: so
# months only since the product is there, years before, and one partition at either end of time.
FIRST_YEAR = datetime(2000, 1, 1, tzinfo=UTC)
FIRST_MONTH = datetime(2026, 1, 1, tzinfo=UTC)
END_OF_MONTHS = datetime(2100, 1, 1, tzinfo=UTC)


def make_partitions_for(times: Iterable[int]) -> list[str]:
    """Make the partitions that these times, in microseconds since 1970, need."""
    days = np.unique(np.fromiter(times, np.int64) // 86_400_000_000)
    return make_partitions(UNIX_EPOCH + timedelta(days=int(day)) for day in days)


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
