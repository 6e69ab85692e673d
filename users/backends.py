"""Log-in by password, for every page. `users.account.lockout` counts the wrong ones."""

from typing import Any

from axes.backends import AxesStandaloneBackend
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from users.models import User


class ThrottledBackend(AxesStandaloneBackend, ModelBackend):
    """Refuses even the right password while the login or the address is locked, without looking at it."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **_: Any
    ) -> User | None:
        # Raises PermissionDenied, which ends the log-in.
        AxesStandaloneBackend.authenticate(self, request, username=username, password=password)
        return ModelBackend.authenticate(self, request, username, password)
