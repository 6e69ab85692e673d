import hashlib
import math
import time
from collections.abc import Awaitable, Callable

from devices.access.credential_cache import MAX_ENTRIES

FAILURES_PER_MINUTE = 20
Send = Callable[[dict], Awaitable[None]]


class FailedAttempts:
    """Refuses credentials that failed FAILURES_PER_MINUTE times, until the minute is over, without a look-up.

    Counted by credential, in each process. Not by address: behind a proxy all devices have the same one, and
    those with good keys must not suffer for a bad one.
    """

    REFUSAL = "This credential was refused too often; wait as long as Retry-After says."

    def __init__(self) -> None:
        # By the digest of the header, which may be long: the end of its minute, and the number of failures.
        self.entries: dict[bytes, tuple[float, int]] = {}

    def note(self, authorization: bytes) -> None:
        if len(self.entries) >= MAX_ENTRIES:
            self.entries.clear()
        digest, now = hashlib.sha256(authorization).digest(), time.monotonic()
        end, count = self.entries.get(digest, (0.0, 0))
        self.entries[digest] = (end, count + 1) if now < end else (now + 60, 1)

    def wait_seconds(self, authorization: bytes) -> int:
        """Return how long the credential must wait; 0 if it may be tried."""
        end, count = self.entries.get(hashlib.sha256(authorization).digest(), (0.0, 0))
        return max(0, math.ceil(end - time.monotonic())) if count >= FAILURES_PER_MINUTE else 0

    def watch(self, authorization: bytes, send: Send) -> Send:
        """Wrap an ASGI `send`: if the answer is that the credential is bad, it is noted."""

        async def watching(message: dict) -> None:
            if message.get("status") == 401:
                self.note(authorization)
            await send(message)

        return watching
