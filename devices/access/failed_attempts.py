import hashlib
import math
import time
from collections.abc import Awaitable, Callable

from devices.access.credential_cache import MAX_ENTRIES
from users.account.addresses import address_behind_proxies, network_of

FAILURES_PER_MINUTE = 20
# So many that no honest fleet behind one address has them: with good keys it must not suffer for a bad one.
ADDRESS_FAILURES_PER_MINUTE = 6000
Send = Callable[[dict], Awaitable[None]]


class MinuteCounts:
    """Failures of each key in its minute, which begins with its first failure."""

    def __init__(self, most: int) -> None:
        self.most = most
        # The end of its minute, and the number of failures.
        self.entries: dict[bytes, tuple[float, int]] = {}

    def note(self, key: bytes) -> None:
        if len(self.entries) >= MAX_ENTRIES:
            self.entries.clear()
        now = time.monotonic()
        end, count = self.entries.get(key, (0.0, 0))
        self.entries[key] = (end, count + 1) if now < end else (now + 60, 1)

    def wait_seconds(self, key: bytes) -> int:
        end, count = self.entries.get(key, (0.0, 0))
        return max(0, math.ceil(end - time.monotonic())) if count >= self.most else 0


class FailedAttempts:
    """Refuses credentials that failed too often, until their minute is over, without a look-up.

    Counted in each process: by credential, and with a far higher bound by address, against those who make
    credentials up. Only what is not known as good is refused: see the gate.
    """

    REFUSAL = "Credentials like this one were refused too often; wait as long as Retry-After says."

    def __init__(self) -> None:
        # By the digest of the header, which may be long.
        self.by_credential = MinuteCounts(FAILURES_PER_MINUTE)
        self.by_address = MinuteCounts(ADDRESS_FAILURES_PER_MINUTE)

    def note(self, authorization: bytes, address: str) -> None:
        self.by_credential.note(digest(authorization))
        self.by_address.note(address.encode())

    def wait_seconds(self, authorization: bytes, address: str) -> int:
        """Return how long the credential must wait; 0 if it may be tried."""
        of_address = self.by_address.wait_seconds(address.encode())
        return max(of_address, self.by_credential.wait_seconds(digest(authorization)))

    def watch(self, authorization: bytes, address: str, send: Send) -> Send:
        """Wrap an ASGI `send`: if the answer is that the credential is bad, it is noted."""

        async def watching(message: dict) -> None:
            if message.get("status") == 401:
                self.note(authorization, address)
            await send(message)

        return watching


def digest(authorization: bytes) -> bytes:
    return hashlib.sha256(authorization).digest()


def sender_address(scope: dict) -> str:
    """Return the address of an ASGI request's client, of IPv6 the customer's network."""
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    peer = scope["client"][0] if scope.get("client") else ""
    return network_of(address_behind_proxies(peer, forwarded.decode("latin-1")))
