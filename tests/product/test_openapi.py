import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from django.core.management import call_command
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver
from openapi_spec_validator import OpenAPIV31SpecValidator

from config.middleware.query_parameters import RefuseUnknownQuery

PROBES = ("/healthz", "/livez")
METHODS = {"get", "post", "put", "patch", "delete"}


class Operation(NamedTuple):
    path: str
    method: str
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@cache
def schema() -> dict[str, Any]:
    response = Client().get("/schema/")
    assert response.status_code == 200
    return response.json()


@cache
def operations() -> list[Operation]:
    return [
        Operation(path, method, body)
        for path, item in schema()["paths"].items()
        for method, body in item.items()
        if method in METHODS
    ]


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
        if hasattr(view, "cls") and not view.cls.__module__.startswith("drf_spectacular.")
    }


def unnamed(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


def parameters(operation: Operation, place: str) -> list[dict[str, Any]]:
    return [parameter for parameter in operation.body.get("parameters", ()) if parameter["in"] == place]


def test_it_is_valid_openapi_3_1():
    assert schema()["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(schema()).iter_errors()) == []


def test_generator_gives_no_warning(tmp_path):
    file = tmp_path / "schema.json"
    call_command("spectacular", "--validate", "--fail-on-warn", "--format=openapi-json", f"--file={file}")
    assert file.stat().st_size > 10_000


def test_every_api_route_is_documented_and_nothing_else():
    assert {unnamed(path) for path in schema()["paths"]} == {*api_views(), *PROBES}


def test_every_method_of_a_route_is_documented_and_no_other():
    for path, view in api_views().items():
        documented = {operation.method for operation in operations() if unnamed(operation.path) == path}
        allowed = {name.lower() for name in view.cls().allowed_methods}
        assert documented == allowed & METHODS, path


def test_operation_ids_differ():
    ids = [operation.body["operationId"] for operation in operations()]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("operation", operations(), ids=str)
class TestOperation:
    def test_it_has_a_one_line_summary(self, operation):
        assert re.fullmatch(r"[A-Z].{3,80}[^.]", operation.body["summary"])

    def test_it_has_a_description_or_parameters(self, operation):
        assert operation.body.get("description") or operation.body.get("parameters")

    def test_it_has_an_example(self, operation):
        contents = [operation.body.get("requestBody", {}), *operation.body["responses"].values()]
        media = [media for content in contents for media in content.get("content", {}).values()]
        parts = [*media, *operation.body.get("parameters", ())]
        assert any(part.get("examples") or "example" in part for part in parts)

    def test_its_path_parameters_have_examples(self, operation):
        assert all("example" in parameter for parameter in parameters(operation, "path"))

    def test_its_errors_are_problem_details(self, operation):
        for code, answer in operation.body["responses"].items():
            if code >= "400":
                assert list(answer["content"]) == ["application/problem+json"]
                assert answer["content"]["application/problem+json"]["example"]["status"] == int(code)

    def test_it_lists_its_errors(self, operation):
        if operation.path in PROBES:
            return
        expected = {"503", "400", "401", "403"}
        expected |= {"404"} if parameters(operation, "path") else set()
        expected |= {"413", "415"} if "requestBody" in operation.body else set()
        takes_readings = {"device": []} in operation.body["security"]
        expected |= {"409", "429"} if takes_readings else set()
        view = api_views().get(unnamed(operation.path))
        expected |= {"409"} if operation.method.upper() in getattr(view.cls, "conflicts", {}) else set()
        assert {code for code in operation.body["responses"] if code >= "400"} == expected

    def test_the_values_offered_for_a_parameter_are_of_its_type(self, operation):
        types = {"boolean": bool, "string": str, "integer": int}
        for parameter in operation.body.get("parameters", ()):
            values = parameter["schema"].get("enum", ())
            assert all(isinstance(value, types[parameter["schema"]["type"]]) for value in values), parameter

    def test_its_documented_query_parameters_are_those_that_are_allowed(self, operation):
        if operation.path in PROBES:
            return
        names = {query["name"] for other in operations() for query in parameters(other, "query")}
        view = api_views()[unnamed(operation.path)]
        allowed = {name for name in {*names, "nonsense"} if is_allowed(operation.method, view, name)}
        assert {query["name"] for query in parameters(operation, "query")} == allowed


def is_allowed(method: str, view: Any, name: str) -> bool:
    request = RequestFactory().generic(method.upper(), "/", QUERY_STRING=f"{name}=1")
    return RefuseUnknownQuery(lambda _: None).process_view(request, view, (), {}) is None
