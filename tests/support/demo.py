"""Starts `manage.py demo` for tests that use it as its users do."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import requests
from django.conf import settings

from tests.support.servers import MEASURED

MANAGE = [sys.executable, str(settings.BASE_DIR / "manage.py")]
REQUIRED = ("SECRET_KEY", "TOKEN_PEPPER", "DATABASE_URL", "REDIS_URL", "ALLOWED_HOSTS")
READY_SECONDS = 180
# 5 s for the processes that use the servers, 5 s for the servers, and a reserve for a busy machine.
STOP_SECONDS = 90
PROCESSES = (
    "bin/postgres",
    "bin/redis-server",
    "manage.py web",
    "manage.py worker",
    "manage.py beat",
    "manage.py agent",
)


def environment(data: Path, port: int, *, is_measured: bool = False) -> dict[str, str]:
    outside = {name: value for name, value in os.environ.items() if name not in REQUIRED}
    measured = MEASURED if is_measured else {}
    return {**outside, **measured, "DATA": str(data), "PORT": str(port), "HOST": "127.0.0.1"}


def client() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy for a loopback address
    return session


class Demo:
    """A running demo. `under`: a command that starts the demo as its own child."""

    def __init__(self, data: Path, port: int, *under: str, is_measured: bool = False) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.data = data
        self.log = data.with_suffix(".log")
        argv = [*under, *MANAGE, "demo"]
        with self.log.open("w") as log:
            env = environment(data, port, is_measured=is_measured)
            self.process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def is_ready(self) -> bool:
        with suppress(requests.RequestException), client() as session:
            return session.get(f"{self.url}/healthz", timeout=5).status_code == 204
        return False

    def json(self, path: str) -> list[dict]:
        with client() as session:
            response = session.get(self.url + path, timeout=60)
        assert response.status_code == 200, response.text
        return response.json()

    def password(self) -> str:
        """The admin's password, which the demo prints once it is ready."""
        deadline = time.monotonic() + 60
        while (found := re.search(r"as admin with the password (\S+)", self.output)) is None:
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)
        return found[1]

    def lets_admin_in_with(self, password: str) -> bool:
        page = f"{self.url}/portal/login/"
        with client() as session:
            session.get(page, timeout=60)
            fields = {"username": "admin", "password": password}
            headers = {"X-CSRFToken": session.cookies["csrftoken"]}
            answer = session.post(page, fields, headers=headers, timeout=60, allow_redirects=False)
        return answer.status_code == 302

    def children(self) -> dict[str, psutil.Process]:
        """The running ones of PROCESSES, by name."""
        supervisor = psutil.Process(int((self.data / "lock").read_text()))
        found = {}
        for child in supervisor.children():
            with suppress(psutil.NoSuchProcess):
                command = " ".join(child.cmdline())
                found.update({name: child for name in PROCESSES if name in command})
        return found


@contextmanager
def demo(data: Path, port: int, *under: str, is_measured: bool = False) -> Iterator[Demo]:
    running = Demo(data, port, *under, is_measured=is_measured)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.terminate()
        running.process.wait(timeout=STOP_SECONDS)
