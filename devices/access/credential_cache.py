import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from devices.access import credential_changes
from devices.access.credential_changes import Subject
from users.models import Credential

# A cached grant is trusted for TRUSTED_SECONDS after a check; the next check is due after CHECK_SECONDS.
TRUSTED_SECONDS = 4.0
CHECK_SECONDS = 1.5
# The log of changes is deleted after a while: a process whose last check is older than
# CHANGES_LOGGED_SECONDS drops its whole cache.
CHANGES_LOGGED_SECONDS = 30 * 60
MAX_ENTRIES = 200_000
USE_NOTED_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class CacheEntry:
    """A value that is valid until one of its `subjects` changes or, in monotonic seconds, it `expires_at`."""

    value: Any
    subjects: tuple[Subject, ...]
    expires_at: float = math.inf
    # The credential whose use is noted; None if the entry is about none.
    credential: tuple[type[Credential], int] | None = None
    noted_at: float = 0.0
    is_used: bool = False


class CredentialCache:
    """Looked-up grants and sensors, checked every few seconds against the log of changes. Thread-safe."""

    def __init__(self) -> None:
        self.entries: dict[Any, CacheEntry] = {}
        # Incremented by each invalidation.
        self.generation = 0
        self.state = credential_changes.state()
        self.snapshot = ""
        self.checked_at = self.trusted_until = -math.inf
        self.used: list[CacheEntry] = []
        # One check at a time.
        self.lock = threading.Lock()
        # Guards against caching a value read before an invalidation.
        self.changing = threading.RLock()

    def get(self, key: Any) -> Any:
        return self.find(key)[0]

    def find(self, key: Any) -> tuple[Any, bool]:
        """Return the value, None if there is none to be trusted, and whether a check (`confirm`) is due."""
        entry = self.entries.get(key)
        now = time.monotonic()
        if entry is None or now >= self.trusted_until or now >= entry.expires_at or self.is_doubtful:
            return None, True
        if not entry.is_used:
            entry.is_used = True
            self.used.append(entry)
        return entry.value, now >= self.checked_at + CHECK_SECONDS

    @property
    def is_doubtful(self) -> bool:
        """A process of this host has changed something since the last check."""
        return credential_changes.state() != self.state

    def confirm(self) -> None:
        """Drop the entries whose subjects changed, unless the last check is recent. Raises DatabaseError."""
        with self.lock:
            begun, state = time.monotonic(), credential_changes.state()
            if state == self.state and begun < min(self.checked_at + CHECK_SECONDS, self.trusted_until):
                return
            is_logged = begun < self.checked_at + CHANGES_LOGGED_SECONDS
            news = credential_changes.changes_since(self.snapshot if is_logged else "")
            self.forget(news.changed)
            self.snapshot, self.state, self.checked_at = news.snapshot, state, begun
            self.trusted_until = begun + TRUSTED_SECONDS
            used, self.used = self.used, []
        note_uses(used, timezone.now())

    def forget(self, changed: set[Subject] | None) -> None:
        """Drop the entries with one of these subjects; None drops all."""
        with self.changing:
            if changed is None:
                self.entries, self.generation = {}, self.generation + 1
            elif changed:
                entries = self.entries.items()
                self.entries = {key: entry for key, entry in entries if changed.isdisjoint(entry.subjects)}
                self.generation += 1

    def begin(self) -> int:
        """Return the generation; call it before a look-up whose result goes to `put`."""
        return self.generation

    def put(self, key: Any, entry: CacheEntry, generation: int) -> None:
        """Cache the entry, unless something was invalidated since `begin` returned this generation."""
        with self.changing:
            if generation != self.generation:
                return
            if len(self.entries) >= MAX_ENTRIES:
                self.forget(None)
            self.entries[key] = entry


def note_uses(entries: Iterable[CacheEntry], now: datetime) -> None:
    """Write to the database, to the minute, when these credentials were used. Raises DatabaseError."""
    instant = time.monotonic()
    due: dict[type[Credential], list[int]] = defaultdict(list)
    for entry in entries:
        entry.is_used = False
        if entry.credential is not None and instant >= entry.noted_at + USE_NOTED_SECONDS:
            entry.noted_at = instant
            due[entry.credential[0]].append(entry.credential[1])
    for kind, ids in due.items():
        kind.note_uses(ids, now)
