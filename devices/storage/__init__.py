"""Storages of readings: `current()` is the one that READINGS_URL chooses.

`interface` says what every storage can do. Devices, exclusions, Idempotency-Keys and the change log are in
the portal's database, whichever storage has the readings.
"""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from devices.storage.interface import Storage

CLICKHOUSE = "devices.storage.clickhouse.engine.ClickHouse"
# By the URL's scheme. An engine is imported when it is chosen; tests add ClickHouse within their process.
ENGINES = {"clickhouse": CLICKHOUSE}
POSTGRESQL = "devices.storage.postgresql.engine.PostgreSQL"


def current() -> Storage:
    return opened(settings.READINGS_URL)


def is_own_table() -> bool:
    """Tell whether the readings are in the table of Django's model Reading, which Django admin shows."""
    return settings.READINGS_URL in ("", "postgresql")


@cache
def opened(url: str) -> Storage:
    return import_string(ENGINES.get(url.partition(":")[0], POSTGRESQL))(url)
