"""Where activity logs are kept: `current()` is the storage that ACTIVITY_URL names."""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from analytics.activity.storage.interface import ActivityStorage

CLICKHOUSE = "analytics.activity.storage.clickhouse.ClickHouseActivity"
# By their scheme. Imported only when chosen; tests add ClickHouse within their process.
ENGINES = {"clickhouse": CLICKHOUSE}
POSTGRESQL = "analytics.activity.storage.postgresql.PostgreSQLActivity"


def current() -> ActivityStorage:
    """The one that ACTIVITY_URL names."""
    return opened(settings.ACTIVITY_URL)


@cache
def opened(url: str) -> ActivityStorage:
    return import_string(ENGINES.get(url.partition(":")[0], POSTGRESQL))(url)
