"""Security headers and Content-Length on every response."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

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

# The gate answers before any middleware runs and adds these headers itself.
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Readings must not stay in a shared cache, nor in the browser after the user logs out.
    "Cache-Control": "private, no-store",
}
if settings.HTTPS:
    HEADERS["Strict-Transport-Security"] = "max-age=31536000"


def standing_headers(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable:
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
