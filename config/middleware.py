"""What holds for every request: headers, health, hosts, slashes, demo mode, unknown query parameters."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port
from django.urls import is_valid_path
from django.utils.log import log_response
from rest_framework.mixins import ListModelMixin
from rest_framework.permissions import SAFE_METHODS

from config.health import healthz
from config.problems import AWAY, problem
from config.views import database_is_away
from devices.access import credential_changes
from devices.ingestion.post_head import POST_PATH as TAKES_READINGS

GetResponse = Callable[[HttpRequest], HttpResponse]

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
# ReDoc builds its page from a worker and from styles that it writes itself.
REDOC_POLICY = f"{POLICY}; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:"


# On every response; the gate, which answers before any middleware, puts them on its own.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Nobody's readings stay in a shared cache, or in the browser after logging out.
    "Cache-Control": "private, no-store",
}
if settings.HTTPS:
    HEADERS["Strict-Transport-Security"] = "max-age=31536000"


def standing_headers(get_response: GetResponse) -> GetResponse:
    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        for name, value in HEADERS.items():
            response.setdefault(name, value)
        if request.path.rstrip("/") == "/redoc":
            response["Content-Security-Policy"] = REDOC_POLICY
        if not response.streaming:
            response.setdefault("Content-Length", str(len(response.content)))
        return response

    return middleware


def health(get_response: GetResponse) -> GetResponse:
    """Answered before the host check: an orchestrator's probe asks by address."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.path_info.rstrip("/") == "/healthz":
            return healthz(request)
        return get_response(request)

    return middleware


def is_foreign_name(host: str) -> bool:
    """An open demo that takes any host: a foreign page could reach it by a name made to point here."""
    if not settings.DEMO or "*" not in settings.ALLOWED_HOSTS:
        return False
    name = split_domain_port(host)[0]
    if name == "localhost":
        return False
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return True
    return False


def known_host_and_slash(get_response: GetResponse) -> GetResponse:
    """Refuse foreign Host headers, and let a trailing slash be optional without a redirect."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if is_foreign_name(request.get_host()):
            return problem(400, "An open demo answers to localhost and to addresses only.")
        path = request.path_info
        if not is_valid_path(path):
            other = path[:-1] if path.endswith("/") else f"{path}/"
            if is_valid_path(other):
                request.path_info = other
        return get_response(request)

    return middleware


def demo_user(get_response: GetResponse) -> GetResponse:
    """In demo mode whoever comes without credentials is the admin."""
    if not settings.DEMO:
        return get_response
    users = get_user_model().objects

    def middleware(request: HttpRequest) -> HttpResponse:
        # A credential in the header is for the API to judge, and needs no session.
        if "Authorization" not in request.headers and not request.user.is_authenticated:
            admin = users.filter(role="admin", is_active=True).order_by("id").first()
            if admin is not None:
                request.user = admin
                request.is_open_demo = True
        return get_response(request)

    return middleware


def note_changes(get_response: GetResponse) -> GetResponse:
    """After whatever may have changed a credential, a device or a user, no process goes on with old leave.

    Readings change none of them, and come too often.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.method not in ("GET", "HEAD", "OPTIONS") and not TAKES_READINGS.fullmatch(request.path):
            credential_changes.note_change()
        return response

    return middleware


class PageLoginRequired(LoginRequiredMiddleware):
    """Log-in is the default for pages. API views judge credentials themselves and need no session."""

    def process_view(self, request: HttpRequest, view: Callable, *arguments: Any) -> HttpResponse | None:
        return None if hasattr(view, "cls") else super().process_view(request, view, *arguments)


def demo_banner(_: HttpRequest) -> dict[str, bool]:
    """Template context: whether every page must say that access is open."""
    return {"is_demo": settings.DEMO}


class DatabaseAway:
    """A page whose database is away says so, and the log in one line: a traceback tells nothing more."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, AWAY):
            return None
        response = database_is_away(request)
        cause = " ".join(str(error).split())
        log_response("%s: %s", request.path, cause, response=response, request=request)
        return response


class RefuseUnknownQuery:
    """A misspelt parameter is 400, not silently the wrong answer."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable, *_: object) -> HttpResponse | None:
        view_class = getattr(view, "cls", None)
        if view_class is None or not request.GET or not hasattr(view_class, "query_parameters"):
            return None
        unknown = sorted(set(request.GET) - allowed_parameters(view_class, request.method))
        if not unknown:
            return None
        return problem(
            400, errors=[{"field": name, "message": "Unknown query parameter."} for name in unknown]
        )


def allowed_parameters(view: type, method: str) -> set[str]:
    """What a view itself understands, for DELETE perhaps more; a list also has filters and paging."""
    allowed = set(view.query_parameters)
    if method == "DELETE":
        allowed |= set(getattr(view, "delete_parameters", ()))
    if method in SAFE_METHODS and issubclass(view, ListModelMixin):
        allowed |= set(view.pagination_class.query_parameters)
        allowed |= set(view.filterset_class.base_filters) if hasattr(view, "filterset_class") else set()
    return allowed
