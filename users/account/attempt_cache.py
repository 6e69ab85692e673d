"""Attempts that protect accounts, counted in PostgreSQL by django-allauth as its cache.

Not in Redis: full, flushed or in foreign hands it would let codes and links be tried without end. Values are
JSON. Whatever fails here fails the request.
"""

import json
import time
from datetime import UTC, datetime
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection

SET = """
    INSERT INTO users_attempt_cache (key, value, expires_at) VALUES (%s, %s, %s)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
"""
# No two processes that add the same key at the same time both succeed.
ADD = f"{SET} WHERE users_attempt_cache.expires_at <= clock_timestamp() RETURNING key"
GET = "SELECT value FROM users_attempt_cache WHERE key = %s AND expires_at > clock_timestamp()"


class AttemptCache(BaseCache):
    """What allauth needs of a cache: `add`, `get`, `set` and `delete`, and `clear`."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(self.run(ADD, *self.row(key, value, timeout, version)))

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self.run(f"{SET} RETURNING key", *self.row(key, value, timeout, version))

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        found = self.run(GET, self.make_and_validate_key(key, version))
        return json.loads(found[0][0]) if found else default

    def delete(self, key: str, version: int | None = None) -> bool:
        statement = "DELETE FROM users_attempt_cache WHERE key = %s RETURNING key"
        return bool(self.run(statement, self.make_and_validate_key(key, version)))

    def clear(self) -> None:
        self.run("DELETE FROM users_attempt_cache RETURNING key")

    def row(self, key: str, value: Any, timeout: Any, version: int | None) -> tuple[str, str, datetime | str]:
        ends = self.get_backend_timeout(timeout)
        stamp = "infinity" if ends is None else datetime.fromtimestamp(max(ends, 0), UTC)
        return self.make_and_validate_key(key, version), json.dumps(value), stamp

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> float | None:
        seconds = self.default_timeout if timeout == DEFAULT_TIMEOUT else timeout
        return None if seconds is None else time.time() + seconds

    def run(self, statement: str, *values: Any) -> list[tuple]:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()


def forget_expired() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM users_attempt_cache WHERE expires_at <= clock_timestamp()")
