"""The OpenAPI document: adds to every operation what all have in common, above all the errors."""

from copy import deepcopy
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from config.problems import problem_body
from devices.authentication import PostsReadings

ERRORS = {
    "400": "Bad input; `errors` names each field or index.",
    "401": "No valid credentials.",
    "403": "The credentials are valid but do not allow this.",
    "404": "It does not exist, or you may not see it.",
    "409": "The Idempotency-Key was used for another request.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "Too many requests within a minute; see `Retry-After`.",
    "503": "The database does not answer; see `Retry-After`.",
}
PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "field": {"type": "string"},
                    "index": {"type": "integer"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


# Carries a view's text from get_operation to add_errors, which removes it.
CONFLICTS = "x-conflicts"
UUID_EXAMPLE = "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10"
STATES = {
    "type": "object",
    "additionalProperties": {"type": "string", "enum": ["ok", "not ready", "away"]},
    "example": {"database": "ok", "broker": "away", "cache": "away"},
}
PROBES = {
    "/healthz": {
        "operationId": "healthz",
        "summary": "Check readiness",
        "description": "204 if readings can be stored: the database answers, can be written to, and has all "
        "migrations; else 503. The broker and the cache do not matter.",
        "tags": ["probes"],
        "security": [],
        "responses": {"204": {"description": "Ready."}},
    },
    "/livez": {
        "operationId": "livez",
        "summary": "Check liveness",
        "description": "204 while the process works, whatever else is away.",
        "parameters": [
            {
                "name": "details",
                "in": "query",
                "allowEmptyValue": True,
                "schema": {"type": "string"},
                "description": "Answer 200 with the state of database, broker and cache.",
            }
        ],
        "tags": ["probes"],
        "security": [],
        "responses": {
            "200": {
                "description": "Alive, with details.",
                "content": {"application/json": {"schema": STATES, "example": STATES["example"]}},
            },
            "204": {"description": "Alive."},
        },
    },
}


class PlumblineSchema(AutoSchema):
    """Takes the first line of a handler's docstring as the summary and the rest as the description."""

    def get_auth(self) -> list[dict]:
        """Offer device keys only where readings are posted."""
        schemes = super().get_auth()
        if PostsReadings in self.view.permission_classes:
            return schemes
        return [scheme for scheme in schemes if "device" not in scheme]

    def get_operation(self, *arguments: Any) -> dict | None:
        """Pass a view's `conflicts`, the description of its 409 by method, on to `add_errors`."""
        operation = super().get_operation(*arguments)
        conflict = getattr(self.view, "conflicts", {}).get(self.method)
        if operation is not None and conflict:
            operation[CONFLICTS] = conflict
        return operation

    def get_summary(self) -> str | None:
        return super().get_summary() or super().get_description().split("\n", 1)[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular overrides it
        return super().get_description().partition("\n")[2].strip()


def complete(result: dict, **_: object) -> dict:
    """Postprocess the document (a hook of drf-spectacular): add errors, path examples and the probes."""
    result["components"]["schemas"]["Problem"] = PROBLEM
    result["paths"] |= {path: {"get": deepcopy(operation)} for path, operation in PROBES.items()}
    for path, item in result["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["example"] = path_example(parameter)
            add_errors(operation, has_id="{" in path)
    return result


def path_example(parameter: dict) -> str | int:
    if parameter["schema"]["type"] == "integer":
        return 7
    if parameter["schema"].get("format") == "uuid":
        return UUID_EXAMPLE
    return "pump" if parameter["name"] == "name" else "pld_77c1e0ab"


def add_errors(operation: dict, *, has_id: bool) -> None:
    conflict = operation.pop(CONFLICTS, "")
    absent = set() if has_id else {"404"}
    if "requestBody" not in operation:
        absent |= {"413", "415"}
    if not any("device" in scheme for scheme in operation["security"]):
        absent |= {"429"} if conflict else {"409", "429"}
    if not operation["security"]:
        absent |= {"401", "403"} if "parameters" in operation else {"400", "401", "403"}
        absent |= {"503"} if operation["operationId"] == "livez" else set()
    for status, description in ERRORS.items():
        if status not in absent:
            described = conflict if conflict and status == "409" else description
            operation["responses"].setdefault(status, problem_schema(int(status), described))


def problem_schema(status: int, description: str) -> dict:
    errors = [{"field": "limit", "message": "Must be a whole number from 1 to 1000."}]
    example = problem_body(status, errors=errors if status == 400 else None)
    media = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": description, "content": {"application/problem+json": media}}


class TokenScheme(OpenApiAuthenticationExtension):
    target_class = "users.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, _: object) -> dict:
        return header_scheme("`Token` followed by a user's API token.")


class DeviceKeyScheme(OpenApiAuthenticationExtension):
    target_class = "devices.authentication.DeviceKeyAuthentication"
    name = "device"

    def get_security_definition(self, _: object) -> dict:
        return header_scheme(
            "`Device` followed by a device's key. It only allows posting the device's readings."
        )


class PageSessionScheme(OpenApiAuthenticationExtension):
    target_class = "users.authentication.PageSessionAuthentication"
    name = "session"

    def get_security_definition(self, _: object) -> dict:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": "sessionid",
            "description": "The session of the portal's own pages.",
        }


def header_scheme(description: str) -> dict:
    return {"type": "apiKey", "in": "header", "name": "Authorization", "description": description}
