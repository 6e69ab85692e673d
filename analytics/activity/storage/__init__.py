"""Storage of activity logs: `current()` is the one that ACTIVITY_URL names."""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from analytics.activity.storage.interface import ActivityStorage

CLICKHOUSE = "analytics.activity.storage.clickhouse.ClickHouseActivity"
# By URL scheme; imported only when chosen. Tests add one for ClickHouse in their own process.
ENGINES = {"clickhouse": CLICKHOUSE}
POSTGRESQL = "analytics.activity.storage.postgresql.PostgreSQLActivity"


def current() -> ActivityStorage:
    return opened(settings.ACTIVITY_URL)


@cache
def opened(url: str) -> ActivityStorage:
    return import_string(ENGINES.get(url.partition(":")[0], POSTGRESQL))(url)
