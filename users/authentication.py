"""Authentication by a token in the header, or by the session of the portal's own pages."""

from typing import Any

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from users.models import Credential, Token, User
from users.permissions import signed_in
from users.trail.notes import note_refused_credential


class CredentialAuthentication(BaseAuthentication):
    """Authenticates `Authorization: KEYWORD TEXT`, where TEXT is a stored credential."""

    keyword = ""
    related = ""
    credential: type[Credential]

    def authenticate(self, request: Request) -> tuple[Any, Credential] | None:
        keyword, _, text = get_authorization_header(request).decode("latin-1").strip().partition(" ")
        if keyword.lower() != self.keyword.lower():
            return None
        now = timezone.now()
        credential = self.credential.find(text.strip(), now, self.related)
        if credential is None:
            self.note_refused(request, text.strip())
            raise AuthenticationFailed(f"This {self.keyword} credential is unknown, expired or revoked.")
        try:
            principal = self.principal(credential)
        except AuthenticationFailed:
            self.note_refused(request, text.strip())
            raise
        credential.note_use(now)
        return principal, credential

    def principal(self, credential: Any) -> Any:
        raise NotImplementedError

    def note_refused(self, request: Request, text: str) -> None:
        kind = self.credential._meta.verbose_name.replace(" ", "_")
        note_refused_credential(request._request, kind, text)

    def authenticate_header(self, request: Request) -> str:
        return self.keyword


class TokenAuthentication(CredentialAuthentication):
    keyword = "Token"
    related = "user"
    credential = Token

    def principal(self, credential: Token) -> User:
        if not credential.user.is_active:
            raise AuthenticationFailed("This user is deactivated.")
        return credential.user


def refuse_foreign_page(request: Request) -> None:
    """Refuse changes sent from another site's page, by its Origin: an open demo has no CSRF token."""
    origin = request.META.get("HTTP_ORIGIN")
    if request.method not in SAFE_METHODS and origin and origin.partition("://")[2] != request.get_host():
        raise PermissionDenied("Pages of other sites may not change data here.")


class PageSessionAuthentication(SessionAuthentication):
    """Authenticates by the pages' session and CSRF token; in demo mode it accepts everybody."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        # An Authorization header with an unknown scheme must not fall through to open access.
        if get_authorization_header(request):
            raise AuthenticationFailed("Send `Authorization: Token …` or `Authorization: Device …`.")
        if getattr(request._request, "is_open_demo", False):
            refuse_foreign_page(request)
            return signed_in(request._request), None
        return super().authenticate(request)
