"""The development server, `manage.py demo --reload`: what it reads from .env, and its restarts."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from config.environment import assignments
from config.supervisor import GaveUp, Supervisor

POLL_SECONDS = 0.25
WATCHED = ("analytics", "config", "devices", "templates", "users")
# Time of change and size by file.
Versions = dict[Path, tuple[int, int]]
ENDINGS = {".css", ".html", ".js", ".py", ".svg"}


def prepare(root: Path) -> None:
    """Set the environment from the file .env, then defaults; a variable that is set stays."""
    file = root / ".env"
    given = assignments(file.read_text()) if file.exists() else {}
    # One process: several would be started again by uvicorn for ever, whatever is wrong with the code.
    for name, value in {"DATA": str(root / ".dev"), "WEB_PROCESSES": "1", **given}.items():
        os.environ.setdefault(name, value)


def run(supervisor: Supervisor, root: Path, started: Versions, tell: Callable[[str], object]) -> None:
    """Tend the children, and restart those that run our code when a file changes. Raises Stopped.

    `started`: the versions before the children were started, so that no change is missed.
    """
    before = started
    while True:
        try:
            supervisor.tend()
        except GaveUp as error:
            tell(f"{str(error).strip()}\nIt is started again when a file changes.")
        time.sleep(POLL_SECONDS)
        now = versions(root)
        if now != before:
            changed = min(path for path, _ in now.items() ^ before.items())
            tell(f"{changed.relative_to(root)} changed: starting again.")
            supervisor.restart()
            before = now


def versions(root: Path) -> Versions:
    """Read the versions of all files of code and pages."""
    found: Versions = {}
    for folder in WATCHED:
        for parent, _, names in os.walk(root / folder):
            for path in (Path(parent, name) for name in names):
                # A file may vanish meanwhile: editors replace files.
                with suppress(FileNotFoundError):
                    if path.suffix in ENDINGS:
                        info = path.stat()
                        found[path] = (info.st_mtime_ns, info.st_size)
    return found
