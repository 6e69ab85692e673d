"""`manage.py demo` as its users run it: started, used, ended in every way, and started again."""

import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from config.demo.data_folder import socket_path
from tests.support.demo import MANAGE, PROCESSES, REQUIRED, STOP_SECONDS, Demo, client, demo, environment
from tests.support.portal import eventually, free_port
from tests.support.servers import make_open_folder

pytestmark = pytest.mark.e2e

# Only waits for the demo, like make.
WAITING_PARENT = """
import os, subprocess, sys
subprocess.run([*sys.argv[1:], "--parent", str(os.getpid())])
"""


@pytest.fixture
def port() -> int:
    return free_port()


@dataclass(frozen=True)
class FirstStart:
    """Data that the first start of the demo showed and every later start must show again."""

    data: Path
    password: str
    device_ids: list[str]
    reading: dict


@pytest.fixture(scope="module")
def first_start() -> Iterator[FirstStart]:
    with make_open_folder() as folder, demo(folder / "data", free_port(), is_measured=True) as first:
        device_ids = [device["id"] for device in first.json("/devices/?limit=100")]
        seen = FirstStart(folder / "data", first.password(), device_ids, first.json("/stats/?limit=1")[0])
        end(first, signal.SIGTERM)
        yield seen


def end(running: Demo, how: signal.Signals) -> None:
    running.process.send_signal(how)
    running.process.wait(timeout=STOP_SECONDS)


def assert_same_data(first_start: FirstStart, running: Demo) -> None:
    assert [device["id"] for device in running.json("/devices/?limit=100")] == first_start.device_ids
    since = f"/stats/{first_start.reading['device_id']}/?start={first_start.reading['timestamp']}"
    assert first_start.reading in running.json(f"{since}&limit=1000")


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture(scope="module")
def again(first_start: FirstStart) -> Iterator[Demo]:
    """A later start, under a parent that it was told of; shared, as each start takes a dozen processes."""
    with demo(first_start.data, free_port(), sys.executable, "-c", WAITING_PARENT) as running:
        yield running


def test_demo_prints_address_and_password(first_start: FirstStart, again: Demo) -> None:
    password = again.password()
    assert f"{again.url}/" in again.output
    assert "DEMO MODE: anybody who reaches this address has full access" in again.output
    assert str(first_start.data / "logs") in again.output
    assert again.lets_admin_in_with(password)
    assert not again.lets_admin_in_with(first_start.password)
    tree = psutil.Process(again.process.pid).children(recursive=True)
    assert not [process for process in tree if password in " ".join(process.cmdline())]


def test_activity_of_vladimir_is_there(again: Demo) -> None:
    with client() as session:
        of_vladimir = "?login=vladimir"
        comments = session.get(f"{again.url}/api/comments/{of_vladimir}", timeout=60).json()
        general = session.get(f"{again.url}/api/general/{of_vladimir}", timeout=60).json()
        files = [
            session.get(f"{again.url}/api/{dataset}/{of_vladimir}&format=csv", timeout=60).text.splitlines()
            for dataset in ("comments", "general")
        ]
    assert comments.keys() == general.keys() == {"status", "data"}
    assert comments["status"] == general["status"] == "ok"
    posts, days = comments["data"], general["data"]
    fields = ("user_login", "post_header", "post_author_login", "total_comments")
    assert {tuple(row) for row in posts} == {fields}
    assert {row["user_login"] for row in posts} == {"vladimir"}
    assert {row["post_author_login"] for row in posts} > {"vladimir", "ada"}
    assert all(row["total_comments"] > 0 for row in posts)
    assert {tuple(row) for row in days} == {("date", "logins", "logouts", "blog_actions")}
    assert [row["date"] for row in days] == sorted({row["date"] for row in days})
    totals = [sum(row[name] for row in days) for name in ("logins", "logouts", "blog_actions")]
    assert all(totals)
    assert totals[2] == 2
    heads = [",".join(posts[0]), ",".join(days[0])]
    assert [(lines[0], len(lines)) for lines in files] == [
        (heads[0], 1 + len(posts)),
        (heads[1], 1 + len(days)),
    ]


def test_its_devices_post_on_after_a_pause(again: Demo) -> None:
    def states() -> dict[str, str]:
        return {device["name"]: device["state"] for device in again.json("/devices/?limit=100")}

    def all_on_time() -> bool:
        # A device with gaps may just lack a reading.
        return {state for name, state in states().items() if "(" not in name} == {"on_time"}

    assert eventually(all_on_time)
    assert [name for name, state in states().items() if state == "silent"] == [
        name for name in states() if "(silent)" in name
    ]
    devices = again.json("/devices/?limit=100")
    host = next(device for device in devices if device["name"] == "This computer")
    since = f"/stats/{host['id']}/?limit=1"
    before = again.json(since)
    assert eventually(lambda: again.json(since) != before)


def test_its_file_lets_commands_reach_it(first_start: FirstStart, again: Demo) -> None:
    file = first_start.data / "env"
    assert file.stat().st_mode & 0o077 == 0
    command = shlex.join([*MANAGE, "create_token", "admin"])
    script = f". {shlex.quote(str(file))} && {command}"
    token = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert token.stdout.startswith("plt_")


def test_it_ends_with_the_parent_that_it_was_told_of(first_start: FirstStart, again: Demo) -> None:
    assert_same_data(first_start, again)
    tree = psutil.Process(again.process.pid).children(recursive=True)
    end(again, signal.SIGKILL)
    assert len(tree) > len(PROCESSES)
    assert eventually(lambda: not any(map(lives, tree)))


def test_killed_it_leaves_no_process_and_keeps_the_data(
    first_start: FirstStart, port: int, left_behind
) -> None:
    with demo(first_start.data, port) as running:
        assert_same_data(first_start, running)
        end(running, signal.SIGKILL)
    assert left_behind() == []


def test_killed_processes_are_restarted(first_start: FirstStart, port: int, left_behind) -> None:
    with demo(first_start.data, port) as running:
        killed = running.children()
        assert killed.keys() == set(PROCESSES)
        for process in killed.values():
            process.kill()
        deadline = time.monotonic() + 30
        while len(set(running.children().values()) - set(killed.values())) < len(PROCESSES):
            assert time.monotonic() < deadline, running.output
            time.sleep(0.05)
        running.wait_until_ready()
        assert_same_data(first_start, running)
        end(running, signal.SIGHUP)
    assert running.process.returncode == 0
    assert running.output.endswith("Stopped.\n")
    assert left_behind() == []
    assert not socket_path(first_start.data).exists()


def test_taken_port_is_named_before_anything_starts(open_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = Demo(open_folder / "data", port)
        assert refused.process.wait(timeout=30) == 1
    assert f"Port {port} on 127.0.0.1" in refused.output
    assert {path.name for path in refused.data.iterdir()} == {"lock"}


@pytest.mark.parametrize("name", REQUIRED)
def test_missing_secret_outside_the_demo_is_named(open_folder: Path, name: str) -> None:
    given = dict.fromkeys(REQUIRED, "x" * 32) | {"DATABASE_URL": "postgresql:///x", "REDIS_URL": "redis://x"}
    given.pop(name)
    env = environment(open_folder, 8080) | given
    done = subprocess.run([*MANAGE, "web"], env=env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert f"Set {name} in the environment" in done.stderr
