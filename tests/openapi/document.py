"""The OpenAPI document as a judge of real answers, and of its own examples."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from django.test import Client
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from requests import Response

METHODS = {"get", "post", "put", "patch", "delete"}
PROBLEM = "application/problem+json"
URN = "urn:document"
# There are no rates without Redis and for a request that fails before it is counted.
MAY_BE_ABSENT = {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}


class Operation(NamedTuple):
    path: str
    method: str
    body: dict[str, Any]

    @property
    def id(self) -> str:
        return self.body["operationId"]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@cache
def document() -> dict[str, Any]:
    response = Client().get("/schema/")
    assert response.status_code == 200
    return response.json()


@cache
def operations() -> dict[str, Operation]:
    """All operations by their ids."""
    found = [
        Operation(path, method, body)
        for path, item in document()["paths"].items()
        for method, body in item.items()
        if method in METHODS
    ]
    return {operation.id: operation for operation in found}


def strict(schema: Any) -> Any:
    """The schema with objects of no other keys than it names, and with references to the document."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: strict(part) for name, part in schema.items()}
    if "$ref" in schema:
        copy["$ref"] = f"{URN}{schema['$ref']}"
    if schema.get("type") == "object" and "properties" in schema:
        copy.setdefault("additionalProperties", False)
    return copy


@cache
def registry() -> Registry:
    contents = {"components": {"schemas": strict(document()["components"]["schemas"])}}
    return Registry().with_resource(URN, Resource.from_contents(contents, DRAFT202012))


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """What the schema finds wrong with the value; undocumented keys, too."""
    validator = Draft202012Validator(strict(schema), registry=registry(), format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


def contents(operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each documented content of the operation: of its body, and of its answers by status."""
    for kind, media in operation.body.get("requestBody", {}).get("content", {}).items():
        yield f"body {kind}", media
    for status, answer in operation.body["responses"].items():
        for kind, media in answer.get("content", {}).items():
            yield f"{status} {kind}", media


def examples(media: dict[str, Any]) -> list[Any]:
    named = [example["value"] for example in media.get("examples", {}).values()]
    return [*named, *([media["example"]] if "example" in media else [])]


def assert_documented(operation: Operation, response: Response) -> None:
    """Status, media type, headers and body are those that the document promises."""
    place = f"{operation} {response.status_code} {response.text[:300]}"
    answer = operation.body["responses"].get(str(response.status_code))
    assert answer, place
    promised = answer["headers"].keys() - MAY_BE_ABSENT
    assert [name for name in promised if name not in response.headers] == [], place
    content = answer.get("content", {})
    if not content:
        assert response.content == b"", place
        return
    kind = response.headers["Content-Type"].partition(";")[0]
    assert kind in content, place
    if kind != "text/csv":
        assert faults(content[kind]["schema"], response.json()) == [], place


def fill(path: str, ids: dict[str, Any]) -> str:
    return re.sub(r"{(\w+)}", lambda match: str(ids[match[1]]), path)
