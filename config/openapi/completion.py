"""Completes the OpenAPI document: adds what all operations have in common, above all headers and errors."""

from copy import deepcopy

from config.openapi.components import COMPONENTS
from config.openapi.operations import CONFLICTS, TAGS, TOO_MANY
from config.problems import problem_body
from users.serializers import ANY_TEXT, FILLED_TEXT

ERRORS = {
    "400": "Bad input; `errors` names each field or index.",
    "401": "No valid credentials.",
    "403": "The credentials are valid but do not allow this.",
    "404": "It does not exist, or you may not see it.",
    "409": "The Idempotency-Key was used for another request.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "Too many requests within a minute; see `Retry-After`.",
    "503": "The database does not answer, or not in time; see `Retry-After`.",
}
TOO_MANY_READS = "Too many of your requests are being answered; see `Retry-After`."
# A sensor that is unknown has no readings.
NEVER_404 = ("/statistics/{sensor}",)
# Its body names a user, who may not exist.
NAMES_ROW = ("device_create",)
# Components of bodies that no serializer describes; drf-spectacular names the others `…Request`.
REQUEST_COMPONENTS = ("SensorReading", "Event")
SLUG = {"pattern": "^[-a-zA-Z0-9_]+$"}
PATH_BOUNDS: dict[str, dict] = {"id": {}, "prefix": SLUG, "name": SLUG}
UUID_EXAMPLE = "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10"
REQUEST_ID_EXAMPLE = "5157213a55-186a1"
HEADERS = {
    "X-Request-ID": {
        "schema": {"type": "string"},
        "example": REQUEST_ID_EXAMPLE,
        "description": "The request's own `X-Request-ID` if that is 1 to 64 letters, digits and `._:-`, else "
        "a new one. It is also in the portal's log.",
    },
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before another request."},
    "Link": {
        "schema": {"type": "string"},
        "description": "The pages around this one (RFC 8288): `first`, `prev`, `next`, `last` where known.",
    },
}
STATES = {
    "type": "object",
    "required": ["database", "broker", "cache"],
    "properties": {
        name: {"type": "string", "enum": ["ok", "not ready", "away"]}
        for name in ("database", "broker", "cache")
    },
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


def complete(result: dict, **_: object) -> dict:
    """Postprocess the document (a hook of drf-spectacular): components, tags, errors, headers, the probes."""
    result["components"]["schemas"] |= deepcopy(COMPONENTS)
    result["components"]["headers"] = deepcopy(HEADERS)
    close_request_bodies(result["components"]["schemas"])
    result["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    result["paths"] |= {path: {"get": deepcopy(operation)} for path, operation in PROBES.items()}
    for path, item in result["paths"].items():
        for method, operation in item.items():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["schema"] |= PATH_BOUNDS.get(parameter["name"], {})
                    parameter["example"] = path_example(parameter)
            require_body(operation, result["components"]["schemas"])
            names_row = "{" in path or operation["operationId"] in NAMES_ROW
            add_errors(operation, is_read=method == "get", has_id=names_row and path not in NEVER_404)
            add_headers(operation)
    return result


def close_request_bodies(schemas: dict) -> None:
    """Say that bodies have no other keys than those described, and what their texts may contain."""
    for name, component in schemas.items():
        if (name.endswith("Request") or name in REQUEST_COMPONENTS) and "properties" in component:
            component.setdefault("additionalProperties", False)
            component["properties"] = {
                name: closed_text(schema) for name, schema in component["properties"].items()
            }


def closed_text(schema: dict) -> dict:
    """A text without another bound has no NUL and, if it must not be empty, more than white space."""
    if "string" not in schema.get("type", "") or schema.keys() & {"const", "enum", "format", "pattern"}:
        return schema
    return schema | {"pattern": FILLED_TEXT if schema.get("minLength") else ANY_TEXT["pattern"]}


def require_body(operation: dict, schemas: dict) -> None:
    """Require a body that has one of several forms; drf-spectacular looks for required fields only."""
    for media in operation.get("requestBody", {}).get("content", {}).values():
        if "oneOf" in schemas.get(media["schema"].get("$ref", "").rpartition("/")[2], {}):
            operation["requestBody"]["required"] = True


def path_example(parameter: dict) -> str | int:
    if parameter["schema"]["type"] == "integer":
        return 7
    if parameter["schema"].get("format") == "uuid":
        return UUID_EXAMPLE
    return "pump" if parameter["name"] == "name" else "pld_77c1e0ab"


def add_errors(operation: dict, *, is_read: bool, has_id: bool) -> None:
    conflict, too_many = operation.pop(CONFLICTS, ""), operation.pop(TOO_MANY, "")
    if is_read and operation["security"]:
        too_many = f"{too_many} {TOO_MANY_READS}".strip()
    absent = set() if has_id else {"404"}
    if "requestBody" not in operation:
        absent |= {"413", "415"}
    if not any("device" in scheme for scheme in operation["security"]):
        absent |= {status for status, text in (("409", conflict), ("429", too_many)) if not text}
    if not operation["security"]:
        absent |= {"401", "403"} if "parameters" in operation else {"400", "401", "403"}
        absent |= {"503"} if operation["operationId"] == "livez" else set()
    for status, description in ERRORS.items():
        if status not in absent:
            own = {"409": conflict, "429": too_many}.get(status)
            operation["responses"].setdefault(status, problem_schema(int(status), own or description))


def problem_schema(status: int, description: str) -> dict:
    errors = [{"field": "limit", "message": "Must be a whole number from 1 to 1000."}]
    example = problem_body(status, errors=errors if status == 400 else None, request_id=REQUEST_ID_EXAMPLE)
    media = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    return {"description": description, "content": {"application/problem+json": media}}


def add_headers(operation: dict) -> None:
    for status, answer in operation["responses"].items():
        names = ["X-Request-ID"]
        names += ["Retry-After"] if status in ("429", "503") else []
        json = answer.get("content", {}).get("application/json", {}).get("schema", {})
        names += ["Link"] if json.get("type") == "array" else []
        headers = answer.setdefault("headers", {})
        headers |= {name: {"$ref": f"#/components/headers/{name}"} for name in names}
