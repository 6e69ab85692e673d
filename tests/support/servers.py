"""Pytest plugin: starts PostgreSQL and Redis for the whole run, before pytest-django reads the settings.

`-p tests.support.servers` in pyproject.toml loads it, so that a single test file can be run as well.
"""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from config.demo.data_folder import ServersError, locked
from config.demo.embedded import servers
from config.processes import prctl

# Put into its environment, it has a process measured, too. Coverage slows down each start and each line, so
# processes that tests start go without it otherwise.
MEASURED: dict[str, str] = {}
RUNS_AT_ONCE = 20
PR_SET_CHILD_SUBREAPER = 36


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Start the servers in a hook wrapper, which runs before pytest-django's plain hook reads settings."""
    take_coverage(early_config)
    stack = ExitStack()
    # Runs even if pytest fails to start. If pytest is killed, the servers end with it.
    early_config.add_cleanup(stack.close)
    os.environ.update(stack.enter_context(servers(free_folder(stack))))
    os.environ.update(
        SECRET_KEY=secrets.token_urlsafe(32),
        TOKEN_PEPPER=secrets.token_urlsafe(32),
        ALLOWED_HOSTS="testserver,localhost,127.0.0.1",
        HTTPS="0",
    )
    for name in ("PLUMBLINE_DEMO", "ACTIVITY_URL", "READINGS_URL"):
        os.environ.pop(name, None)
    return (yield)


def take_coverage(config: pytest.Config) -> None:
    """Move coverage from the environment to MEASURED, except where xdist starts processes that need it."""
    if getattr(config.known_args_namespace, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        return
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        MEASURED[name] = os.environ.pop(name)


def free_folder(stack: ExitStack) -> Path:
    """Lock the first folder that no other run uses, until `stack` closes and removes it.

    The folder of a killed run is reused: PostgreSQL recovers, and pytest-django replaces the test database.
    """
    for number in range(RUNS_AT_ONCE):
        folder = Path(tempfile.gettempdir(), f"plumbline-tests-{os.geteuid()}-{number}")
        folder.mkdir(mode=0o711, exist_ok=True)
        if folder.lstat().st_uid != os.geteuid():
            continue
        with suppress(ServersError):
            stack.enter_context(locked(folder))
            stack.callback(remove, folder)
            shutil.rmtree(folder / "redis", ignore_errors=True)
            return folder
    raise pytest.UsageError(f"{RUNS_AT_ONCE} test runs are active, or {folder} cannot be used.")


def remove(folder: Path) -> None:
    """Rename, then delete: once its lock file is deleted, another run would start to use the folder."""
    shutil.rmtree(folder.rename(folder.with_name(f"{folder.name}-{os.getpid()}-{time.monotonic_ns()}")))


@contextmanager
def make_open_folder() -> Iterator[Path]:
    """A folder that other users may pass through, unlike pytest's tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with make_open_folder() as folder:
        yield folder


@pytest.fixture
def left_behind() -> Iterator[Callable[[], list[str]]]:
    """A function that waits for the test's processes to end and lists those that do not.

    As a subreaper this process adopts orphans, and so finds them.
    """
    if prctl is None:
        pytest.skip("This system does not end processes with their parent.")
    this, before = psutil.Process(), set(psutil.Process().children())

    def children() -> list[psutil.Process]:
        return [child for child in this.children() if child not in before]

    def wait() -> list[str]:
        deadline = time.monotonic() + 20
        while (alive := children()) and time.monotonic() < deadline:
            psutil.wait_procs(alive, timeout=0.1)
        return [str(child) for child in children()]

    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield wait
    for child in children():
        for process in [*child.children(recursive=True), child]:
            process.kill()
    wait()
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
