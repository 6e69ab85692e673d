"""Wrong passwords are counted by django-axes in the database, by login and address.

Three bounds: few for one login from one address, so that a guesser elsewhere does not lock out the owner;
more for one address, whatever the logins; and more for one login, whatever the addresses.

Wrong keys in links of forgotten passwords count in the same way, but only by address: a guesser must not take
these links away from everybody.
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
# Stands for a login where wrong keys are counted; no login has a space.
RESET_LINKS = "reset links"
MAX_LOGIN = 255


class LockoutHandler(AxesDatabaseHandler):
    """Axes' handler with the three bounds. It stores no forms: people type passwords into wrong fields."""

    def is_locked(self, request: Any, credentials: dict | None = None) -> bool:
        return seconds_locked(request, counted_login(request, credentials), timezone.now()) > 0

    def user_login_failed(self, sender: Any, credentials: dict, request: Any = None, **kwargs: Any) -> None:
        # Tries during a lock do not count: they would prolong it for ever.
        if request is None or request.axes_locked_out:
            return
        login = counted_login(request, credentials)
        count_failure(request, login)
        if self.is_locked(request, credentials):
            warn_of_lock("Log-in", request, login)

    def user_logged_in(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Keep the count: a right password in between must not give a guesser new tries."""

    def user_logged_out(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Do nothing: axes would log sessions, which the activity log has."""


def count_wrong_key(request: HttpRequest) -> None:
    """Count a link of a forgotten password whose key is wrong, or no longer right."""
    count_failure(request, RESET_LINKS)
    if seconds_without_links(request, timezone.now()):
        warn_of_lock("Setting a forgotten password", request, RESET_LINKS)


def count_failure(request: Any, login: str) -> None:
    now = timezone.now()
    AccessAttempt.objects.filter(attempt_time__lt=since(now)).delete()
    attempt, _ = AccessAttempt.objects.get_or_create(
        username=login,
        ip_address=counted_address(request),
        user_agent="",
        defaults={"failures_since_start": 0},
    )
    AccessAttempt.objects.filter(pk=attempt.pk).update(
        failures_since_start=F("failures_since_start") + 1, attempt_time=now
    )


def warn_of_lock(what: str, request: Any, login: str) -> None:
    key = {"username": login, "ip_address": counted_address(request)}
    logger.warning("%s locked for %d s after too many wrong tries: %s.", what, LOCK_SECONDS, key)


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
    return longest_lock(
        now,
        (of_login & of_address, PAIR_FAILURES),
        (of_address, ADDRESS_FAILURES),
        (of_login, LOGIN_FAILURES),
    )


def seconds_without_links(request: HttpRequest, now: datetime) -> int:
    """Return for how long no link of a forgotten password works at this address; 0 if they do."""
    of_address = Q(ip_address=counted_address(request))
    of_links = of_address & Q(username=RESET_LINKS)
    return longest_lock(now, (of_links, PAIR_FAILURES), (of_address, ADDRESS_FAILURES))


def longest_lock(now: datetime, *bounds: tuple[Q, int]) -> int:
    """Return the seconds until the failures of no rows reach their bound any more."""
    recent = AccessAttempt.objects.filter(attempt_time__gte=since(now)).order_by()
    seconds = 0
    for rows, bound in bounds:
        found = recent.filter(rows).aggregate(failures=Sum("failures_since_start"), last=Max("attempt_time"))
        if (found["failures"] or 0) >= bound:
            seconds = max(seconds, ceil((found["last"] - since(now)).total_seconds()))
    return seconds
