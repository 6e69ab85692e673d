"""Demo mode: open access as the admin, and the banner that says so."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse

from config.demo import clients
from config.error_pages import NOT_ALLOWED, error_response
from users.authentication import sends_credential

# Nobody's account is open: these pages need a log-in even here.
ACCOUNT = "/portal/account/"
GetResponse = Callable[[HttpRequest], HttpResponse]


def demo_user(get_response: GetResponse) -> GetResponse:
    """In demo mode, treat a request without credentials as the admin's."""
    if not settings.DEMO:
        return get_response
    users = get_user_model().objects

    def middleware(request: HttpRequest) -> HttpResponse:
        # The API checks a credential in the header itself, without a session.
        is_open = not sends_credential(request) and not request.path_info.startswith(ACCOUNT)
        if is_open and not request.user.is_authenticated:
            admin = users.filter(role="admin", is_active=True).order_by("id").first()
            if admin is not None:
                request.user = admin
                request.is_open_demo = True  # type: ignore[attr-defined]  # read by `getattr`
        return get_response(request)

    return middleware


def near_clients(get_response: GetResponse) -> GetResponse:
    """In demo mode, refuse clients from beyond the private networks; note those beyond this computer."""
    if not settings.DEMO:
        return get_response

    def middleware(request: HttpRequest) -> HttpResponse:
        addresses = clients.addresses_of(request)
        clients.note_clients(addresses)
        if clients.lets_in(addresses):
            return get_response(request)
        return error_response(request, NOT_ALLOWED, clients.ADVICE, clients.ADVICE)

    return middleware


def demo_banner(_: HttpRequest) -> dict[str, Any]:
    """Template context: `is_demo` makes every page show the banner of the open demo."""
    return {"is_demo": settings.DEMO, "reached_from": clients.reached_from() if settings.DEMO else ""}
