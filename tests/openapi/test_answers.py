"""Real answers of every operation, of every documented status, match the OpenAPI document."""

import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.openapi.document import Operation, assert_documented, document, fill, operations
from tests.openapi.world import (
    ASKING_FOR_A_RUN,
    CONFLICTS,
    GOOD,
    UNKNOWN,
    Call,
    World,
    busy_person,
    tidy,
)
from tests.support.portal import Portal

GOOD_OF = {operation_id: make for (operation_id, _, _), make in GOOD.items()}
# More than a body may have.
LARGE = b" " * (5 * 1024 * 1024 + 1)
# A process refuses a credential after so many attempts, and there are two processes.
ATTEMPTS = 60


@pytest.fixture(scope="module")
def world(portal: Portal) -> Iterator[World]:
    world = World(portal)
    yield world
    tidy(world)


def takes_readings(operation: Operation) -> bool:
    return {"device": []} in operation.body["security"]


def having(status: str) -> list[Any]:
    found = [operation for operation in operations().values() if status in operation.body["responses"]]
    return [pytest.param(operation, id=str(operation)) for operation in found]


def send(world: World, operation: Operation, call: Call, **options: Any) -> requests.Response:
    if not options.keys() & {"token", "device_key"}:
        token = call.token or world.portal.admin_token
        options |= {"device_key": call.device_key} if call.device_key else {"token": token}
    options["headers"] = call.headers | options.get("headers", {})
    options.setdefault("params", call.query)
    options |= {"json": call.body} if call.body is not None and "data" not in options else {}
    return world.portal.request(operation.method.upper(), fill(operation.path, call.ids), **options)


def assert_answered(operation: Operation, response: requests.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert_documented(operation, response)
    if status >= 400:
        assert response.json()["request_id"] == response.headers["X-Request-ID"]


def test_a_good_request_is_known_for_each_success() -> None:
    documented = set()
    for operation in operations().values():
        for status, answer in operation.body["responses"].items():
            kinds = list(answer.get("content", {}))
            names = kinds if len(kinds) > 1 else [""]
            documented |= {(operation.id, status, kind) for kind in names if status < "300"}
    assert documented == set(GOOD)


@pytest.mark.parametrize(("operation_id", "status", "kind"), GOOD)
def test_success(world: World, operation_id: str, status: str, kind: str) -> None:
    operation = operations()[operation_id]
    response = send(world, operation, GOOD[operation_id, status, kind](world))
    assert_answered(operation, response, int(status))
    assert kind in response.headers.get("Content-Type", "")


def test_a_result_of_one_device(world: World) -> None:
    for task_id in (world.analysis, world.waiting_task()):
        operation = operations()["task_read"]
        assert_answered(operation, send(world, operation, Call({"id": task_id})), 200)


def test_statistics_without_readings(world: World) -> None:
    empty = world.portal.new_device(world.owner)
    path = f"/devices/{empty.id}/analytics/"
    task_id = world.portal.ask(path, world.owner.token, end="2020-01-01", bucket="month")
    world.portal.wait_for_task(task_id, world.owner.token)
    for operation_id, ids in (
        ("task_read", {"id": task_id}),
        ("device_series", {"uuid": empty.id}),
        ("device_read", {"uuid": empty.id}),
        ("sensor_statistics", {"sensor": "nobody"}),
    ):
        operation = operations()[operation_id]
        assert_answered(operation, send(world, operation, Call(ids)), 200)


@pytest.mark.parametrize("operation", having("400"))
def test_400(world: World, operation: Operation) -> None:
    response = send(world, operation, GOOD_OF[operation.id](world), params={"nonsense": "1"})
    assert_answered(operation, response, 400)
    assert [error["field"] for error in response.json()["errors"]] == ["nonsense"]


@pytest.mark.parametrize("operation_id", ["reading_create", "reading_batch_create", "sensor_data_create"])
def test_400_of_readings(world: World, operation_id: str) -> None:
    operation = operations()[operation_id]
    call = GOOD_OF[operation_id](world)
    bad = {"x": "1"} if operation_id == "reading_create" else [{"x": "1"}]
    response = send(world, operation, call._replace(body=bad))
    assert_answered(operation, response, 400)
    assert response.json()["errors"]


@pytest.mark.parametrize("operation", having("401"))
def test_401(world: World, operation: Operation) -> None:
    response = send(world, operation, GOOD_OF[operation.id](world), token=f"plt_{secrets.token_hex(4)}.wrong")
    assert_answered(operation, response, 401)
    assert response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("operation", having("403"))
def test_403(world: World, operation: Operation) -> None:
    scope = "read" if {"device": []} in operation.body["security"] else "ingest"
    token = world.portal.new_token(world.owner.id, scopes=[scope])
    assert_answered(operation, send(world, operation, GOOD_OF[operation.id](world), token=token), 403)


@pytest.mark.parametrize("operation", having("404"))
def test_404(world: World, operation: Operation) -> None:
    call = GOOD_OF[operation.id](world)._replace(ids=UNKNOWN, device_key=None)
    if not call.ids.keys() & set(re.findall(r"{(\w+)}", operation.path)):
        call = call._replace(body={"user_id": UNKNOWN["id"]})
    assert_answered(operation, send(world, operation, call), 404)


@pytest.mark.parametrize("operation", having("409"))
def test_409(world: World, operation: Operation) -> None:
    assert_answered(operation, send(world, operation, CONFLICTS[operation.id](world)), 409)


@pytest.mark.parametrize("operation", having("413"))
def test_413(world: World, operation: Operation) -> None:
    call, headers = GOOD_OF[operation.id](world), {"Content-Type": "application/json"}
    assert_answered(operation, send(world, operation, call, data=LARGE, headers=headers), 413)


@pytest.mark.parametrize("operation", having("415"))
def test_415(world: World, operation: Operation) -> None:
    call, headers = GOOD_OF[operation.id](world), {"Content-Type": "text/plain"}
    assert_answered(operation, send(world, operation, call, data=b"x", headers=headers), 415)


@pytest.mark.parametrize("operation", [each for each in having("429") if takes_readings(each.values[0])])
def test_429_of_a_wrong_credential(world: World, operation: Operation) -> None:
    call, token = GOOD_OF[operation.id](world), f"plt_{secrets.token_hex(4)}.wrong"
    answers = (send(world, operation, call, token=token) for _ in range(ATTEMPTS))
    response = next(answer for answer in answers if answer.status_code != 401)
    assert_answered(operation, response, 429)


@pytest.mark.parametrize("operation_id", ASKING_FOR_A_RUN)
def test_429_of_too_many_open_runs(world: World, operation_id: str) -> None:
    operation = operations()[operation_id]
    assert_answered(operation, send(world, operation, busy_person(world, operation_id)), 429)


def test_429_of_too_many_reads_is_documented() -> None:
    """tests/limits/test_reads.py has a real one."""
    reads = [each for each in operations().values() if each.method == "get" and each.body["security"]]
    assert len(reads) > 20
    assert all("being answered" in each.body["responses"]["429"]["description"] for each in reads)


class TestWithoutDatabase:
    """The last test of this module: it stops the database."""

    @pytest.fixture(scope="class")
    def calls(self, world: World) -> Iterator[dict[str, Call]]:
        made = {operation_id: make(world) for operation_id, make in GOOD_OF.items()}
        world.portal.kill("postgres")
        yield made
        world.portal.start_all()

    @pytest.mark.parametrize("operation", having("503"))
    def test_503(self, world: World, calls: dict[str, Call], operation: Operation) -> None:
        assert_answered(operation, send(world, operation, calls[operation.id]), 503)


def test_the_portal_serves_the_document_that_these_tests_read(world: World) -> None:
    response = world.portal.request("GET", "/schema/")
    served = response.json()
    assert served["paths"] == document()["paths"]
    assert served["components"]["schemas"].keys() == document()["components"]["schemas"].keys()
