"""Errors of the API as problem details (RFC 9457)."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import HttpResponse, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from devices.ingestion.asgi import current_request_id
from devices.ingestion.checks import InvalidItems
from devices.storage.interface import StorageUnavailable

# Raised while the portal's database, the activity database or the storage of readings is away.
AWAY_ERRORS = (OperationalError, InterfaceError, StorageUnavailable)
DATABASE_IS_AWAY = "The database does not answer. Try again."
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


def database_is_away() -> HttpResponse:
    response = problem(503, DATABASE_IS_AWAY)
    response["Retry-After"] = "1"
    return response


def is_reference_deleted(error: IntegrityError) -> bool:
    """Return True if another request has just deleted a row that this one refers to."""
    return getattr(error.__cause__, "pgcode", None) == FOREIGN_KEY_VIOLATION


def problem_response(error: Exception, context: dict) -> HttpResponse | None:
    """Handle exceptions for REST framework. None for an unknown one, which Django answers with 500."""
    if isinstance(error, AWAY_ERRORS):
        return database_is_away()
    if isinstance(error, RequestDataTooBig):
        return problem(413, "The body is too large.")
    if isinstance(error, InvalidItems):
        return Response(problem_body(400, errors=error.errors), 400, content_type=PROBLEM_JSON)
    if isinstance(error, IntegrityError) and is_reference_deleted(error):
        return problem(409, "A row that this request refers to has just been changed or deleted. Try again.")
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
