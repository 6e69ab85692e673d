"""Dockerfile, docker-compose.yml and deploy/kubernetes.yaml, checked without a container engine.

They fit their schemas and agree with the program and with one another.
"""

import copy
import fnmatch
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePosixPath
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands, load_command_class

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
def test_each_container_refuses_to_start_without_a_required_setting(name: str) -> None:
    for environment, _ in STARTS.values():
        with pytest.raises(ImproperlyConfigured, match=name):
            settings_under({key: value for key, value in environment.items() if key != name})


@pytest.mark.parametrize(
    "command", [*(command for _, command in STARTS.values()), json.loads(in_image("CMD"))]
)
def test_each_command_exists_with_its_options(command: list[str]) -> None:
    name, *options = command
    load_command_class(get_commands()[name], name).create_parser("manage.py", name).parse_args(options)


def test_compose_and_kubernetes_run_the_same_parts() -> None:
    assert SERVICES.keys() == WORKLOADS.keys() == {*OURS, *STORES}
    for name in OURS:
        assert SERVICES[name]["command"] == PODS[name]["containers"][0]["args"] == [name]
    assert SERVICES["redis"]["command"] == PODS["redis"]["containers"][0]["command"]
    for name in STORES:
        assert (
            SERVICES[name]["environment"].items()
            >= container_environment(CONTAINERS[f"{name}-{name}"][1]).items()
        )


# --- The image


def test_the_image_runs_the_demo_as_an_ordinary_user() -> None:
    assert json.loads(in_image("ENTRYPOINT")) == ["python", "manage.py"]
    assert json.loads(in_image("CMD")) == ["demo"]
    # Numbers: Kubernetes cannot tell whether a name means root.
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", in_image("USER"))
    assert in_image("VOLUME") == IMAGE_ENVIRONMENT["DATA"]
    words = [word for word, _ in FINAL]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word in ("RUN", "COPY"))
    settings, read = settings_under({"PLUMBLINE_DEMO": "1"})
    assert settings["DEMO"]
    assert IMAGE_ENVIRONMENT.keys() - FOREIGN <= read


def test_files_copied_by_the_dockerfile_exist() -> None:
    for word, arguments in [*BUILDER, *FINAL]:
        if word == "COPY" and not arguments.startswith("--from=builder"):
            source = arguments.split()[0]
            assert (ROOT / source).exists(), arguments
            assert source == "." or is_sent(source), arguments


def test_build_gets_only_the_program() -> None:
    settings, _ = settings_under({"PLUMBLINE_DEMO": "1"})
    apps = {name.split(".")[0] for name in settings["INSTALLED_APPS"]}
    folders = {name for name in apps if (ROOT / name).is_dir()} | {
        path.name for path in settings["TEMPLATES"][0]["DIRS"]
    }
    files = {"manage.py", "pyproject.toml", "requirements.lock"}
    wanted = files | {f"{folder}/any/file.py" for folder in folders}
    assert {path for path in wanted if not is_sent(path)} == set()
    others = {path.name for path in ROOT.iterdir()} - folders - files
    refused = (
        {f"{name}/any" for name in others} | others | {".env", ".git/config", "config/__pycache__/x.pyc"}
    )
    assert {path for path in refused if is_sent(path)} == set()


# Runs in a Python of its own: pytest has already imported some packages that must be hidden.
LOAD_EVERYTHING = """
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

locked = set(sys.argv[1:])
canonical = lambda name: name.lower().replace("_", "-").replace(".", "-")
hidden = {m for m, found in packages_distributions().items() if not locked & {*map(canonical, found)}}

class OnlyLocked:
    def find_spec(name, *_):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in requirements.lock", name=name)

sys.meta_path.insert(0, OnlyLocked)

import django
django.setup()
from django.core.management import get_commands, load_command_class
import config.asgi.application, config.urls
from config.celery import app

app.loader.import_default_modules()
app.connection_for_write().get_transport_cls()
app.backend, app.Worker, app.Beat
for name, package in get_commands().items():
    if Path(str(package).partition(".")[0]).is_dir():
        load_command_class(package, name)
"""


def test_the_program_loads_with_the_packages_of_its_lock_alone() -> None:
    """Packages for development, which are installed here, would hide an undeclared requirement."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = [line.split("==")[0] for line in lines]
    environment = {"PLUMBLINE_DEMO": "1", "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", LOAD_EVERYTHING, *locked]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_images_are_pinned_and_the_same_everywhere() -> None:
    ours = f"{PROJECT['name']}:{PROJECT['version']}"
    for name, (workload, container) in CONTAINERS.items():
        assert container["image"] == SERVICES[workload]["image"], name
        assert (container["image"] == ours) == (workload in OURS), name
    bases = [
        arguments.split()[0] for stage in (BUILDER, FINAL) for word, arguments in stage if word == "FROM"
    ]
    for image in [*bases, *(service["image"] for service in SERVICES.values())]:
        assert re.fullmatch(r"[a-z]+:\d+[\w.-]*", image), image
    # The virtual environment is copied between the stages.
    assert len({re.match(r"python:3\.\d+(?=-)", base)[0] for base in bases}) == 1
    assert bases[1] == bases[0].replace("-", "-slim-", 1)


@pytest.mark.parametrize(("status", "ends_with"), [(204, 0), (503, 1)])
def test_the_image_is_healthy_while_healthz_answers_204(status: int, ends_with: int) -> None:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    program, *arguments = json.loads(in_image("HEALTHCHECK").split(" CMD ")[1])
    assert program == "python"
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        environment = {"PORT": str(server.server_port), "http_proxy": "http://127.0.0.1:9"}
        check = subprocess.run([sys.executable, *arguments], env=environment, timeout=10, check=False)
        answering.join()
    assert check.returncode == ends_with


# --- Compose


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


# --- Kubernetes


# The oldest version that the manifest supports, and the newest with installed schemas.
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize(
    "item", [pytest.param(o, id=f"{o['kind']}-{o['metadata']['name']}") for o in OBJECTS]
)
def test_each_object_fits_its_schema(item: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(item, version, strict=True)
    assert item["metadata"].get("namespace", item["metadata"]["name"]) == "plumbline"


def test_the_schemas_refuse_a_misspelt_manifest() -> None:
    broken = copy.deepcopy(WORKLOADS["web"])
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", CONTAINERS)
def test_pods_keep_to_the_restricted_profile(name: str) -> None:
    workload, container = CONTAINERS[name]
    pod = PODS[workload]
    user = pod["securityContext"]["runAsUser"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert user == int(in_image("USER").split(":")[0]) if workload in OURS else user > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]
    declared = [*pod.get("volumes", []), *(claim["metadata"] for claim in claims(workload))]
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in declared}


def test_replicas() -> None:
    replicas = {name: WORKLOADS[name]["spec"]["replicas"] for name in ("web", "beat", *STORES)}
    assert replicas == {"web": 2, "beat": 1, "postgres": 1, "redis": 1}
    assert WORKLOADS["beat"]["spec"]["strategy"] == {"type": "Recreate"}
    budget = objects("PodDisruptionBudget")["web"]["spec"]
    assert selected(budget["selector"]["matchLabels"]) == {"web"}
    assert 0 < budget["minAvailable"] < replicas["web"]


def test_services_and_workloads_find_their_pods() -> None:
    for name, service in objects("Service").items():
        assert selected(service["spec"]["selector"]) == {name}
        offered = {port["name"] for port in PODS[name]["containers"][0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} == offered
    for name, workload in objects("Deployment", "StatefulSet").items():
        assert selected(workload["spec"]["selector"]["matchLabels"]) == {name}


def test_only_our_pods_reach_the_stores() -> None:
    allowed: dict[str, dict[int, set[str]]] = {name: {} for name in WORKLOADS}
    closed: set[str] = set()
    for policy in objects("NetworkPolicy").values():
        spec = policy["spec"]
        assert spec["policyTypes"] == ["Ingress"]
        targets = selected(spec["podSelector"].get("matchLabels", {}))
        closed |= targets
        for rule in spec.get("ingress", []):
            peers = rule.get("from", [{"podSelector": {"matchLabels": {}}}])
            sources = set().union(*(selected(peer["podSelector"]["matchLabels"]) for peer in peers))
            sources |= set() if "from" in rule else {"anybody"}
            for target in targets:
                allowed[target] |= {port["port"]: sources for port in rule["ports"]}
    assert closed == WORKLOADS.keys()
    assert allowed["postgres"] == {5432: set(OURS)}
    assert allowed["redis"] == {6379: set(OURS)}
    assert allowed["web"] == {8080: {"anybody", *WORKLOADS}}
    assert allowed["worker"] == allowed["beat"] == allowed["migrate"] == {}


def test_an_absent_database_takes_web_out_of_service_but_does_not_restart_it() -> None:
    [web] = PODS["web"]["containers"]
    health = {"path": "/healthz", "port": "http"}
    assert web["ports"] == [{"name": "http", "containerPort": int(in_image("EXPOSE"))}]
    assert web["startupProbe"]["httpGet"] == web["readinessProbe"]["httpGet"] == health
    assert web["livenessProbe"]["tcpSocket"] == {"port": "http"}
    for name in ("worker", "beat", *STORES):
        assert "livenessProbe" not in PODS[name]["containers"][0]


def test_stopping_waits_longer_than_the_programs_do() -> None:
    server = int(
        re.search(
            r"timeout_graceful_shutdown=(\d+)", (ROOT / "config/management/commands/web.py").read_text()
        )[1]
    )
    leaving = int(PODS["web"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert PODS["web"]["terminationGracePeriodSeconds"] > server + leaving
    assert int(SERVICES["web"]["stop_grace_period"].removesuffix("s")) > server
    assert SERVICES["worker"]["stop_grace_period"] == f"{PODS['worker']['terminationGracePeriodSeconds']}s"


# --- Secrets


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
    assert passwords
    assert all(word.startswith("$") for word in passwords)
