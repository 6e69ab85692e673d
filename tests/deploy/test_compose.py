"""docker-compose.yml: its schema, secrets, order of starts, ports and privileges."""

import copy
import re
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from config.installation.drawing import FOR_PORTAL, FOR_STORES, GIVEN_TO_PORTAL
from config.installation.folder import OWNER, POSTGRES, REDIS
from tests.deploy.containers import (
    COMPOSE,
    COMPOSE_TEXT,
    FINAL,
    MOUNTED,
    OURS,
    PODS,
    RAW_COMPOSE,
    ROLES,
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
from tests.deploy.lock_files import locked
from tests.product.test_settings import documented

GIVEN_NAMES = (*FOR_PORTAL, *FOR_STORES, *GIVEN_TO_PORTAL)


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
    assert {*GIVEN_NAMES, "PLUMBLINE_TOKEN"} <= variables.keys()
    assert [name for name, rest in variables.items() if not rest.startswith(":-")] == []


def test_env_sets_every_documented_setting_and_compose_changes_no_default() -> None:
    """Except those that are drawn, that the image and the volumes decide, and those of the demo."""
    others = {"SECRETS", "DATABASE_URL", "REDIS_URL", "HOST", "PORT", "DATA"}
    others |= {"PLUMBLINE_DEMO", "DEMO_NETWORKS"}
    assert documented() - set(re.findall(r"\$\{(\w+)", COMPOSE_TEXT)) == others
    given = SERVICES["web"]["environment"]
    numbers = {name: value for name, value in given.items() if value.isdigit() and name != "HTTPS"}
    bare = {name: value for name, value in given.items() if name not in numbers}
    under_compose, under_defaults = (settings_under(with_secrets(each))[0] for each in (given, bare))
    assert [name for name in numbers if under_compose[name] != under_defaults[name]] == []


def test_only_the_service_that_draws_the_secrets_is_given_any() -> None:
    """Values of .env win, and everybody else reads the volume."""
    given = interpolated(RAW_COMPOSE, dict.fromkeys((*GIVEN_NAMES, "PLUMBLINE_TOKEN"), SAMPLE))["services"]
    assert dict.fromkeys(GIVEN_NAMES, SAMPLE).items() <= given[SECRETS]["environment"].items()
    others = {name for name, service in given.items() if SAMPLE in str(service)} - {SECRETS}
    assert others == {"locust"}
    for name in (*OURS, *STORES, ROLES):
        condition = SERVICES[name]["depends_on"][SECRETS]["condition"]
        assert condition == "service_completed_successfully"
    assert SERVICES[SECRETS]["environment"]["SECRETS"] == MOUNTED
    assert SERVICES[SECRETS]["depends_on"] == {}


def test_each_service_gets_its_own_secrets_and_no_others() -> None:
    """They may only be read, but by the service that draws them."""
    volumes = {
        name: {volume for volume in service.get("volumes", []) if "secrets" in volume}
        for name, service in SERVICES.items()
    }
    portal = {f"secrets:{MOUNTED}:ro"}
    assert volumes == {
        **dict.fromkeys(("web", "worker", "beat"), portal),
        "migrate": portal | {f"owner-secrets:{MOUNTED}{OWNER}:ro"},
        **{key: {f"postgres-secrets:{MOUNTED}:ro"} for key in ("postgres", ROLES)},
        "redis": {f"redis-secrets:{MOUNTED}:ro"},
        "locust": set(),
        SECRETS: {
            f"secrets:{MOUNTED}",
            *(f"{end[1:]}-secrets:{MOUNTED}{end}" for end in (OWNER, POSTGRES, REDIS)),
        },
    }


def test_a_changed_secret_restarts_those_who_read_it_at_their_start() -> None:
    for name in (*OURS, ROLES, "redis"):
        assert SERVICES[name]["depends_on"][SECRETS]["restart"], name


def test_the_volume_of_secrets_belongs_to_the_user_who_writes_it() -> None:
    """Docker gives an empty volume the owner and mode of the folder that it covers in the image."""
    [made] = [arguments for word, arguments in FINAL if word == "RUN"]
    folders = " ".join(f"{MOUNTED}{end}" for end in ("", OWNER, POSTGRES, REDIS))
    assert re.search(rf"--owner=plumbline --group=plumbline --mode=0755 +{folders}$", made)


def test_compose_starts_in_order() -> None:
    for name, service in SERVICES.items():
        waits = {other: wait["condition"] for other, wait in service.get("depends_on", {}).items()}
        if name in (*OURS, ROLES):
            assert waits["postgres"] == "service_healthy"
        if name == "migrate":
            assert waits[ROLES] == "service_completed_successfully"
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
    assert COMPOSE["volumes"].keys() == {
        *(*STORES, "secrets", "owner-secrets", "postgres-secrets", "redis-secrets")
    }


@pytest.mark.parametrize("name", SERVICES)
def test_compose_takes_privileges_away(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("user", in_image("USER")).split(":")[0] not in ("root", "0")
    if name in (*OURS, SECRETS):
        assert service["read_only"]
        assert set(temporary(name)) == {"/tmp", in_image("VOLUME")}  # noqa: S108


UNITS = {"m": 2**20, "g": 2**30}


def in_bytes(size: str) -> int:
    return int(size[:-1]) * UNITS[size[-1]]


def temporary(name: str) -> dict[str, int]:
    """The folders that a service has in memory, with their sizes."""
    return {
        path: in_bytes(size)
        for path, size in (each.split(":size=") for each in SERVICES[name].get("tmpfs", []))
    }


@pytest.mark.parametrize("name", SERVICES)
def test_compose_bounds_memory_and_processes(name: str) -> None:
    """A container's files in memory count as its memory: half of it is left for its processes."""
    memory = in_bytes(SERVICES[name]["mem_limit"])
    assert sum(temporary(name).values()) <= memory / 2
    assert 32 <= SERVICES[name]["pids_limit"] <= 256


def test_uploads_have_room() -> None:
    """Several files of the largest size that may be imported."""
    settings, _ = settings_under(with_secrets(SERVICES["web"]["environment"]))
    wanted = 4 * settings["IMPORT_MEBIBYTES"] * 2**20
    assert temporary("web")["/tmp"] >= wanted  # noqa: S108
    [room] = [volume["emptyDir"] for volume in PODS["web"]["volumes"] if volume["name"] == "tmp"]
    assert int(room["sizeLimit"].removesuffix("Gi")) * 2**30 >= wanted
    assert "medium" not in room


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
