import hashlib
import math
import time

from devices.access.credential_cache import (
    MAX_ENTRIES,
)

FAILURES_PER_MINUTE = 20


class FailedAttempts:
    """Credentials that were refused again and again are, until their minute is over, not even looked up.

    Counted by credential, in each process: behind a proxy all devices have one address, and those with good
    keys must not suffer for the one without.
    """

    REFUSAL = "This credential was refused too often; wait as long as Retry-After says."

    def __init__(self) -> None:
        # By the digest of the header, as a header may be long: until when, and how often.
        self.entries: dict[bytes, tuple[float, int]] = {}

    def note(self, authorization: bytes) -> None:
        if len(self.entries) >= MAX_ENTRIES:
            self.entries.clear()
        digest, now = hashlib.sha256(authorization).digest(), time.monotonic()
        until, count = self.entries.get(digest, (0.0, 0))
        self.entries[digest] = (until, count + 1) if now < until else (now + 60, 1)

    def wait_seconds(self, authorization: bytes) -> int:
        """Until the credential may be tried again; 0: it may."""
        until, count = self.entries.get(hashlib.sha256(authorization).digest(), (0.0, 0))
        return max(0, math.ceil(until - time.monotonic())) if count >= FAILURES_PER_MINUTE else 0
