"""Secrets in a folder, a file for each, which other containers read."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from config.installation.drawing import FOR_PORTAL, FOR_STORES, for_portal, for_stores

SECRETS = (*FOR_PORTAL, *FOR_STORES)
# Neither a URL nor the configuration of Redis needs these quoted.
PLAIN = re.compile(r"[A-Za-z0-9._~-]+")


class UnusableSecret(Exception):
    """A value that was given or found cannot serve; the message has its name only."""


def draw_into(folder: Path, given: Mapping[str, str]) -> list[str]:
    """Write the given secrets, and new ones where neither is given nor a file exists. Return what changed.

    Raises UnusableSecret, OSError.
    """
    known = {name: given.get(name) or content(folder / name) for name in SECRETS}
    for name in FOR_STORES:
        if known[name] and not PLAIN.fullmatch(known[name]):
            raise UnusableSecret(f"{name} may have letters, digits and . _ ~ - only.")
    stores = for_stores(known)
    wanted = stores | for_portal(stores, known)
    changed = [name for name, value in wanted.items() if content(folder / name) != value]
    for name in changed:
        # The stores run as other users than the portal.
        write(folder / name, wanted[name], mode=0o444 if name in FOR_STORES else 0o400)
    return changed


def content(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise UnusableSecret(f"The file {path.name} is not text.") from error


def write(path: Path, text: str, *, mode: int) -> None:
    """Replace the file in one step: a kill leaves the old one or the new one."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
