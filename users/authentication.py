"""Authentication by a token in the header, or by the session of the portal's own pages."""

import copy
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.authentication import (
    BaseAuthentication,
    CSRFCheck,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from users.models import Credential, Token, User
from users.permissions import signed_in
from users.trail.notes import note_refused_credential

BY_LINK = "This starts work: use POST, or send a token, or the session's X-CSRFToken."
# It may have been read on its way: whoever sent it should know.
IN_CLEAR = "This credential came over plain HTTP. Replace it, and send the new one over HTTPS only."


def refuse_in_clear(request: Request) -> None:
    """Raises PermissionDenied if the setting HTTPS is on and the request's credential came without."""
    if settings.HTTPS and not request.is_secure():
        raise PermissionDenied(IN_CLEAR)


def sends_credential(request: HttpRequest | Request) -> bool:
    """Tell whether the Authorization header decides who asks. With an empty one it is still the session."""
    return bool(request.META.get("HTTP_AUTHORIZATION"))


class CredentialAuthentication(BaseAuthentication):
    """Authenticates `Authorization: KEYWORD TEXT`, where TEXT is a stored credential."""

    keyword = ""
    related = ""
    credential: type[Credential]

    def authenticate(self, request: Request) -> tuple[Any, Credential] | None:
        keyword, _, text = get_authorization_header(request).decode("latin-1").strip().partition(" ")
        if keyword.lower() != self.keyword.lower():
            return None
        refuse_in_clear(request)
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
        kind = str(self.credential._meta.verbose_name).replace(" ", "_")
        note_refused_credential(kind, text)

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


def no_answer(_: HttpRequest) -> HttpResponse:
    """Stand behind the check, which is asked alone."""
    return HttpResponse()


def refuse_links(request: Request) -> None:
    """Refuse a GET that starts work if a link on a foreign page could cause it. Raises PermissionDenied.

    A token is in no link. Of a session the CSRF token is demanded, as for a change. An open demo has none, so
    there the browser's own word counts.
    """
    if request.method not in ("GET", "HEAD") or request.auth is not None:
        return
    if getattr(request._request, "is_open_demo", False):
        if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
            raise PermissionDenied(BY_LINK)
        return
    as_change = copy.copy(request._request)
    as_change.method = "PUT"
    check = CSRFCheck(no_answer)
    check.process_request(as_change)
    if check.process_view(as_change, no_answer, (), {}):
        raise PermissionDenied(BY_LINK)


class PageSessionAuthentication(SessionAuthentication):
    """Authenticates by the pages' session and CSRF token; in demo mode it accepts everybody."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        # An Authorization header with an unknown scheme must not fall through to open access.
        if sends_credential(request):
            raise AuthenticationFailed("Send `Authorization: Token …` or `Authorization: Device …`.")
        if getattr(request._request, "is_open_demo", False):
            refuse_foreign_page(request)
            return signed_in(request._request), None
        return super().authenticate(request)


class ViewerAuthentication(BaseAuthentication):
    """Tells a public page who looks at it, for its header, and refuses nobody."""

    def authenticate(self, request: Request) -> tuple[Any, None]:
        return request._request.user, None
