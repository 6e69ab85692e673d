"""Dockerfile, docker-compose.yml and deploy/kubernetes.yaml agree with the program and with one another."""

import json
import re
import shutil
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands, load_command_class

from tests.deploy.containers import (
    COMPOSE_TEXT,
    CONTAINERS,
    FOREIGN,
    IMAGE_ENVIRONMENT,
    IS_SECRET,
    KUBERNETES_TEXT,
    OURS,
    PODS,
    RAW_COMPOSE,
    ROLES,
    ROOT,
    SAMPLE,
    SECRETS,
    SERVICES,
    STARTS,
    STORES,
    WORKLOADS,
    container_environment,
    in_image,
    objects,
    settings_under,
)

DRAWING = (SERVICES[SECRETS]["command"], PODS[SECRETS]["containers"][0]["args"])


@pytest.mark.parametrize("where", STARTS)
def test_each_container_gets_the_settings_it_needs(where: str) -> None:
    environment, _ = STARTS[where]
    settings, read = settings_under(environment)
    assert not settings["DEMO"]
    assert (settings["HOST"], settings["PORT"]) == ("0.0.0.0", int(in_image("EXPOSE")))  # noqa: S104
    database = settings["DATABASES"]["default"]
    assert (database["HOST"], database["PORT"], database["PASSWORD"]) == ("postgres", 5432, SAMPLE)
    assert settings["CELERY_BROKER_URL"] == f"redis://:{SAMPLE}@redis:6379/0"
    assert (IMAGE_ENVIRONMENT | environment).keys() - FOREIGN <= read


@pytest.mark.parametrize("name", ["SECRET_KEY", "TOKEN_PEPPER", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS"])
def test_each_container_refuses_to_start_without_a_required_setting(name: str, tmp_path: Path) -> None:
    for environment, _ in STARTS.values():
        without = {key: value for key, value in environment.items() if key != name}
        if "SECRETS" in without:
            folders = without["SECRETS"].split(":")
            copies = [
                shutil.copytree(folder, tmp_path / Path(folder).name, dirs_exist_ok=True)
                for folder in folders
            ]
            without["SECRETS"] = ":".join(map(str, copies))
            for copy in copies:
                (copy / name).unlink(missing_ok=True)
        with pytest.raises(ImproperlyConfigured, match=name):
            settings_under(without)


@pytest.mark.parametrize(
    "command", [*(command for _, command in STARTS.values()), *DRAWING, json.loads(in_image("CMD"))]
)
def test_each_command_exists_with_its_options(command: list[str]) -> None:
    name, *options = command
    load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(options)


def test_compose_and_kubernetes_run_the_same_parts() -> None:
    assert SERVICES.keys() - {"locust"} == WORKLOADS.keys() == {*OURS, *STORES, SECRETS, ROLES}
    for name in OURS:
        assert SERVICES[name]["command"] == PODS[name]["containers"][0]["args"] == [name]
    assert SERVICES["redis"]["command"] == PODS["redis"]["containers"][0]["command"]
    for name in (*STORES, ROLES):
        assert SERVICES[name]["image"] == PODS[name]["containers"][0]["image"]
        assert (
            SERVICES[name].get("environment", {}).items()
            >= container_environment(CONTAINERS[f"{name}-{name}"][1]).items()
        )


@pytest.mark.parametrize("name", OURS)
def test_only_migrate_is_the_owner_and_nobody_of_ours_the_superuser(name: str) -> None:
    role = "plumbline_owner" if name == "migrate" else "plumbline_runtime"
    for where, (environment, _) in STARTS.items():
        if where in (f"compose-{name}", f"kubernetes-{name}-{name}"):
            assert settings_under(environment)[0]["DATABASES"]["default"]["USER"] == role
    # The pods that wait for the migration only look.
    looking = [key for key in STARTS if key.endswith("-migrated")]
    assert len(looking) == 3
    for where in looking:
        settings, _ = settings_under(STARTS[where][0])
        assert settings["DATABASES"]["default"]["USER"] == "plumbline_runtime"


def test_kubernetes_has_the_script_of_the_roles_as_it_is() -> None:
    assert objects("ConfigMap")[ROLES]["data"]["roles.sh"] == (ROOT / "deploy/roles.sh").read_text()


def test_files_contain_no_secret() -> None:
    assert objects("Secret") == {}
    for service in RAW_COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not IS_SECRET.search(name) or "${" in value, name
    for _, container in CONTAINERS.values():
        for entry in container.get("env", []):
            assert not IS_SECRET.search(entry["name"]) or "valueFrom" in entry, entry
    literals = {*objects("ConfigMap")["plumbline"]["data"], *IMAGE_ENVIRONMENT}
    assert not [name for name in literals if IS_SECRET.search(name)]
    texts = [COMPOSE_TEXT, KUBERNETES_TEXT, (ROOT / "Dockerfile").read_text()]
    passwords = [word for text in texts for word in re.findall(r"://\w*:([^@\s]+)@", text)]
    assert set(passwords) == {"$PASSWORD"}
