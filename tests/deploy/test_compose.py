"""docker-compose.yml: its schema, secrets, order of starts, ports and privileges."""

import copy
import re
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.deploy.containers import (
    COMPOSE,
    COMPOSE_TEXT,
    FINAL,
    MOUNTED,
    OURS,
    RAW_COMPOSE,
    ROOT,
    SAMPLE,
    SECRETS,
    SERVICES,
    STORES,
    compose_errors,
    in_image,
    interpolated,
    settings_under,
    with_secrets,
)
from tests.support.lock_files import locked

FOUR = ("SECRET_KEY", "TOKEN_PEPPER", "POSTGRES_PASSWORD", "REDIS_PASSWORD")


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


def test_compose_needs_no_variable() -> None:
    """Every one has a default, if only an empty one: compose starts without .env, or with an empty one."""
    variables = dict(re.findall(r"\$\{(\w+)([^}]*)\}", COMPOSE_TEXT))
    assert {*FOUR, "PLUMBLINE_TOKEN"} <= variables.keys()
    assert [name for name, rest in variables.items() if not rest.startswith(":-")] == []


def test_only_the_service_that_draws_the_secrets_is_given_any() -> None:
    """Values of .env win, and everybody else reads the volume."""
    given = interpolated(RAW_COMPOSE, dict.fromkeys((*FOUR, "PLUMBLINE_TOKEN"), SAMPLE))["services"]
    assert dict.fromkeys(FOUR, SAMPLE).items() <= given[SECRETS]["environment"].items()
    others = {name for name, service in given.items() if SAMPLE in str(service)} - {SECRETS}
    assert others == {"locust"}
    for name in (*OURS, *STORES):
        assert f"secrets:{MOUNTED}:ro" in SERVICES[name]["volumes"]
        condition = SERVICES[name]["depends_on"][SECRETS]["condition"]
        assert condition == "service_completed_successfully"
    assert SERVICES[SECRETS]["volumes"] == [f"secrets:{MOUNTED}"]
    assert SERVICES[SECRETS]["environment"]["SECRETS"] == MOUNTED
    assert SERVICES[SECRETS]["depends_on"] == {}


def test_a_changed_secret_restarts_those_who_read_it_at_their_start() -> None:
    for name in (*OURS, "redis"):
        assert SERVICES[name]["depends_on"][SECRETS]["restart"], name


def test_the_volume_of_secrets_belongs_to_the_user_who_writes_it() -> None:
    """Docker gives an empty volume the owner and mode of the folder that it covers in the image."""
    [made] = [arguments for word, arguments in FINAL if word == "RUN"]
    assert re.search(rf"install --directory --owner=plumbline --group=plumbline --mode=0755 {MOUNTED}$", made)


def test_compose_starts_in_order() -> None:
    for name, service in SERVICES.items():
        waits = {other: wait["condition"] for other, wait in service.get("depends_on", {}).items()}
        if name in OURS:
            assert waits["postgres"] == "service_healthy"
        if name in ("web", "worker", "beat"):
            assert waits["migrate"] == "service_completed_successfully"
        healthy = [other for other, condition in waits.items() if condition == "service_healthy"]
        assert all("test" in SERVICES[other]["healthcheck"] for other in healthy)


def test_compose_shows_web_and_locust_alone_and_only_to_this_machine() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:8080:8080"], "locust": ["127.0.0.1:8089:8089"]}
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    networks = {"web": ["stores", "outside"], "locust": ["outside"]}
    for name, service in SERVICES.items():
        assert service["networks"] == networks.get(name, ["stores"])


def test_compose_keeps_the_data_in_declared_volumes() -> None:
    used = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert {volume for volume in used if not volume.startswith(".")} == COMPOSE["volumes"].keys()
    assert COMPOSE["volumes"].keys() == {*STORES, "secrets"}


@pytest.mark.parametrize("name", SERVICES)
def test_compose_takes_privileges_away(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user", in_image("USER")).split(":")[0] not in ("root", "0")
    if name in (*OURS, SECRETS):
        assert service["read_only"]
        assert set(service["tmpfs"]) == {"/tmp", in_image("VOLUME")}  # noqa: S108


def test_locust_loads_the_web_server_from_the_projects_file() -> None:
    service = SERVICES["locust"]
    options = dict(option.removeprefix("--").split("=") for option in service["command"])
    assert service["volumes"] == ["./locust:/locust:ro"]
    assert (ROOT / options["locustfile"].removeprefix("/")).is_file()
    target = urlsplit(options["host"])
    assert (target.hostname, target.port) == ("web", int(in_image("EXPOSE")))
    assert service["ports"][0].endswith(f":{options['web-port']}")
    # With a user's own hosts, too: it asks for this name.
    for hosts in ({}, {"ALLOWED_HOSTS": "plumbline.example.com"}):
        web = interpolated(RAW_COMPOSE, hosts)["services"]["web"]["environment"]
        allowed = settings_under(with_secrets(web))[0]["ALLOWED_HOSTS"]
        assert {target.hostname, *hosts.values()} <= set(allowed)


def test_locust_has_the_version_that_the_tests_run() -> None:
    [version] = [each.version for each in locked(ROOT / "requirements-dev.lock") if each.name == "locust"]
    assert SERVICES["locust"]["image"] == f"locustio/locust:{version}"


def test_locust_understands_its_command() -> None:
    """Locust's own parser reads it."""
    options = [word.replace("=/locust/", f"={ROOT}/locust/") for word in SERVICES["locust"]["command"]]
    listed = subprocess.run(
        [sys.executable, "-m", "locust", *options, "--list"], capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    assert {"Owner", "Writer"} <= set(listed.stdout.split())
