"""Counts of what may happen thousands of times a second, so that the trail gets few rows of it."""

import time
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Generic, TypeVar

WINDOW_SECONDS = 60
# Keys that a process tells apart in a window; what comes then counts under one. Each may make two rows.
MOST_KEYS = 30

Key = TypeVar("Key", bound=Hashable)


@dataclass
class Count:
    """How often something happened again after its first time, and when last."""

    times: int
    until: datetime


class Tally(Generic[Key]):
    """The first of each key in a window is to be written at once, the others as one row after the window."""

    def __init__(self, others: Key) -> None:
        self.others = others
        self.lock = Lock()
        self.counts: dict[Key, Count] = {}
        self.end = 0.0

    def is_first(self, key: Key, now: datetime) -> bool:
        """Count `key`; return whether the caller writes it."""
        with self.lock:
            if not self.counts:
                self.end = time.monotonic() + WINDOW_SECONDS
            if key not in self.counts and len(self.counts) < MOST_KEYS:
                self.counts[key] = Count(0, now)
                return True
            count = self.counts.setdefault(key if key in self.counts else self.others, Count(0, now))
            count.times += 1
            count.until = now
            return False

    def is_due(self) -> bool:
        return bool(self.counts) and time.monotonic() >= self.end

    def take(self) -> list[tuple[Key, Count]]:
        """End the window; return what happened again in it."""
        with self.lock:
            counts, self.counts = self.counts, {}
        return [(key, count) for key, count in counts.items() if count.times]
