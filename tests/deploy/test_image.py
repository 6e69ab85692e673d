"""The image: what it contains, and how it runs."""

import json
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.deploy.containers import (
    BASE,
    BUILDER,
    CONTAINERS,
    FINAL,
    FOREIGN,
    IMAGE_ENVIRONMENT,
    LEAN,
    OURS,
    PRODUCTION,
    PROJECT,
    ROOT,
    SECRETS,
    SERVICES,
    in_image,
    is_sent,
    settings_under,
)
from tests.deploy.lock_files import locked

pytestmark = pytest.mark.e2e


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
    for word, arguments in [*BUILDER, *PRODUCTION, *FINAL]:
        if word == "COPY" and not arguments.startswith("--from="):
            source = arguments.split()[0]
            assert (ROOT / source).exists(), arguments
            assert source == "." or is_sent(source), arguments


def test_the_stage_for_production_has_no_servers_of_the_demo() -> None:
    """They come from wheels that lag behind in security releases."""
    [removal] = [arguments for word, arguments in LEAN if word == "RUN"]
    extra = {
        re.split(r"[;<>=~ ]", requirement)[0] for requirement in PROJECT["optional-dependencies"]["demo"]
    }
    assert set(shlex.split(removal)) - {"/venv/bin/pip", "uninstall", "--yes"} == extra
    assert ("COPY", "--from=lean /venv /venv") in PRODUCTION
    assert not [arguments for _, arguments in PRODUCTION if "builder" in arguments]
    assert ("CMD", '["web"]') in PRODUCTION
    built = {name for name, service in SERVICES.items() if "build" in service}
    assert {SERVICES[name]["build"]["target"] for name in built} == {"production"}


def test_packages_are_locked_by_hash_and_by_no_address() -> None:
    for path in (*ROOT.glob("requirements*.lock"), ROOT / "tests/bench/requirements.lock"):
        assert "://" not in path.read_text()
        assert [package.name for package in locked(path) if not package.hashes] == []
        assert all(
            re.fullmatch("sha256:[0-9a-f]{64}", each) for package in locked(path) for each in package.hashes
        )
    # pip then demands a hash of each package.
    assert "--generate-hashes" in (ROOT / "Makefile").read_text()


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
from django.utils.module_loading import import_string
import config.asgi.application, config.urls
from config.celery import app
from devices.imports.tables import workbook

import_string(workbook.LOAD)

app.loader.import_default_modules()
app.connection_for_write().get_transport_cls()
app.backend, app.Worker, app.Beat
for name, package in get_commands().items():
    if Path(str(package).partition(".")[0]).is_dir():
        load_command_class(package, name)
"""


def test_the_program_loads_with_the_packages_of_its_lock_alone() -> None:
    """Packages for development, which are installed here, would hide an undeclared requirement."""
    names = [package.name for package in locked(ROOT / "requirements.lock")]
    environment = {"PLUMBLINE_DEMO": "1", "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", LOAD_EVERYTHING, *names]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_images_are_pinned_and_the_same_everywhere() -> None:
    ours = f"{PROJECT['name']}:{PROJECT['version']}"
    for name, (workload, container) in CONTAINERS.items():
        assert container["image"] == SERVICES[workload]["image"], name
        assert (container["image"] == ours) == (workload in (*OURS, SECRETS)), name
    bases = [arguments.split()[0] for stage in (BUILDER, BASE) for word, arguments in stage if word == "FROM"]
    for image in [*bases, *(service["image"] for service in SERVICES.values())]:
        assert re.fullmatch(r"(locustio/)?[a-z]+:\d+[\w.-]*(@sha256:[0-9a-f]{64})?", image), image
    # Compose builds on the same, and takes their digests.
    arguments = SERVICES["web"]["build"]["args"]
    assert [arguments["BUILDER_IMAGE"], arguments["BASE_IMAGE"]] == bases
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
        check = subprocess.run([sys.executable, *arguments], env=environment, timeout=60, check=False)
        answering.join()
    assert check.returncode == ends_with
