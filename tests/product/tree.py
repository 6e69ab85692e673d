"""Copies of the sources, in which `make` runs with the environment of this test run."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests
from django.conf import settings

from tests.support.demo import REQUIRED, STOP_SECONDS, client
from tests.support.portal import eventually

SOURCES = ("analytics", "config", "devices", "templates", "users")
FILES = ("Makefile", "manage.py", "pyproject.toml", "requirements.lock", ".env.example")
# What the `make` that runs the tests hands on, and what the tests set for themselves.
NOT_FOR_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DATA", "HOST", "PORT", *REQUIRED}


def copy_sources(folder: Path) -> None:
    """Copy what the product runs on, as it is now, committed or not."""
    for name in SOURCES:
        shutil.copytree(settings.BASE_DIR / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy2(settings.BASE_DIR / name, folder / name)


def link_environment(folder: Path) -> None:
    """Give the copy a `.venv` that `make` finds complete; it leads to the environment of this process."""
    (folder / ".venv").mkdir()
    for path in Path(sys.prefix).iterdir():
        if path.suffix != ".stamp":
            (folder / ".venv" / path.name).symlink_to(path)
    for name in ("python", "demo", "dev"):
        (folder / ".venv" / f"{name}.stamp").touch()


def make(folder: Path, *arguments: str, log: Path) -> subprocess.Popen[str]:
    """Start `make` in a session of its own, as a terminal does: Ctrl-C reaches the whole group."""
    env = {name: value for name, value in os.environ.items() if name not in NOT_FOR_MAKE}
    argv = ["make", "--no-print-directory", *arguments]
    with log.open("w") as output:
        return subprocess.Popen(
            argv, cwd=folder, env=env, stdout=output, stderr=output, text=True, start_new_session=True
        )


def made(folder: Path, *arguments: str, log: Path) -> tuple[int, str]:
    """Run `make` to its end; return exit code and output."""
    code = make(folder, *arguments, log=log).wait(timeout=180)
    return code, log.read_text()


class Running:
    """`make demo` or `make dev` in a copy of the sources, and what it says and answers."""

    def __init__(self, folder: Path, port: int, *arguments: str) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "make.log"
        self.process = make(folder, *arguments, log=self.log)

    def says(self, text: str) -> None:
        eventually(lambda: text in self.log.read_text() or self.has_ended())
        assert text in self.log.read_text(), self.log.read_text()

    def answers(self, path: str, text: str) -> None:
        eventually(lambda: text in self.answer(path))

    def answer(self, path: str) -> str:
        with client() as session, suppress(requests.RequestException):
            return session.get(self.url + path, timeout=60).text
        return ""

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def end(self, how: signal.Signals) -> None:
        """Signal the whole group and wait for make."""
        os.killpg(self.process.pid, how)
        self.process.wait(timeout=STOP_SECONDS)


@contextmanager
def running(folder: Path, port: int, *arguments: str) -> Iterator[Running]:
    """Start `make` with these arguments; at the latest the end of the block ends it."""
    running = Running(folder, port, *arguments)
    try:
        yield running
    finally:
        if not running.has_ended():
            running.end(signal.SIGTERM)
