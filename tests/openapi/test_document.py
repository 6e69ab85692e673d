"""The OpenAPI document is complete: every route, method, parameter, error, header and example."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView
from openapi_spec_validator import OpenAPIV31SpecValidator

from config.middleware.query_parameters import RefuseUnknownQuery
from tests.openapi.document import (
    METHODS,
    PROBLEM,
    Operation,
    contents,
    document,
    examples,
    faults,
    operations,
)

PROBES = ("/healthz", "/livez")
DOCUMENTATION = (SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerView)
# It is never 404: one that is unknown has no readings.
OF_ANY_SENSOR = "/statistics/{sensor}"


def routes(patterns: Iterable, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    """Yield the path of every route, with `{}` for parameters, and its view."""
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, path)
        else:
            yield re.sub(r"<[^>]+>", "{}", path), pattern.callback


@cache
def api_views() -> dict[str, Any]:
    """The product's own API views by path."""
    return {
        path: view
        for path, view in routes(get_resolver().url_patterns)
        if hasattr(view, "cls") and not issubclass(view.cls, DOCUMENTATION)
    }


def unnamed(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


def parameters(operation: Operation, place: str) -> list[dict[str, Any]]:
    return [parameter for parameter in operation.body.get("parameters", ()) if parameter["in"] == place]


def test_it_is_valid_openapi_3_1():
    assert document()["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document()).iter_errors()) == []


def test_generator_gives_no_warning(tmp_path):
    file = tmp_path / "schema.json"
    call_command("spectacular", "--validate", "--fail-on-warn", "--format=openapi-json", f"--file={file}")
    assert file.stat().st_size > 10_000


def test_every_api_route_is_documented_and_nothing_else():
    assert {unnamed(path) for path in document()["paths"]} == {*api_views(), *PROBES}


def test_every_method_of_a_route_is_documented_and_no_other():
    for path, view in api_views().items():
        documented = {
            operation.method for operation in operations().values() if unnamed(operation.path) == path
        }
        allowed = {name.lower() for name in view.cls().allowed_methods}
        assert documented == allowed & METHODS, path


def test_operation_ids_differ():
    count = sum(len(METHODS & item.keys()) for item in document()["paths"].values())
    assert len(operations()) == count


def test_each_tag_is_used_and_has_a_sentence():
    described = {tag["name"]: tag["description"] for tag in document()["tags"]}
    assert {tag for operation in operations().values() for tag in operation.body["tags"]} == set(described)
    assert all(re.fullmatch(r"[A-Z][^\n]{20,120}\.", text) for text in described.values())


def test_schemes_say_how_to_get_a_credential_and_what_it_allows():
    schemes = document()["components"]["securitySchemes"]
    token, device = schemes["token"]["description"], schemes["device"]["description"]
    for words in ("POST /users/{id}/tokens/", "create_token", "`read`", "`write`", "`ingest`", "expires_at"):
        assert words in token
    for words in ("POST /devices/{id}/keys/", "overlap_seconds", "Authorization: Device"):
        assert words in device


def test_a_wrong_example_would_be_found():
    reading = {"$ref": "#/components/schemas/ListedReading"}
    good = {
        "device_id": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10",
        "timestamp": "2026-11-21T09:31:00Z",
        "x": 1.0,
    }
    assert faults(reading, good) == []
    for wrong in ({"x": "1"}, {"device_id": 7}, {"timestamp": None}):
        assert faults(reading, good | wrong) != []
    receipt = {"$ref": "#/components/schemas/Receipt"}
    assert faults(receipt, {"accepted": 1, "rejected": []}) == []
    assert faults(receipt, {"accepted": 1, "rejected": [], "undocumented": 1}) != []


@pytest.mark.parametrize("operation", operations().values(), ids=str)
class TestOperation:
    def test_it_has_a_one_line_summary(self, operation):
        assert re.fullmatch(r"[A-Z].{3,80}[^.]", operation.body["summary"])

    def test_it_has_a_description_or_parameters(self, operation):
        assert operation.body.get("description") or operation.body.get("parameters")

    def test_each_content_has_an_example(self, operation):
        without = [place for place, media in contents(operation) if not examples(media)]
        assert [place for place in without if not place.endswith("text/csv")] == []

    def test_its_examples_match_their_schemas(self, operation):
        for place, media in contents(operation):
            for example in examples(media):
                assert faults(media["schema"], example) == [], place

    def test_its_answers_have_a_request_id(self, operation):
        for answer in operation.body["responses"].values():
            assert answer["headers"]["X-Request-ID"] == {"$ref": "#/components/headers/X-Request-ID"}

    def test_its_path_parameters_have_examples(self, operation):
        assert all("example" in parameter for parameter in parameters(operation, "path"))

    def test_its_errors_are_problem_details(self, operation):
        for code, answer in operation.body["responses"].items():
            if code >= "400":
                assert list(answer["content"]) == [PROBLEM]
                assert answer["content"][PROBLEM]["example"]["status"] == int(code)

    def test_it_lists_its_errors(self, operation):
        if operation.path in PROBES:
            return
        expected = {"503", "400", "401", "403"}
        has_id = parameters(operation, "path") and operation.path != OF_ANY_SENSOR
        has_id = has_id or operation.id == "device_create"
        expected |= {"404"} if has_id else set()
        expected |= {"413", "415"} if "requestBody" in operation.body else set()
        takes_readings = {"device": []} in operation.body["security"]
        expected |= {"409", "429"} if takes_readings else set()
        expected |= {"429"} if operation.method == "get" else set()
        view = api_views().get(unnamed(operation.path))
        expected |= {"409"} if operation.method.upper() in getattr(view.cls, "conflicts", {}) else set()
        expected |= {"429"} if operation.method.upper() in getattr(view.cls, "too_many", {}) else set()
        assert {code for code in operation.body["responses"] if code >= "400"} == expected

    def test_the_values_offered_for_a_parameter_are_of_its_type(self, operation):
        types = {"boolean": bool, "string": str, "integer": int}
        for parameter in operation.body.get("parameters", ()):
            values = parameter["schema"].get("enum", ())
            assert all(isinstance(value, types[parameter["schema"]["type"]]) for value in values), parameter

    def test_its_documented_query_parameters_are_those_that_are_allowed(self, operation):
        if operation.path in PROBES:
            return
        names = {query["name"] for other in operations().values() for query in parameters(other, "query")}
        view = api_views()[unnamed(operation.path)]
        allowed = {name for name in {*names, "nonsense"} if is_allowed(operation.method, view, name)}
        assert {query["name"] for query in parameters(operation, "query")} == allowed


def is_allowed(method: str, view: Any, name: str) -> bool:
    request = RequestFactory().generic(method.upper(), "/", QUERY_STRING=f"{name}=1")
    return RefuseUnknownQuery(lambda _: None).process_view(request, view, (), {}) is None


@pytest.mark.parametrize("query", ["version=%00", "version=%0d%0aX:y", "lang=%00", "version=1"])
def test_it_takes_no_parameters(query):
    answer = Client().get(f"/schema/?{query}")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [query.partition("=")[0]]
