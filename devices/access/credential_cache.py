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

# After a question whether it holds what is kept is good for so long, and the next one due after so long.
TRUSTED_SECONDS = 4.0
CHECK_SECONDS = 1.5
# A process that has not asked for so long forgets everything: the log of changes is not kept for ever.
CHANGES_LOGGED_SECONDS = 30 * 60
# More than so many entries are not kept, only looked up again.
MAX_ENTRIES = 200_000
USE_NOTED_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class CacheEntry:
    """`until`, in monotonic seconds, is the end of a credential; `about` is what it depends on."""

    value: Any
    about: tuple[Subject, ...]
    until: float = math.inf
    # For when it was last used; none for what is no credential.
    credential: tuple[type[Credential], int] | None = None
    noted_at: float = 0.0
    is_used: bool = False


class CredentialCache:
    """What was looked up. Safe among threads."""

    def __init__(self) -> None:
        self.entries: dict[Any, CacheEntry] = {}
        # Each time that something is forgotten it is another.
        self.generation = 0
        self.state = credential_changes.state()
        self.seen = ""
        self.asked_at = self.good_until = -math.inf
        self.used: list[CacheEntry] = []
        self.lock = threading.Lock()
        # What is put must not be of before what is forgotten.
        self.changing = threading.RLock()

    def get(self, key: Any) -> Any:
        return self.look(key)[0]

    def look(self, key: Any) -> tuple[Any, bool]:
        """What is kept and is known to hold, and whether it is time to `confirm` that."""
        entry = self.entries.get(key)
        now = time.monotonic()
        if entry is None or now >= self.good_until or now >= entry.until or self.is_doubtful:
            return None, True
        if not entry.is_used:
            entry.is_used = True
            self.used.append(entry)
        return entry.value, now >= self.asked_at + CHECK_SECONDS

    @property
    def is_doubtful(self) -> bool:
        """Something was changed on this host since the database was asked."""
        return credential_changes.state() != self.state

    def confirm(self) -> None:
        """Ask the database what was changed, unless that was just done, and forget that.

        Raises DatabaseError.
        """
        with self.lock:
            begun, state = time.monotonic(), credential_changes.state()
            if state == self.state and begun < min(self.asked_at + CHECK_SECONDS, self.good_until):
                return
            news = credential_changes.changes_since(
                self.seen if begun < self.asked_at + CHANGES_LOGGED_SECONDS else ""
            )
            self.forget(news.changed)
            self.seen, self.state, self.asked_at = news.seen, state, begun
            self.good_until = begun + TRUSTED_SECONDS
            used, self.used = self.used, []
        note_uses(used, timezone.now())

    def forget(self, changed: set[Subject] | None) -> None:
        """What is about these; None: all."""
        with self.changing:
            if changed is None:
                self.entries, self.generation = {}, self.generation + 1
            elif changed:
                entries = self.entries.items()
                self.entries = {key: entry for key, entry in entries if changed.isdisjoint(entry.about)}
                self.generation += 1

    def begin(self) -> int:
        """To be asked before a look-up: what is changed from here on that may not have seen."""
        return self.generation

    def put(self, key: Any, entry: CacheEntry, begun: int) -> None:
        with self.changing:
            if begun != self.generation:
                return
            if len(self.entries) >= MAX_ENTRIES:
                self.forget(None)
            self.entries[key] = entry


def note_uses(entries: Iterable[CacheEntry], now: datetime) -> None:
    """Write down, to the minute, that these were used. Raises DatabaseError."""
    instant = time.monotonic()
    due: dict[type[Credential], list[int]] = defaultdict(list)
    for entry in entries:
        entry.is_used = False
        if entry.credential is not None and instant >= entry.noted_at + USE_NOTED_SECONDS:
            entry.noted_at = instant
            due[entry.credential[0]].append(entry.credential[1])
    for kind, ids in due.items():
        kind.note_uses(ids, now)
