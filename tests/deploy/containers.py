"""Dockerfile, docker-compose.yml and deploy/kubernetes.yaml, parsed for tests without a container engine."""

import fnmatch
import json
import os
import re
import runpy
import shlex
import sys
import tempfile
import tomllib
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any

import jsonschema
import pytest
import yaml

from config.installation.cluster import OWNER as OWNER_SECRET
from config.installation.cluster import PORTAL as PORTAL_SECRET
from config.installation.cluster import STORES as STORES_SECRET
from config.installation.drawing import FOR_PORTAL, FOR_STORES, for_owner, for_portal
from config.installation.folder import OWNER, POSTGRES, REDIS, draw_into

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
KUBERNETES_TEXT = (ROOT / "deploy/kubernetes.yaml").read_text()
OBJECTS = list(yaml.safe_load_all(KUBERNETES_TEXT))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = ("web", "worker", "beat", "migrate")
STORES = ("postgres", "redis")
# Draws the secrets, with the product's image.
SECRETS = "secrets"
# Makes PostgreSQL's roles, with PostgreSQL's image.
ROLES = "roles"
SAMPLE = "0123456789abcdef" * 4
# Read by the shell and by Python. The settings must read every other variable of our containers.
FOREIGN = {"PATH", "PYTHONUNBUFFERED"}
# SECRETS and …_FILE name a place.
IS_SECRET = re.compile(r"^(?!SECRETS$|.*_FILE$).*(SECRET|PEPPER|PASSWORD|TOKEN|AUTH|_KEY$|_URL$)")


# --- Dockerfile and .dockerignore


def dockerfile_stages() -> list[list[tuple[str, str]]]:
    """Each stage as a list of (instruction, arguments), the first of them FROM."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    # Before the first stage: the defaults of what its lines FROM name.
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, flags=re.MULTILINE))
    text = Template(text).safe_substitute(defaults)
    instructions = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    starts = [i for i, (word, _) in enumerate(instructions) if word == "FROM"]
    return [
        [(word, arguments) for word, arguments in instructions[start:end]]
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]


BUILDER, LEAN, BASE, PRODUCTION, DEMO = dockerfile_stages()
# What a build without a target makes.
FINAL = [*BASE, *DEMO]


def in_image(word: str) -> str:
    """The arguments of the default image's only instruction of that name."""
    [arguments] = [arguments for found, arguments in FINAL if found == word]
    return arguments


IMAGE_ENVIRONMENT = dict(pair.split("=", 1) for pair in shlex.split(in_image("ENV")))


def is_sent(path: str) -> bool:
    """Return True if .dockerignore sends the file to the build: the last matching line decides."""
    sent = True
    candidates = [path, *map(str, PurePosixPath(path).parents)]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if pattern.startswith("**/"):
            names = [PurePosixPath(candidate).name for candidate in candidates]
        else:
            names = [candidate for candidate in candidates if candidate.count("/") == pattern.count("/")]
        if not line.startswith("#") and any(
            fnmatch.fnmatch(name, pattern.removeprefix("**/")) for name in names
        ):
            sent = line.startswith("!")
    return sent


# --- docker-compose.yml


def interpolated(node: Any, environment: dict[str, str]) -> Any:
    """Interpolate $$ and ${NAME:-default} as compose does."""
    if isinstance(node, dict):
        return {key: interpolated(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, environment) for value in node]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return environment.get(match["name"]) or match["rest"]

    return re.sub(r"\$\$|\$\{(?P<name>\w+):-(?P<rest>[^}]*)\}", value, node)


RAW_COMPOSE = yaml.safe_load(COMPOSE_TEXT)
# Without an .env.
COMPOSE = interpolated(RAW_COMPOSE, {})
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def compose_errors(document: dict[str, Any]) -> list[str]:
    schema = json.loads((ROOT / "tests/schemas/compose-spec.json").read_text())
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(document)]


# --- deploy/kubernetes.yaml


def objects(*kinds: str) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in OBJECTS if item["kind"] in kinds}


WORKLOADS = objects("Job", "Deployment", "StatefulSet")
PODS = {name: item["spec"]["template"]["spec"] for name, item in WORKLOADS.items()}
LABELS = {name: item["spec"]["template"]["metadata"]["labels"] for name, item in WORKLOADS.items()}
CONTAINERS = {
    f"{name}-{container['name']}": (name, container)
    for name, pod in PODS.items()
    for container in [*pod.get("initContainers", []), *pod["containers"]]
}


def claims(workload: str) -> list[dict[str, Any]]:
    return WORKLOADS[workload]["spec"].get("volumeClaimTemplates", [])


def selected(labels: dict[str, str]) -> set[str]:
    """The workloads whose pods have all these labels."""
    return {name for name, own in LABELS.items() if labels.items() <= own.items()}


# {secret: {key: value}} as the job draws them.
FOR_ALL_STORES = dict.fromkeys(FOR_STORES, SAMPLE)
DRAWN = {
    STORES_SECRET: FOR_ALL_STORES,
    PORTAL_SECRET: for_portal(FOR_ALL_STORES, dict.fromkeys(FOR_PORTAL, SAMPLE)),
}
DRAWN[OWNER_SECRET] = for_owner(DRAWN[PORTAL_SECRET], FOR_ALL_STORES)


def container_environment(container: dict[str, Any]) -> dict[str, str]:
    environment: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            environment |= DRAWN[source["secretRef"]["name"]]
        else:
            environment |= objects("ConfigMap")[source["configMapRef"]["name"]]["data"]
    return environment | {entry["name"]: entry["value"] for entry in container.get("env", [])}


# --- The starts of the program


def starts() -> dict[str, tuple[dict[str, str], list[str]]]:
    """{where: (environment, command)} for each container of ours that needs the secrets."""
    found = {f"compose-{n}": (with_secrets(SERVICES[n]["environment"]), SERVICES[n]["command"]) for n in OURS}
    for name, (workload, container) in CONTAINERS.items():
        if workload in OURS:
            found[f"kubernetes-{name}"] = (container_environment(container), container["args"])
    return found


def with_secrets(environment: dict[str, str]) -> dict[str, str]:
    """The environment, with the drawn secrets in other folders than it names."""
    assert environment["SECRETS"] in (MOUNTED, f"{MOUNTED}{OWNER}:{MOUNTED}")
    return environment | {"SECRETS": environment["SECRETS"].replace(MOUNTED, f"{FOLDER.name}{MOUNTED}")}


def make_folders(parent: Path) -> Path:
    """Make the folders of secrets, which are volumes in compose; return the portal's."""
    for end in ("", OWNER, POSTGRES, REDIS):
        (parent / f"{MOUNTED[1:]}{end}").mkdir()
    return parent / MOUNTED[1:]


MOUNTED = "/secrets"
FOLDER = tempfile.TemporaryDirectory()
draw_into(make_folders(Path(FOLDER.name)), dict.fromkeys((*FOR_PORTAL, *FOR_STORES), SAMPLE))
STARTS = starts()


class Recorder(dict[str, str]):
    """An environment that records which variables are read."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


def settings_under(environment: dict[str, str]) -> tuple[dict[str, Any], set[str]]:
    """The image's settings in an environment, and the names of the variables that they read."""
    recorder = Recorder(IMAGE_ENVIRONMENT | environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", recorder)
        # Read anew, as the settings that import it are.
        for name in ("config.accounts.settings", "config.limits.settings"):
            patch.delitem(sys.modules, name, raising=False)
        return runpy.run_path(str(ROOT / "config/settings.py")), recorder.read
