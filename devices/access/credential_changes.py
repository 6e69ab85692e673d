"""Changes of credentials, devices, profiles and users, told to all processes: none keeps using a stale grant.

The processes of one host share a number in memory: when it changes they distrust their caches at once. What
changed they read from a log in the database, which triggers write in the transaction of the change, whichever
program makes it.
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
# With MAX_READ changes or more, everything counts as changed.
MAX_READ = 1000
LOG_KEPT = "1 hour"
CLUSTER = "(SELECT system_identifier FROM pg_control_system())"


def share() -> None:
    """Share the number with all processes that are started from now on."""
    if not hasattr(os, "memfd_create"):
        return
    descriptor = os.memfd_create("plumbline-changes")
    os.ftruncate(descriptor, SIZE)
    # A child finds it by this path however it was started; it goes with this process, even if that is killed.
    os.environ[PATH_VARIABLE] = f"/proc/{os.getpid()}/fd/{descriptor}"


def shared_memory() -> mmap.mmap:
    # A process that is alone, or may not read the other's descriptors, gets a number of its own.
    with suppress(KeyError, OSError), Path(os.environ[PATH_VARIABLE]).open("r+b") as file:
        return mmap.mmap(file.fileno(), SIZE)
    return mmap.mmap(-1, SIZE)


memory = shared_memory()


def note_change() -> None:
    """Tell this host's processes that a change was committed."""
    memory[:] = time.monotonic_ns().to_bytes(SIZE, "little")


def state() -> bytes:
    """Return the shared number, which differs after each change."""
    return memory[:]


# "device" or "user", and its id.
Subject = tuple[str, int]


class ChangesSince(NamedTuple):
    """The subjects changed before the database state `snapshot`; None: any may have changed."""

    snapshot: str
    changed: set[Subject] | None


def changes_since(snapshot: str) -> ChangesSince:
    """Read the changes since a database state that an earlier call returned; "" if there is none.

    A state older than LOG_KEPT must be given as "". Raises DatabaseError.
    """
    cluster, _, seen = snapshot.partition("/")
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT {CLUSTER}::text, pg_current_snapshot()::text, ARRAY(
                SELECT coalesce(kind || ' ' || number, '') FROM devices_accesschange
                WHERE xid >= pg_snapshot_xmin(%(seen)s)
                    -- A snapshot may show its own open transaction as finished.
                    AND (NOT pg_visible_in_snapshot(xid, %(seen)s) OR xid = pg_current_xact_id_if_assigned())
                LIMIT {MAX_READ}
            )
            """,
            {"seen": seen or None},
        )
        now_cluster, now_snapshot, found = cursor.fetchone()
    is_all = not snapshot or now_cluster != cluster or len(found) == MAX_READ or "" in found
    pairs = (text.split() for text in found if text)
    changed = None if is_all else {(kind, int(number)) for kind, number in pairs}
    return ChangesSince(f"{now_cluster}/{now_snapshot}", changed)


def forget_old() -> int:
    """Delete log entries that every process could read for LOG_KEPT; returns their number.

    The time counts from when this function first finds an entry: its commit may come long after the change.
    """
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM devices_accesschange WHERE found_at < now() - %s::interval", [LOG_KEPT])
        dropped = cursor.rowcount
        cursor.execute("UPDATE devices_accesschange SET found_at = clock_timestamp() WHERE found_at IS NULL")
        return dropped
