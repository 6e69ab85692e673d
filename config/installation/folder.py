"""Secrets in folders, a file for each: a folder for each program that reads them."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from config.installation.drawing import (
    FOR_PORTAL,
    FOR_POSTGRES,
    FOR_STORES,
    GIVEN_TO_PORTAL,
    for_owner,
    for_portal,
    for_stores,
)

SECRETS = (*FOR_PORTAL, *FOR_STORES)
# Beside the portal's own folder, with these at the end of its name.
OWNER, POSTGRES, REDIS = "-owner", "-postgres", "-redis"
# Neither a URL nor the configuration of Redis needs these quoted.
PLAIN = re.compile(r"[A-Za-z0-9._~-]+")


class UnusableSecret(Exception):
    """A value that was given or found cannot serve; the message has its name only."""


def draw_into(folder: Path, given: Mapping[str, str]) -> list[str]:
    """Write the given secrets, and new ones where neither is given nor a file exists. Return what changed.

    Those that are not drawn, such as EMAIL_URL, go when they are given no more.
    Raises UnusableSecret, OSError.
    """
    known = {name: given.get(name) or content(place(folder, name)) for name in SECRETS}
    # An installation from before has the stores' passwords in the portal's folder.
    known |= {name: content(folder / name) for name in FOR_STORES if not known[name]}
    for name in FOR_STORES:
        if known[name] and not PLAIN.fullmatch(known[name]):
            raise UnusableSecret(f"{name} may have letters, digits and . _ ~ - only.")
    stores = for_stores(known)
    portal = for_portal(stores, known)
    wanted = {place(folder, name): value for name, value in (stores | portal).items()}
    wanted |= {folder / name: given[name] for name in GIVEN_TO_PORTAL if given.get(name)}
    wanted |= {place(folder, name, OWNER): value for name, value in for_owner(portal, stores).items()}
    changed = [path for path, value in wanted.items() if content(path) != value]
    for path in changed:
        # The stores run as other users than the portal.
        write(path, wanted[path], mode=0o444 if path.name in FOR_STORES else 0o400)
    over = [folder / name for name in GIVEN_TO_PORTAL if not given.get(name) and (folder / name).exists()]
    for path in (*over, *(folder / name for name in FOR_STORES)):
        path.unlink(missing_ok=True)
    return [path.name for path in (*changed, *over)]


def place(folder: Path, name: str, end: str = "") -> Path:
    """The file of a secret, in the folder of those who read it."""
    if name in FOR_STORES:
        end = POSTGRES if name in FOR_POSTGRES else REDIS
    return folder.with_name(folder.name + end) / name


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
