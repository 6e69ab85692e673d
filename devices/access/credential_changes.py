"""Word among server processes that something was changed: nobody goes on with old leave.

Those of one host share a number, so that they doubt at once. What it was that changed everybody reads from a
log in the database, which triggers write in the transaction of the change, whoever makes it.
"""

import mmap
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from django.db import connection

PATH_VARIABLE = "PLUMBLINE_CHANGES"
SIZE = 8
# More than so many changes are as good as all.
MAX_READ = 1000
LOG_KEPT = "1 hour"
CLUSTER = "(SELECT system_identifier FROM pg_control_system())"


def share() -> None:
    """To be called before server processes are started: they and this one then see the same number."""
    if not hasattr(os, "memfd_create"):
        return
    descriptor = os.memfd_create("plumbline-changes")
    os.ftruncate(descriptor, SIZE)
    # By this path a child finds it however it was started; it ends with this process, even a killed one.
    os.environ[PATH_VARIABLE] = f"/proc/{os.getpid()}/fd/{descriptor}"


def shared_memory() -> mmap.mmap:
    # A process that is alone, or may not see the other's descriptors, has a number of its own.
    with suppress(KeyError, OSError), Path(os.environ[PATH_VARIABLE]).open("r+b") as file:
        return mmap.mmap(file.fileno(), SIZE)
    return mmap.mmap(-1, SIZE)


memory = shared_memory()


def note_change() -> None:
    """Something was changed and committed."""
    memory[:] = time.monotonic_ns().to_bytes(SIZE, "little")


def state() -> bytes:
    """Another whenever something was changed."""
    return memory[:]


# What a change is about: "device" or "user", and its number.
Subject = tuple[str, int]


class ChangesSince(NamedTuple):
    """What was changed before the state of the database that `seen` names; None: whatever there is."""

    seen: str
    changed: set[Subject] | None


def changes_since(seen: str) -> ChangesSince:
    """What of credentials, devices, profiles and users was changed since the state `seen`, "" being none.

    A state older than LOG_KEPT is to be taken as none. Raises DatabaseError.
    """
    cluster, _, snapshot = seen.partition("/")
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT {CLUSTER}::text, pg_current_snapshot()::text, ARRAY(
                SELECT coalesce(kind || ' ' || number, '') FROM devices_accesschange
                WHERE xid >= pg_snapshot_xmin(%(seen)s) AND NOT pg_visible_in_snapshot(xid, %(seen)s)
                LIMIT {MAX_READ}
            )
            """,
            {"seen": snapshot or None},
        )
        now_cluster, now_snapshot, found = cursor.fetchone()
    is_all = not seen or now_cluster != cluster or len(found) == MAX_READ or "" in found
    pairs = (text.split() for text in found if text)
    changed = None if is_all else {(kind, int(number)) for kind, number in pairs}
    return ChangesSince(f"{now_cluster}/{now_snapshot}", changed)


def forget_old() -> int:
    """Drop entries that all have been able to see for long; returns their number.

    A change may have been made long before its commit: it counts from when this first finds the entry.
    """
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM devices_accesschange WHERE found_at < now() - %s::interval", [LOG_KEPT])
        dropped = cursor.rowcount
        cursor.execute("UPDATE devices_accesschange SET found_at = clock_timestamp() WHERE found_at IS NULL")
        return dropped
