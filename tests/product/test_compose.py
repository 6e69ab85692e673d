"""docker-compose.yml: its schema, secrets, order of starts, ports and privileges."""

import copy
from typing import Any

import pytest

from tests.support.containers import (
    COMPOSE,
    COMPOSE_SECRETS,
    OURS,
    RAW_COMPOSE,
    SERVICES,
    STORES,
    MissingVariable,
    compose_errors,
    in_image,
    interpolated,
)


def test_compose_fits_its_schema() -> None:
    assert compose_errors(COMPOSE) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "web", "read-only"), True),
        (("services", "web", "depends_on", "migrate", "condition"), "service_finished"),
        (("services", "web", "healthcheck"), {"disabled": True}),
        (("volume",), {}),
    ],
)
def test_the_schema_refuses_a_misspelt_compose_file(path: tuple[str, ...], value: Any) -> None:
    broken = copy.deepcopy(COMPOSE)
    node = broken
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert compose_errors(broken)


@pytest.mark.parametrize("name", ["SECRET_KEY", "TOKEN_PEPPER", "POSTGRES_PASSWORD", "REDIS_PASSWORD"])
def test_compose_refuses_to_start_without_a_secret(name: str) -> None:
    with pytest.raises(MissingVariable, match=name):
        interpolated(RAW_COMPOSE, COMPOSE_SECRETS | {name: ""})


def test_compose_starts_in_order() -> None:
    for name, service in SERVICES.items():
        waits = {other: wait["condition"] for other, wait in service.get("depends_on", {}).items()}
        if name in OURS:
            assert waits["postgres"] == "service_healthy"
        if name in ("web", "worker", "beat"):
            assert waits["migrate"] == "service_completed_successfully"
        healthy = [other for other, condition in waits.items() if condition == "service_healthy"]
        assert all("test" in SERVICES[other]["healthcheck"] for other in healthy)


def test_compose_shows_only_the_web_server_and_only_to_this_machine() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:8080:8080"]}
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    for name, service in SERVICES.items():
        assert service["networks"] == (["stores", "outside"] if name == "web" else ["stores"])


def test_compose_keeps_the_data_in_declared_volumes() -> None:
    used = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert sorted(used) == sorted(COMPOSE["volumes"]) == sorted(STORES)


@pytest.mark.parametrize("name", [*OURS, *STORES])
def test_compose_takes_privileges_away(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user", in_image("USER")).split(":")[0] not in ("root", "0")
    if name in OURS:
        assert service["read_only"]
        assert set(service["tmpfs"]) == {"/tmp", in_image("VOLUME")}  # noqa: S108
