"""The address of a client, behind as many proxies as the setting TRUSTED_PROXIES says."""

from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

# A provider gives a customer a whole network of this size, so its addresses count as one.
IPV6_PREFIX = 64


def client_address(request: HttpRequest) -> str:
    """Return the address that the outermost trusted proxy saw; without proxies, that of the connection.

    Each proxy appends the address of its peer to X-Forwarded-For. What stands further left is the client's
    own claim and is never believed.
    """
    return address_behind_proxies(
        request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    )


def address_behind_proxies(peer: str, forwarded: str) -> str:
    """Return the client's address from that of the connection and the X-Forwarded-For header.

    This is the only place that reads the header: pages, limits and the gate of readings ask here.
    """
    hops = settings.TRUSTED_PROXIES
    entries = forwarded.split(",") if hops else []
    seen = entries[-hops:][0] if entries else ""
    return valid_address(seen) or valid_address(peer) or "0.0.0.0"  # noqa: S104


def valid_address(text: str) -> str:
    """Return the address in its shortest form, without a port; empty if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        # A scope such as %eth0 is no part of what the database stores.
        address = ip_address(str(address).partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
    return str(address)


def counted_address(request: HttpRequest) -> str:
    """Return the address under which wrong passwords are counted: of IPv6 the customer's network."""
    return network_of(client_address(request))


def network_of(address: str) -> str:
    return str(ip_network(f"{address}/{IPV6_PREFIX}", strict=False)[0]) if ":" in address else address
