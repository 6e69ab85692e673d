"""Scopes of credentials. Each model's `visible_to` decides which rows a user may see."""

from typing import Any, cast

from allauth.account.internal.flows.reauthentication import is_reauthentication_required
from django.http import HttpRequest
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from users.models import Scope, Token, User

OLD_LOG_IN = (
    "You logged in more than five minutes ago. Confirm that it is you at "
    "/portal/account/reauthenticate/?next=/docs, then send this again; or send it "
    "with `Authorization: Token …`."
)


def signed_in(request: HttpRequest | Request) -> User:
    """The user of a request that only a user can make, as the type checker can't know."""
    return cast(User, request.user)


def require_scope(request: Request, scope: Scope) -> None:
    """Require a scope in addition to the view's own. Raises PermissionDenied."""
    if isinstance(request.auth, Token) and scope not in request.auth.scopes:
        raise PermissionDenied(needs(scope))


def needs(scope: Scope) -> str:
    return f"This needs a token with the scope `{scope.value}`."


def require_fresh_log_in(request: Request) -> None:
    """Refuse an old session, as the account's pages do; a token is its own proof. Raises PermissionDenied."""
    page = request._request
    if request.auth is not None or getattr(page, "is_open_demo", False):
        return
    if is_reauthentication_required(page, app="users"):
        raise PermissionDenied(OLD_LOG_IN)


def only_reads(request: Request) -> bool:
    """Tell whether the request's credential is a token that may change nothing."""
    return isinstance(request.auth, Token) and Scope.WRITE not in request.auth.scopes


class ScopeAllows(BasePermission):
    """The default permission: a user, by session or by a token with the scope of the method.

    `view.scope` overrides it.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        if not isinstance(request.auth, Token):
            return True
        default = Scope.READ if request.method in SAFE_METHODS else Scope.WRITE
        scope = getattr(view, "scope", default)
        self.message = needs(scope)
        return scope in request.auth.scopes
