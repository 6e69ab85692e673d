"""The start page, and the views of errors."""

import sys
from collections.abc import Callable

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from config import error_pages
from config.error_pages import Explanation, error_response
from config.problems import AWAY_ERRORS, DATABASE_IS_AWAY


@login_not_required
def start(_: HttpRequest) -> HttpResponse:
    return redirect("devices:device-list")


def error_view(explanation: Explanation, detail: str) -> Callable[..., HttpResponse]:
    """Make a view that shows an error as a page to people and as problem details to programs."""

    def view(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
        if isinstance(sys.exc_info()[1], AWAY_ERRORS):
            return database_is_away(request)
        if isinstance(exception, DisallowedHost):
            return error_response(request, error_pages.UNKNOWN_HOST, "Invalid Host header.")
        return error_response(request, explanation, detail)

    return view


def database_is_away(request: HttpRequest) -> HttpResponse:
    happened = "The database does not answer. What you sent last may not have been stored."
    response = error_response(request, error_pages.UNAVAILABLE, DATABASE_IS_AWAY, happened)
    response["Retry-After"] = "1"
    return response


bad_request = error_view(error_pages.BAD_REQUEST, "The request is not valid.")
forbidden = error_view(error_pages.NOT_ALLOWED, "You do not have permission to do this.")
not_found = error_view(error_pages.NOT_FOUND, "This page does not exist, or you may not see it.")
server_error = error_view(error_pages.SERVER_ERROR, "Something went wrong. The error was logged.")


def too_many_requests(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    detail = "You have tried too often. Wait a few minutes, then try again."
    response = error_response(request, error_pages.TOO_MANY_ATTEMPTS, detail)
    response["Retry-After"] = "60"
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return error_response(request, error_pages.FORM_EXPIRED, "The CSRF token is missing or wrong.")
