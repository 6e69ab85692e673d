"""The one place after readings are committed: every way in calls `readings_stored` with the rows it stored.

The ways in are the group commit of a server process (gate, REST views), `group_commit.store_now` outside a
server, and the importer of files. Copying from one storage to another stores nothing new and tells nobody.

Nobody's answer waits for a listener: a server calls listeners on a thread of its own (`ListenerThread`),
commands and imports, for which no device waits, in their own thread. A process that is killed after a commit
tells nobody: a listener that must not miss a reading has to compare with the storage.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import close_old_connections, transaction

from devices.storage.interface import Rows

logger = logging.getLogger(__name__)

# To be told of readings, append a function when an app starts (`AppConfig.ready`). It gets the rows of one
# commit; `row_codec.devices_and_times` decodes a payload.
LISTENERS: list[Callable[[Sequence[Rows]], None]] = []
# Limit of rows that wait for slow listeners. Rows beyond it are stored, but no listener gets them.
MAX_WAITING_BYTES = 32 * 1024 * 1024


def readings_stored(stored: Sequence[Rows]) -> None:
    """Call each listener with rows that have just been committed."""
    if not LISTENERS:
        return
    rows = [part for part in stored if part.payload]
    if not rows:
        return
    for listener in LISTENERS:
        try:
            listener(rows)
        except Exception:  # the readings are stored: that must not become an error, nor stop other listeners
            logger.exception("A listener failed for %d stored groups of rows.", len(rows))


def call_after_commit(stored: Sequence[Rows]) -> None:
    """Call `readings_stored` once the transaction of Django's connection has committed, or now if none is."""
    if LISTENERS:
        transaction.on_commit(partial(readings_stored, stored))


class ListenerThread:
    """Calls the listeners of a server process, one commit after the other."""

    def __init__(self) -> None:
        # Starts no thread before the first call.
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="stored")
        self.waiting_bytes = 0
        self.lock = threading.Lock()

    def call(self, stored: Sequence[Rows]) -> None:
        """Have `readings_stored` called with these rows, and return at once."""
        size = sum(len(rows.payload) for rows in stored)
        with self.lock:
            is_full = self.waiting_bytes + size > MAX_WAITING_BYTES
            self.waiting_bytes += 0 if is_full else size
        if is_full:
            logger.warning("Listeners are too slow: they miss %d bytes of stored rows.", size)
        else:
            self.executor.submit(self.run, stored, size)

    def run(self, stored: Sequence[Rows], size: int) -> None:
        # Django checks connections at the start of a request; this thread sees none.
        close_old_connections()
        readings_stored(stored)
        with self.lock:
            self.waiting_bytes -= size

    def close(self) -> None:
        """Wait until the listeners have been called with all that was stored."""
        self.executor.shutdown()
