"""Whom an open demo answers: this computer and private networks, unless DEMO_NETWORKS tells otherwise.

A client from beyond this computer is let in from those networks, and from then on every page says so.
"""

import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest

from users.account.addresses import valid_address

logger = logging.getLogger(__name__)

# In the demo's folder: the first client from beyond this computer. Both web processes see it.
REACHED = "reached-from"
# Engines put one of these into each container. There the gateway is the computer that runs the container.
CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
ROUTES = Path("/proc/net/route")
DEFAULT_ROUTE = re.compile(r"^\S+\s+0{8}\s+([0-9A-F]{8})\s", re.MULTILINE)
ADVICE = (
    "This demo is open, so it answers to private networks only. DEMO_NETWORKS names others; for real use"
    " start the command web in place of demo."
)


def addresses_of(request: HttpRequest) -> set[str]:
    """Every address that a request shows: of the connection, and those that proxies have noted.

    None is believed to be the only one: who forges the header makes it worse for themselves.
    """
    noted = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    found = {valid_address(text) for text in (request.META.get("REMOTE_ADDR", ""), *noted)}
    return found - {""}


def lets_in(addresses: Iterable[str]) -> bool:
    return all(is_near(address) for address in addresses)


@lru_cache(4096)
def is_near(address: str) -> bool:
    """Return whether the demo answers this address; what is no address, such as a socket's path, is local."""
    plain = valid_address(address)
    if not plain:
        return True
    found = ip_address(plain)
    return found.is_loopback or any(found in network for network in settings.DEMO_NETWORKS)


def note_clients(addresses: Iterable[str]) -> None:
    """Log the clients from beyond this computer, each once, and remember that there was one."""
    for address in addresses:
        note_client(address)


@lru_cache(1000)
def note_client(address: str) -> None:
    if ip_address(address).is_loopback or address == host_of_container():
        return
    outcome = "has full access without credentials" if is_near(address) else "was refused"
    logger.warning("DEMO MODE: %s, beyond this computer, %s. %s", address, outcome, ADVICE)
    if is_near(address) and not reached().exists():
        reached().write_text(f"{address}\n")


@lru_cache(1)
def host_of_container() -> str:
    """The address by which a container's host reaches it; empty outside of containers."""
    if not any(mark.exists() for mark in CONTAINER_MARKS) or not ROUTES.exists():
        return ""
    route = DEFAULT_ROUTE.search(ROUTES.read_text())
    return str(ip_address(bytes.fromhex(route[1])[::-1])) if route else ""


def reached() -> Path:
    return Path(settings.DATA, REACHED)


def reached_from() -> str:
    """The first client from beyond this computer since the demo's start; empty if there was none."""
    try:
        return reached().read_text().strip()
    except FileNotFoundError:
        return ""
