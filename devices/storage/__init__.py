"""Where readings are kept: `current()` is the storage that READINGS_URL names.

`interface` says what every storage can do; one suite of tests asks all of them. Devices, exclusions,
Idempotency-Keys and the change log are in the portal's database, whichever storage has the readings.
"""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from devices.storage.interface import Storage

CLICKHOUSE = "devices.storage.clickhouse.engine.ClickHouse"
# By their scheme. Imported only when chosen; tests add ClickHouse within their process.
ENGINES = {"clickhouse": CLICKHOUSE}
POSTGRESQL = "devices.storage.postgresql.engine.PostgreSQL"


def current() -> Storage:
    """The one that READINGS_URL names."""
    return opened(settings.READINGS_URL)


def is_own_table() -> bool:
    """Whether Django's model of a reading has its rows: for Django admin."""
    return settings.READINGS_URL in ("", "postgresql")


@cache
def opened(url: str) -> Storage:
    return import_string(ENGINES.get(url.partition(":")[0], POSTGRESQL))(url)
