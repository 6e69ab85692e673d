"""What a credential allows; which rows it may see is decided by each model's `visible_to`."""

from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from users.models import Scope, Token


def require_scope(request: Request, scope: Scope) -> None:
    """Beside the one that the view asks for anyway. Raises PermissionDenied."""
    if isinstance(request.auth, Token) and scope not in request.auth.scopes:
        raise PermissionDenied(ScopeAllows.message)


class ScopeAllows(BasePermission):
    """The default: a person whose token has the scope. `view.scope` overrides read and write by method."""

    message = "This credential does not allow that."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user.is_authenticated:
            return False
        if not isinstance(request.auth, Token):
            return True
        default = Scope.READ if request.method in SAFE_METHODS else Scope.WRITE
        return getattr(view, "scope", default) in request.auth.scopes
