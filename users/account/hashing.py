"""Password hashes, of which a process computes a few at a time.

A hash takes half a second of CPU on purpose. Log-ins, changed and forgotten passwords and accepted
invitations all end here: a flood of any of them takes a few threads of the web server, and the others answer.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Semaphore
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import PBKDF2PasswordHasher

PATIENCE_SECONDS = 5.0
RETRY_SECONDS = 5


class TooManyHashes(Exception):
    """So many passwords are being checked that this one is not."""


class Places:
    """Lets `at_once` callers work and as many wait for PATIENCE_SECONDS; all others are turned away."""

    def __init__(self, at_once: int) -> None:
        self.most = 2 * at_once
        self.admitted = 0
        self.lock = Lock()
        self.working = Semaphore(at_once)

    def refuse_if_full(self) -> None:
        """Raises TooManyHashes: what would need a place soon need not begin."""
        if self.admitted >= self.most:
            raise TooManyHashes

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place. Raises TooManyHashes."""
        with self.lock:
            self.refuse_if_full()
            self.admitted += 1
        try:
            if not self.working.acquire(timeout=PATIENCE_SECONDS):
                raise TooManyHashes
            try:
                yield
            finally:
                self.working.release()
        finally:
            with self.lock:
                self.admitted -= 1


places = Places(settings.PASSWORD_HASHES)


class BoundedHasher(PBKDF2PasswordHasher):
    """Django's own hasher, within the bound. Its hashes are the same."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> Any:
        """Raises TooManyHashes."""
        with places.one():
            return super().encode(password, salt, iterations)
