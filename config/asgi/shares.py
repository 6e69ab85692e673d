"""Shares of the threads: requests of one credential wait for each other, and hold no thread meanwhile.

So do those of all strangers together, who have none.

Without this, one client with many connections would hold all threads, and everybody would wait. What a person
with several credentials may have is bounded by `config.limits.reads`, which refuses: it is asked on a thread.
Posts of readings have bounds of their own.
"""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from weakref import WeakValueDictionary

from django.conf import settings

from devices.ingestion.post_head import brings_readings

CREDENTIALS = (b"authorization", b"cookie")
Credential = tuple[bytes, ...]


class Shares:
    """Semaphores by credential, each for READS_AT_ONCE requests; one that nobody waits for is forgotten."""

    def __init__(self) -> None:
        self.semaphores: WeakValueDictionary[Credential, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, scope: dict) -> AbstractAsyncContextManager[None]:
        credential = tuple(value for name, value in scope["headers"] if name in CREDENTIALS)
        if not settings.READS_AT_ONCE or brings_readings(scope):
            return nullcontext()
        semaphore = self.semaphores.get(credential)
        if semaphore is None:
            semaphore = self.semaphores[credential] = asyncio.Semaphore(settings.READS_AT_ONCE)
        return semaphore
