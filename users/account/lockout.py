"""Wrong passwords are counted by django-axes in the database, by login and address.

Three bounds: few for one login from one address, so that a guesser elsewhere does not lock out the owner;
more for one address, whatever the logins; and more for one login, whatever the addresses.

Wrong keys in links of forgotten passwords count in the same way, but only by address: a guesser must not take
these links away from everybody.

A try counts before its password is hashed, and is taken back if the password was right: of many guesses at
the same time no more than the bound are made.
"""

import logging
from datetime import datetime, timedelta
from math import ceil
from types import TracebackType
from typing import Any, Self

from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Aggregate, F, Max, Q, Sum
from django.http import HttpRequest
from django.utils import timezone

from users.account.addresses import counted_address
from users.account.hashing import TooManyHashes
from users.trail.notes import note_refusal

logger = logging.getLogger(__name__)

PAIR_FAILURES = 10
ADDRESS_FAILURES = 100
LOGIN_FAILURES = 100
LOCK_SECONDS = 300
# Stands for a login where wrong keys are counted; no login has a space.
RESET_LINKS = "reset links"
MAX_LOGIN = 255
# One statement: another try may delete the row at any moment. A count that is over begins anew.
COUNT = """
    INSERT INTO axes_accessattempt AS tries (
        username, ip_address, user_agent, http_accept, path_info, get_data, post_data,
        attempt_time, failures_since_start
    )
    VALUES (%(username)s, %(ip_address)s, '', '', '', '', '', %(now)s, 1)
    ON CONFLICT (username, ip_address, user_agent) DO UPDATE SET
        failures_since_start =
            CASE WHEN tries.attempt_time < %(since)s THEN 1 ELSE tries.failures_since_start + 1 END,
        attempt_time = excluded.attempt_time
    RETURNING id
"""


class LockoutHandler(AxesDatabaseHandler):
    """Axes' handler with the three bounds. It stores no forms: people type passwords into wrong fields."""

    def is_locked(self, request: Any, credentials: dict | None = None) -> bool:
        return seconds_locked(request, counted_login(request, credentials), timezone.now()) > 0

    def user_login_failed(self, sender: Any, credentials: dict, request: Any = None, **kwargs: Any) -> None:
        """Say so in the log once the bound is reached; `CountedTry` has counted the try."""
        if request is not None and not request.axes_locked_out and self.is_locked(request, credentials):
            warn_of_lock("Log-in", request, counted_login(request, credentials))

    def user_logged_in(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Keep the count: a right password in between must not give a guesser new tries."""

    def user_logged_out(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        """Do nothing: axes would log sessions, which the activity log has."""


def count_wrong_key(request: HttpRequest) -> None:
    """Count a link of a forgotten password whose key is wrong, or no longer right."""
    now = timezone.now()
    note_refusal("refused", "user", label=RESET_LINKS)
    count(request, RESET_LINKS, now)
    if seconds_without_links(request, now):
        warn_of_lock("Setting a forgotten password", request, RESET_LINKS)


def count(request: Any, login: str, now: datetime) -> int:
    """Count a try; return the id of the row that counts it."""
    key = {"username": login, "ip_address": counted_address(request)}
    with connection.cursor() as cursor:
        cursor.execute(COUNT, key | {"now": now, "since": since(now)})
        [pk] = cursor.fetchone()
    return pk


def warn_of_lock(what: str, request: Any, login: str) -> None:
    key = {"username": login, "ip_address": counted_address(request)}
    logger.warning("%s locked for %d s after too many wrong tries: %s.", what, LOCK_SECONDS, key)


def counted_login(request: Any, credentials: dict | None = None) -> str:
    """Return the login as it is counted: capitals make no other login, and NUL cannot be stored."""
    login = (credentials or {}).get("username") or request.POST.get("username", "")
    text = str(login).lower().replace("\0", "").encode(errors="replace").decode()
    return text[:MAX_LOGIN]


def forget_old(now: datetime) -> None:
    AccessAttempt.objects.filter(attempt_time__lt=since(now)).delete()


def since(now: datetime) -> datetime:
    return now - timedelta(seconds=LOCK_SECONDS)


def seconds_locked(request: HttpRequest, login: str, now: datetime, *, own: int = 0) -> int:
    """Return for how long this login is locked at this address; 0 if it is not.

    `own` tries are the caller's and count for nothing.
    """
    of_login, of_address = Q(username=login), Q(ip_address=counted_address(request))
    return longest_lock(
        of_login | of_address,
        now,
        own,
        (of_login & of_address, PAIR_FAILURES),
        (of_address, ADDRESS_FAILURES),
        (of_login, LOGIN_FAILURES),
    )


def seconds_without_links(request: HttpRequest, now: datetime) -> int:
    """Return for how long no link of a forgotten password works at this address; 0 if they do."""
    of_address = Q(ip_address=counted_address(request))
    of_links = of_address & Q(username=RESET_LINKS)
    return longest_lock(of_address, now, 0, (of_links, PAIR_FAILURES), (of_address, ADDRESS_FAILURES))


def longest_lock(all_rows: Q, now: datetime, own: int, *bounds: tuple[Q, int]) -> int:
    """Return the seconds until the failures of no rows reach their bound any more; `own` do not count."""
    recent = AccessAttempt.objects.filter(all_rows, attempt_time__gte=since(now)).order_by()
    figures: dict[str, Aggregate] = {}
    for number, (rows, _) in enumerate(bounds):
        figures[f"failures_{number}"] = Sum("failures_since_start", filter=rows, default=0)
        figures[f"last_{number}"] = Max("attempt_time", filter=rows)
    found = recent.aggregate(**figures)
    reached = [
        found[f"last_{number}"]
        for number, (_, bound) in enumerate(bounds)
        if found[f"failures_{number}"] - own >= bound
    ]
    return ceil((max(reached) - since(now)).total_seconds()) if reached else 0


class CountedTry:
    """Counts a try of a password; takes it back at the end if `is_right`, or if no password was tried.

    Raises PermissionDenied if others at the same time have reached the bound.
    """

    def __init__(self, request: Any, login: str | None) -> None:
        self.request = request
        self.login = counted_login(request, {"username": login})
        self.is_right = False

    def __enter__(self) -> Self:
        now = timezone.now()
        key = {"username": self.login, "ip_address": counted_address(self.request), "user_agent": ""}
        # A right password must not prolong what earlier wrong ones have begun.
        self.before = AccessAttempt.objects.filter(**key).values_list("attempt_time", flat=True).first()
        self.counted_at = now
        self.pk = count(self.request, self.login, now)
        if seconds_locked(self.request, self.login, now, own=1):
            self.take_back()
            self.request.axes_locked_out = True
            raise PermissionDenied
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_right or isinstance(error, TooManyHashes):
            self.take_back()

    def take_back(self) -> None:
        rows = AccessAttempt.objects.filter(pk=self.pk, failures_since_start__gt=0)
        rows.update(failures_since_start=F("failures_since_start") - 1)
        rows = AccessAttempt.objects.filter(pk=self.pk)
        if self.before is not None:
            rows.filter(attempt_time=self.counted_at).update(attempt_time=self.before)
        rows.filter(failures_since_start__lte=0).delete()
