"""Dockerfile, docker-compose.yml and deploy/kubernetes.yaml, parsed for tests without a container engine."""

import fnmatch
import json
import os
import re
import runpy
import shlex
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
KUBERNETES_TEXT = (ROOT / "deploy/kubernetes.yaml").read_text()
OBJECTS = list(yaml.safe_load_all(KUBERNETES_TEXT))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = ("web", "worker", "beat", "migrate")
STORES = ("postgres", "redis")
SAMPLE = "0123456789abcdef" * 4
# Read by the shell and by Python. The settings must read every other variable of our containers.
FOREIGN = {"PATH", "PYTHONUNBUFFERED"}
IS_SECRET = re.compile(r"SECRET|PEPPER|PASSWORD|TOKEN|AUTH|_KEY$|_URL$")


# --- Dockerfile and .dockerignore


def dockerfile_stages() -> list[list[tuple[str, str]]]:
    """Each stage as a list of (instruction, arguments), the first of them FROM."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    instructions = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    starts = [i for i, (word, _) in enumerate(instructions) if word == "FROM"]
    return [
        [(word, arguments) for word, arguments in instructions[start:end]]
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]


BUILDER, FINAL = dockerfile_stages()


def in_image(word: str) -> str:
    """The arguments of the final stage's only instruction of that name."""
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


class MissingVariable(Exception):
    pass


def interpolated(node: Any, environment: dict[str, str]) -> Any:
    """Interpolate $$, ${NAME:-default} and ${NAME:?message} as compose does. Raises MissingVariable."""
    if isinstance(node, dict):
        return {key: interpolated(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [interpolated(value, environment) for value in node]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match["operator"] == ":?" and not environment.get(match["name"]):
            raise MissingVariable(match["name"])
        return environment.get(match["name"]) or match["rest"]

    return re.sub(r"\$\$|\$\{(?P<name>\w+)(?P<operator>:[-?])(?P<rest>[^}]*)\}", value, node)


RAW_COMPOSE = yaml.safe_load(COMPOSE_TEXT)
COMPOSE_SECRETS = dict.fromkeys(re.findall(r"\$\{(\w+):\?", COMPOSE_TEXT), SAMPLE)
COMPOSE = interpolated(RAW_COMPOSE, COMPOSE_SECRETS)
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


def promised_secrets() -> dict[str, dict[str, str]]:
    """{secret: {key: value}} as the commands in the manifest's head create them."""
    head = re.sub(r"^# *", "", KUBERNETES_TEXT.split("\napiVersion")[0], flags=re.MULTILINE)
    script = re.sub(r"\$\(openssl rand -hex 32\)|\$postgres|\$redis", SAMPLE, head.replace("\\\n", " "))
    secrets = {}
    for line in script.splitlines():
        if "create secret generic" in line:
            words = shlex.split(line)
            literals = [
                word.removeprefix("--from-literal=") for word in words if word.startswith("--from-literal=")
            ]
            secrets[words[words.index("generic") + 1]] = dict(literal.split("=", 1) for literal in literals)
    return secrets


def container_environment(container: dict[str, Any]) -> dict[str, str]:
    secrets = promised_secrets()
    environment: dict[str, str] = {}
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            environment |= secrets[source["secretRef"]["name"]]
        else:
            environment |= objects("ConfigMap")[source["configMapRef"]["name"]]["data"]
    for entry in container.get("env", []):
        reference = entry.get("valueFrom", {}).get("secretKeyRef")
        environment[entry["name"]] = (
            secrets[reference["name"]][reference["key"]] if reference else entry["value"]
        )
    return environment


# --- The starts of the program


def starts() -> dict[str, tuple[dict[str, str], list[str]]]:
    """{where: (environment, command)} for each container of ours outside demo mode."""
    found = {f"compose-{n}": (SERVICES[n]["environment"], SERVICES[n]["command"]) for n in OURS}
    for name, (workload, container) in CONTAINERS.items():
        if workload in OURS:
            found[f"kubernetes-{name}"] = (container_environment(container), container["args"])
    return found


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
        return runpy.run_path(str(ROOT / "config/settings.py")), recorder.read
