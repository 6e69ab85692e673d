"""Log-in by password, for every page. `users.account.lockout` counts tries before they are made."""

from typing import Any

from axes.backends import AxesStandaloneBackend
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from users.account import hashing
from users.account.lockout import CountedTry
from users.models import User


class ThrottledBackend(AxesStandaloneBackend, ModelBackend):
    """Refuses even the right password while the login or the address is locked, without looking at it."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        # In a flood the database is not asked either.
        hashing.places.refuse_if_full()
        # Raises PermissionDenied, which ends the log-in.
        AxesStandaloneBackend.authenticate(self, request, username=username, password=password)
        # Counted first: of many guesses at the same time none is free.
        with CountedTry(request, username) as counted:
            user = ModelBackend.authenticate(self, request, username, password)
            counted.is_right = user is not None
        return user
