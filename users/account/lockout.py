"""Wrong passwords are counted by django-axes in the database, by login and address.

Three bounds: few for one login from one address, so that a guesser elsewhere does not lock out the owner;
more for one address, whatever the logins; and more for one login, whatever the addresses.
"""

import logging
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.db.models import F, Max, Q, Sum
from django.http import HttpRequest
from django.utils import timezone

from users.account.addresses import counted_address

logger = logging.getLogger(__name__)

PAIR_FAILURES = 10
ADDRESS_FAILURES = 100
LOGIN_FAILURES = 100
LOCK_SECONDS = 300
MAX_LOGIN = 255


class LockoutHandler(AxesDatabaseHandler):
    """Axes' handler with the three bounds. It stores no forms: people type passwords into wrong fields."""

    def is_locked(self, request: Any, credentials: dict | None = None) -> bool:
        return seconds_locked(request, counted_login(request, credentials), timezone.now()) > 0

    def user_login_failed(self, sender: Any, credentials: dict, request: Any = None, **kwargs: Any) -> None:
        # Tries during a lock do not count: they would prolong it for ever.
        if request is None or request.axes_locked_out:
            return
        now = timezone.now()
        AccessAttempt.objects.filter(attempt_time__lt=since(now)).delete()
        key = {"username": counted_login(request, credentials), "ip_address": counted_address(request)}
        attempt, _ = AccessAttempt.objects.get_or_create(
            **key, user_agent="", defaults={"failures_since_start": 0}
        )
        AccessAttempt.objects.filter(pk=attempt.pk).update(
            failures_since_start=F("failures_since_start") + 1, attempt_time=now
        )
        if self.is_locked(request, credentials):
            logger.warning("Log-in locked for %d s after too many wrong passwords: %s.", LOCK_SECONDS, key)

    def user_logged_in(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Keep the count: a right password in between must not give a guesser new tries."""

    def user_logged_out(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Do nothing: axes would log sessions, which the activity log has."""


def counted_login(request: Any, credentials: dict | None = None) -> str:
    """Return the login as it is counted: capitals make no other login, and NUL cannot be stored."""
    login = (credentials or {}).get("username") or request.POST.get("username", "")
    text = str(login).lower().replace("\0", "").encode(errors="replace").decode()
    return text[:MAX_LOGIN]


def since(now: datetime) -> datetime:
    return now - timedelta(seconds=LOCK_SECONDS)


def seconds_locked(request: HttpRequest, login: str, now: datetime) -> int:
    """Return for how long this login is locked at this address; 0 if it is not."""
    of_login, of_address = Q(username=login), Q(ip_address=counted_address(request))
    recent = AccessAttempt.objects.filter(attempt_time__gte=since(now)).order_by()
    seconds = 0
    for rows, bound in (
        (of_login & of_address, PAIR_FAILURES),
        (of_address, ADDRESS_FAILURES),
        (of_login, LOGIN_FAILURES),
    ):
        found = recent.filter(rows).aggregate(failures=Sum("failures_since_start"), last=Max("attempt_time"))
        if (found["failures"] or 0) >= bound:
            seconds = max(seconds, ceil((found["last"] - since(now)).total_seconds()))
    return seconds
