"""Scopes of credentials. Each model's `visible_to` decides which rows a user may see."""

from typing import Any, cast

from django.http import HttpRequest
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from users.models import Scope, Token, User


def signed_in(request: HttpRequest | Request) -> User:
    """The user of a request that only a user can make, as the type checker can't know."""
    return cast(User, request.user)


def require_scope(request: Request, scope: Scope) -> None:
    """Require a scope in addition to the view's own. Raises PermissionDenied."""
    if isinstance(request.auth, Token) and scope not in request.auth.scopes:
        raise PermissionDenied(ScopeAllows.message)


def only_reads(request: Request) -> bool:
    """Tell whether the request's credential is a token that may change nothing."""
    return isinstance(request.auth, Token) and Scope.WRITE not in request.auth.scopes


class ScopeAllows(BasePermission):
    """The default permission: a user, by session or by a token with the scope of the method.

    `view.scope` overrides it.
    """

    message = "This credential does not allow this request."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        if not isinstance(request.auth, Token):
            return True
        default = Scope.READ if request.method in SAFE_METHODS else Scope.WRITE
        return getattr(view, "scope", default) in request.auth.scopes
