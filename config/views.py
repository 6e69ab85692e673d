"""The start page, and error pages."""

import sys
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string

from config.problems import AWAY_ERRORS, DATABASE_IS_AWAY, problem

PAGES = ("/portal/", "/admin/")


@login_not_required
def start(_: HttpRequest) -> HttpResponse:
    return redirect("devices:device-list")


def error_view(status: int, title: str, detail: str) -> Callable[..., HttpResponse]:
    """Make a view that shows an error as a page to people and as problem details to programs."""

    def view(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
        if isinstance(sys.exc_info()[1], AWAY_ERRORS):
            return database_is_away(request)
        return render_problem(request, status, title, detail)

    return view


def database_is_away(request: HttpRequest) -> HttpResponse:
    return unavailable(request, DATABASE_IS_AWAY)


def attempts_are_uncounted(request: HttpRequest) -> HttpResponse:
    return unavailable(request, "Attempts cannot be counted now, so none is accepted. Try again.")


def unavailable(request: HttpRequest, detail: str) -> HttpResponse:
    response = render_problem(request, 503, "Temporarily unavailable", detail)
    response["Retry-After"] = "1"
    return response


def render_problem(request: HttpRequest, status: int, title: str, detail: str) -> HttpResponse:
    if not request.path.startswith(PAGES):
        return problem(status, detail)
    return HttpResponse(error_page(title, detail), status=status)


def error_page(title: str, detail: str) -> str:
    """Render the page without the request: it needs no session and no database."""
    return render_to_string("error.html", {"title": title, "detail": detail, "is_demo": settings.DEMO})


bad_request = error_view(400, "Bad request", "The request is not valid.")
forbidden = error_view(403, "Not allowed", "You do not have permission to do this.")
not_found = error_view(404, "Not found", "This page does not exist, or you may not see it.")
too_many_requests = error_view(
    429, "Too many attempts", "You have tried too often. Wait a few minutes, then try again."
)
server_error = error_view(500, "Server error", "Something went wrong. The error was logged.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render_problem(
        request, 403, "Not allowed", "The form has expired. Go back, reload the page and try again."
    )
