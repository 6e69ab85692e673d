"""Errors of the API as problem details (RFC 9457)."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from devices.ingestion.asgi import current_request_id
from devices.ingestion.checks import InvalidItems
from devices.storage.interface import StorageUnavailable
from users.limits import LimitReached

# Raised while the portal's database, the activity database or the storage of readings is away.
AWAY_ERRORS = (OperationalError, InterfaceError, StorageUnavailable)
# SQLSTATE of a statement that ran into a bound of `config.asgi.statements`, and what to say of it.
QUERY_CANCELED, LOCK_NOT_AVAILABLE = "57014", "55P03"
CLICKHOUSE_ENDED_IT = "(TIMEOUT_EXCEEDED)"
BUSY_SECONDS = 5
PROBLEM_JSON = "application/problem+json"
FOREIGN_KEY_VIOLATION = "23503"


def problem_body(
    status: int, detail: str = "", errors: list[dict] | None = None, *, request_id: str = ""
) -> dict[str, Any]:
    """The members of a problem; `errors` is a list of {field or index, message}.

    `request_id`: by default that of the request which this thread or task answers.
    """
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail or ("The request has errors." if errors else HTTPStatus(status).description),
    }
    request_id = request_id or current_request_id.get()
    body |= {"request_id": request_id} if request_id else {}
    return body | {"errors": errors} if errors else body


def problem(status: int, detail: str = "", errors: list[dict] | None = None) -> JsonResponse:
    return JsonResponse(problem_body(status, detail, errors), status=status, content_type=PROBLEM_JSON)


def sql_state(error: BaseException) -> str | None:
    return getattr(error.__cause__, "pgcode", None)


def away_in_words(error: BaseException) -> str:
    """Why the database gave no answer."""
    if sql_state(error) == QUERY_CANCELED or CLICKHOUSE_ENDED_IT in str(error):
        return f"This took the database more than {settings.STATEMENT_SECONDS} s (STATEMENT_SECONDS)."
    if sql_state(error) == LOCK_NOT_AVAILABLE:
        return f"Other work held for more than {settings.LOCK_SECONDS} s what this needs (LOCK_SECONDS)."
    return "The database does not answer."


def retry_after(error: BaseException) -> int:
    """Seconds. A database that is away may be back at once, one that is busy hardly."""
    return BUSY_SECONDS if sql_state(error) in (QUERY_CANCELED, LOCK_NOT_AVAILABLE) else 1


def database_is_away(error: Exception) -> HttpResponse:
    response = problem(503, f"{away_in_words(error)} Try again.")
    response["Retry-After"] = str(retry_after(error))
    return response


def problem_of_limit(error: LimitReached) -> HttpResponse:
    response = problem(error.status, str(error))
    if error.wait:
        response["Retry-After"] = str(error.wait)
    return response


def is_reference_deleted(error: IntegrityError) -> bool:
    """Return True if another request has just deleted a row that this one refers to."""
    return sql_state(error) == FOREIGN_KEY_VIOLATION


def known_problem(error: Exception) -> HttpResponse | None:
    """The answer to an exception that is none of REST framework's; None for an unknown one."""
    if isinstance(error, AWAY_ERRORS):
        return database_is_away(error)
    if isinstance(error, LimitReached):
        return problem_of_limit(error)
    if isinstance(error, RequestDataTooBig):
        return problem(413, "The body is too large.")
    if isinstance(error, IntegrityError) and is_reference_deleted(error):
        return problem(409, "A row that this request refers to has just been changed or deleted. Try again.")
    return None


def problem_response(error: Exception, context: dict) -> HttpResponse | None:
    """Handle exceptions for REST framework. None for an unknown one, which Django answers with 500."""
    known = known_problem(error)
    if known is not None:
        return known
    if isinstance(error, InvalidItems):
        return Response(problem_body(400, errors=error.errors), 400, content_type=PROBLEM_JSON)
    response = exception_handler(error, context)
    if response is None:
        return None
    detail, errors = "", None
    if isinstance(error, exceptions.ValidationError):
        errors = list(flat_errors(error.detail))
    elif isinstance(response.data, dict):
        detail = str(response.data.get("detail", ""))
    response.data = problem_body(response.status_code, detail, errors)
    response.content_type = PROBLEM_JSON
    return response


def flat_errors(detail: Any, path: str = "") -> Iterator[dict]:
    """Flatten nested validation errors to {field, message}."""
    if isinstance(detail, dict):
        for key, inner in detail.items():
            yield from flat_errors(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(detail, list):
        for position, inner in enumerate(detail):
            nested = isinstance(inner, dict) and path
            yield from flat_errors(inner, f"{path}.{position}" if nested else path)
    else:
        yield {"field": path or "body", "message": str(detail)}
