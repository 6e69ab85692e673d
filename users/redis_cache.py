"""Values that are cheaper to read from Redis than to compute. Nothing depends on it: away, it is a miss."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.cache import caches
from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

# A Redis that failed is not asked again for so long: each try may wait for a timeout.
PAUSE_SECONDS = 5
# A smaller total is counted anew for each list, so that a row just added is in it.
LARGE_COUNT = 10_000
COUNT_SECONDS = 10
paused_until = 0.0


class JSONSerializer:
    """Django's own serializer unpickles what it reads: whoever writes to Redis could run code here."""

    def dumps(self, value: Any) -> bytes | int:
        # A plain number can be incremented by Redis.
        return value if type(value) is int else json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        """What is no JSON was written by somebody else, and counts as a miss."""
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            return None


def cached(key: str, seconds: int, make: Callable[[], dict]) -> dict:
    """Return the object cached under the key, else make it and cache it. It must survive JSON unchanged."""
    found = recall(key)
    # Another value was written by somebody else.
    if not isinstance(found, dict):
        found = make()
        remember(key, found, seconds)
    return found


def cached_count(rows: QuerySet) -> int:
    """Count rows; a count of LARGE_COUNT or more may be COUNT_SECONDS old."""
    try:
        statement = repr(rows.order_by().query.sql_with_params())
    except EmptyResultSet:
        return 0
    key = f"count-{hashlib.sha256(statement.encode()).hexdigest()}"
    found = recall(key)
    # Another value was written by somebody else.
    if type(found) is not int or found < LARGE_COUNT:
        found = rows.count()
        if found >= LARGE_COUNT:
            remember(key, found, COUNT_SECONDS)
    return found


def recall(key: str) -> Any:
    """Return the cached value, or None."""
    return unless_away(lambda: caches["redis"].get(key))


def remember(key: str, value: Any, seconds: int) -> None:
    unless_away(lambda: caches["redis"].set(key, value, seconds))


def recall_many(keys: Sequence[str]) -> dict[str, Any]:
    """Return the cached values among these keys, in one round trip."""
    found = (unless_away(lambda: caches["redis"].get_many(keys)) if keys else None) or {}
    return {key: value for key, value in found.items() if value is not None}


def remember_many(values: Mapping[str, Any], seconds: int) -> None:
    if values:
        unless_away(lambda: caches["redis"].set_many(dict(values), seconds))


def unless_away(use: Callable[[], Any]) -> Any:
    global paused_until  # noqa: PLW0603  one state for the process
    if time.monotonic() < paused_until:
        return None
    try:
        return use()
    except RedisError as error:
        paused_until = time.monotonic() + PAUSE_SECONDS
        logger.warning("The cache is not used for %d s: %s", PAUSE_SECONDS, error)
        return None
