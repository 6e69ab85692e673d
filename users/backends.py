"""Log-in by password, for the portal's pages and for Django admin."""

import hashlib
import logging
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from redis.exceptions import RedisError

from users.models import User

logger = logging.getLogger(__name__)
MAX_FAILURES = 10
WINDOW_SECONDS = 300


class ThrottledBackend(ModelBackend):
    """Refuses a login from an address for WINDOW_SECONDS after MAX_FAILURES wrong passwords.

    While Redis is away nothing is counted: its outage must not lock people out.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        key = failures_key(request, username or "")
        if failures(key) >= MAX_FAILURES:
            logger.warning("Log-in refused after too many wrong passwords for %r.", username)
            raise PermissionDenied
        user = super().authenticate(request, username, password)
        if user is None:
            note_failure(key)
        return user


def failures_key(request: HttpRequest | None, login: str) -> str:
    address = request.META.get("REMOTE_ADDR", "") if request else ""
    return "login-" + hashlib.sha256(f"{address} {login.lower()}".encode(errors="replace")).hexdigest()


def failures(key: str) -> int:
    try:
        return cache.get(key, 0)
    except RedisError as error:
        logger.warning("Wrong passwords are not counted: %s", error)
        return 0


def note_failure(key: str) -> None:
    try:
        cache.add(key, 0, WINDOW_SECONDS)
        cache.incr(key)
    except (RedisError, ValueError) as error:  # ValueError: the window ended before incr
        logger.warning("A wrong password was not counted: %s", error)
