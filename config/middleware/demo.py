"""Demo mode: open access as the admin, and the banner that says so."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse

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


def demo_banner(_: HttpRequest) -> dict[str, bool]:
    """Template context: `is_demo` makes every page show the banner of the open demo."""
    return {"is_demo": settings.DEMO}
