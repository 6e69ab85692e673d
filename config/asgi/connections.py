"""How many connections a process of `web` has: without a bound one client takes all files that it may open.

At a bound those that have been idle for longest make room. This costs nothing per request, and next to
nothing per connection until a bound is met.
"""

import resource
from contextlib import suppress
from typing import Any, Protocol

from users.account.addresses import network_of, valid_address

# Files of a process that are no clients: databases, Redis, uploads under way.
OWN_FILES = 256
MOST_FILES = 65_536
# This part of an address's connections makes room at once: to look for the idle ones takes milliseconds.
ROOM = 16
# After a search that found none.
PAUSE_SECONDS = 1.0


class BoundedConnection(Protocol):
    # When it was made or bytes came, by the event loop's clock.
    heard_at: float

    @property
    def transport(self) -> Any: ...

    @property
    def is_our_turn(self) -> bool: ...


class Connections:
    """The connections of a process: `most` in all, and half of them of one address.

    Behind a proxy, whose address all have, one address may have `most`.
    """

    def __init__(self, most: int, *, is_behind_proxy: bool = False) -> None:
        self.most = most
        self.most_of_address = most if is_behind_proxy else -(-most // 2)
        self.networks: dict[BoundedConnection, str] = {}
        self.crowds: dict[str, set[BoundedConnection]] = {}
        self.full_until = 0.0

    def add(self, connection: BoundedConnection, address: str) -> bool:
        """Count a connection that was just made; False if there is no room for it."""
        network, now = network_of(valid_address(address)), connection.heard_at
        if self.is_full_of(network):
            self.make_room(network, now)
        if len(self.networks) >= self.most:
            self.make_room(max(self.crowds, key=lambda each: len(self.crowds[each])), now)
        if len(self.networks) >= self.most or self.is_full_of(network):
            return False
        self.networks[connection] = network
        self.crowds.setdefault(network, set()).add(connection)
        return True

    def is_full_of(self, network: str) -> bool:
        return len(self.crowds.get(network, ())) >= self.most_of_address

    def remove(self, connection: BoundedConnection) -> None:
        """Forget a connection that has ended; one that is not counted is ignored."""
        network = self.networks.pop(connection, None)
        if network is not None:
            self.crowds[network].remove(connection)
            if not self.crowds[network]:
                del self.crowds[network]

    def make_room(self, network: str, now: float) -> None:
        """End the connections of a network that have been idle for longest, if any is idle."""
        if now < self.full_until:
            return
        crowd = self.crowds[network]
        idle = sorted((each for each in crowd if not each.is_our_turn), key=lambda each: each.heard_at)
        if not idle:
            self.full_until = now + PAUSE_SECONDS
        for connection in idle[: -(-len(crowd) // ROOM)]:
            self.remove(connection)
            connection.transport.abort()


def allow_files() -> None:
    """Let this process and those that it starts open MOST_FILES, or as many as the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS may grant fewer than it says.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def within_files(wanted: int) -> int:
    """Return how many of the wanted connections this process has files for; one at least."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - OWN_FILES))
