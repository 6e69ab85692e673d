"""The start page, the views of errors, and where to report a weakness."""

import sys
from collections.abc import Callable
from datetime import UTC, timedelta

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET

from config import error_pages
from config.error_pages import Explanation, error_response
from config.problems import AWAY_ERRORS, away_in_words, problem_of_limit, retry_after
from users.limits import LimitReached

SECURITY_TXT_AGE = timedelta(days=90)


@login_not_required
def start(_: HttpRequest) -> HttpResponse:
    return redirect("devices:device-list")


def error_view(explanation: Explanation, detail: str) -> Callable[..., HttpResponse]:
    """Make a view that shows an error as a page to people and as problem details to programs."""

    def view(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
        error = sys.exc_info()[1]
        if isinstance(error, AWAY_ERRORS):
            return database_is_away(request, error)
        if isinstance(error, UnreadablePostError):
            return error_response(request, error_pages.TOO_SLOW, "The body did not arrive whole in time.")
        if isinstance(exception, DisallowedHost):
            return error_response(request, error_pages.UNKNOWN_HOST, "Invalid Host header.")
        return error_response(request, explanation, detail)

    return view


def database_is_away(request: HttpRequest, error: BaseException) -> HttpResponse:
    happened = f"{away_in_words(error)} What you sent last may not have been stored."
    detail = f"{away_in_words(error)} Try again."
    response = error_response(request, error_pages.UNAVAILABLE, detail, happened)
    response["Retry-After"] = str(retry_after(error))
    return response


def limit_reached(request: HttpRequest, error: LimitReached) -> HttpResponse:
    """A bound as a page for a browser, else as a problem; without an account's page to show it on."""
    explanation = error_pages.TOO_MUCH_AT_ONCE if error.wait else error_pages.ENOUGH
    if not error_pages.wants_page(request.path_info, request.headers):
        return problem_of_limit(error)
    response = error_response(request, explanation, str(error), str(error))
    if error.wait:
        response["Retry-After"] = str(error.wait)
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


@require_GET
@login_not_required
def security_txt(request: HttpRequest) -> HttpResponse:
    """Say where to report a weakness (RFC 9116); without a contact there is no such file."""
    if not settings.SECURITY_CONTACT:
        raise Http404
    # It must say until when it counts: it is made anew at each request.
    expires = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0) + SECURITY_TXT_AGE
    lines = [
        *(f"Contact: {contact}" for contact in settings.SECURITY_CONTACT),
        f"Expires: {expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: en",
        f"Canonical: {request.build_absolute_uri(request.path)}",
    ]
    return HttpResponse("\n".join([*lines, ""]), content_type="text/plain; charset=utf-8")
