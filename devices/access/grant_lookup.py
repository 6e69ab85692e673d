"""The gate's way to `grants`, which checks device keys and tokens: from the cache, or on a thread."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django.db import DatabaseError, InterfaceError

from devices.access import grants
from devices.access.coalescing import Coalescer
from devices.access.grants import Grant, GrantKey

logger = logging.getLogger(__name__)


class GrantLookup:
    """Finds permissions for an event loop: in the cache, else on a thread, many with one look-up."""

    def __init__(self, run_in_thread: Callable[..., Awaitable[Any]]) -> None:
        self.run_in_thread = run_in_thread
        self.pending = Coalescer(self.look_up)

    def find(self, grant_key: GrantKey) -> Grant | None:
        """Return the cached permission without waiting, and have the cache checked if that is due."""
        grant, is_due = grants.cache.find(grant_key)
        if grant is not None and is_due and not self.pending.is_busy:
            self.pending.ask(grant_key)
        return grant

    async def fetch(self, grant_key: GrantKey) -> Grant | None:
        """Look the permission up. None if there is none, or the database does not answer."""
        await self.pending.ask(grant_key).wait()
        return grants.cache.get(grant_key)

    async def look_up(self, grant_keys: list[GrantKey]) -> None:
        try:
            await self.run_in_thread(grants.look_up_grants, grant_keys)
        except (DatabaseError, InterfaceError) as error:
            # The view looks them up again and describes the error.
            logger.warning("Credentials could not be looked up: %s", error)
