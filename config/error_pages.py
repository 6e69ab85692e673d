"""Errors as pages for people. Programs get problem details (`config.problems`) for the same errors."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve

from config.demo.clients import reached_from
from config.problems import problem
from devices.ingestion.asgi import current_request_id

PAGES = ("/portal/", "/admin/")
API_DOCS = ("/docs", "/redoc")
HTML, JSON = "text/html", "application/json"


@dataclass(frozen=True)
class Explanation:
    """The words of a page about an error: what happened, and what to do."""

    status: int
    title: str
    happened: str
    advice: str


BAD_REQUEST = Explanation(
    400,
    "Bad request",
    "The portal could not read this request.",
    "Go back, check what you entered, and try again.",
)
UNKNOWN_HOST = Explanation(
    400,
    "Unknown address",
    "The portal does not answer to the host name in your browser’s address bar.",
    "Open it by the address that you were given. Whoever runs the portal can allow further names.",
)
NOT_ALLOWED = Explanation(
    403,
    "Not allowed",
    "Your account may not do this.",
    "Log in with another account, or ask an admin of the portal.",
)
FORM_EXPIRED = Explanation(
    403,
    "The form has expired",
    "The portal could not verify that this form came from one of its own pages. Nothing was changed.",
    "Go back, reload the page, and send the form again. Your browser must accept cookies.",
)
NOT_FOUND = Explanation(
    404,
    "Not found",
    "This page does not exist, or you may not see it.",
    "Check the address, or look for what you need from the list of devices.",
)
TOO_SLOW = Explanation(
    408,
    "Too slow",
    "What you sent did not arrive whole in time.",
    "Check your connection, and send it again.",
)
TOO_LARGE = Explanation(
    413, "Too large", "The portal does not accept that much at once.", "Send it in smaller parts."
)
TOO_MANY_ATTEMPTS = Explanation(
    429, "Too many attempts", "You have tried too often.", "Wait a few minutes, then try again."
)
TOO_MUCH_AT_ONCE = Explanation(
    429, "Too much at once", "You have asked for too much at the same time.", "Wait a moment, and try again."
)
ENOUGH = Explanation(
    409,
    "Enough",
    "You have as many of these as you may have.",
    "Delete what you no longer need, or ask whoever runs the portal for more. Nothing was changed.",
)
SERVER_ERROR = Explanation(
    500,
    "Something went wrong",
    "This is a fault of the portal, not yours. It has been logged.",
    "Try again. If it stays, report the request id below.",
)
UNAVAILABLE = Explanation(
    503,
    "Temporarily unavailable",
    "The portal cannot answer at the moment. Nothing was changed.",
    "Wait a moment, and reload the page.",
)
EXPLANATIONS = {
    each.status: each
    for each in (BAD_REQUEST, NOT_ALLOWED, NOT_FOUND, TOO_SLOW, TOO_LARGE, SERVER_ERROR, UNAVAILABLE)
}


def error_response(
    request: HttpRequest, explanation: Explanation, detail: str, happened: str = ""
) -> HttpResponse:
    """The error as a page for a browser, else as a problem with this detail."""
    status = explanation.status
    if not wants_page(request.path_info, request.headers):
        return problem(status, detail)
    return HttpResponse(error_page(explanation, happened), status=status)


def error_page(explanation: Explanation, happened: str = "") -> str:
    """Render the page without the request: it needs no session, no database and no context processor."""
    context = {
        "status": explanation.status,
        "title": explanation.title,
        "happened": happened or explanation.happened,
        "advice": explanation.advice,
        "request_id": current_request_id.get(),
        "is_demo": settings.DEMO,
        "reached_from": reached_from() if settings.DEMO else "",
    }
    return render_to_string("error.html", context)


def wants_page(path: str, headers: Mapping[str, str]) -> bool:
    """Tell whether the sender of a request is a browser that shows its answer to a person.

    Routes of the API always answer JSON: some programs send a browser's Accept header (Java's, for example).
    """
    if is_api(path) or "authorization" in headers or headers.get("content-type", "").startswith(JSON):
        return False
    accept = headers.get("accept", "")
    html, json = quality(accept, HTML), quality(accept, JSON)
    return html >= json if html or json else path.startswith(PAGES)


def is_api(path: str) -> bool:
    """Tell whether the path is that of an API view, with or without its trailing slash."""
    if path.startswith(PAGES) or path in API_DOCS:
        return False
    for each in (path, path[:-1] if path.endswith("/") else f"{path}/"):
        try:
            return hasattr(resolve(each).func, "cls")
        except Resolver404:
            continue
    return False


def quality(accept: str, media_type: str) -> float:
    """Quality of a media type that an Accept header names, else 0; ranges such as */* do not count."""
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        if name == media_type:
            return max((weight(piece) for piece in parameters if piece.startswith("q=")), default=1.0)
    return 0.0


def weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
