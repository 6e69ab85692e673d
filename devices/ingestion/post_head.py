"""The head of an ingestion POST as the gate reads it, and the memory of accepted heads."""

import re
from itertools import product
from typing import NamedTuple, Protocol
from uuid import UUID

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from devices.ingestion.asgi import REQUEST_ID, request_state
from devices.ingestion.decoding import MAX_BYTES
from devices.ingestion.idempotency import is_valid_key
from devices.timeline.unix_time import PRECISIONS, SECOND

# The same as Django's converter; the class UUID takes hyphens anywhere.
UUID_TEXT = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
POST_PATH = re.compile(rf"/(?:devices/({UUID_TEXT})/stats(/batch)?|data)/?", re.ASCII)
MEDIA_TYPES = (b"application/json", b"application/json; charset=utf-8")
PARTIAL = {b"": False, b"partial=false": False, b"partial=true": True}
UNITS = {b"": SECOND} | {b"precision=%b" % name.encode(): unit for name, unit in PRECISIONS.items()}
# Query strings of an ordinary POST: whether they ask for partial=true, and the unit of stamps as numbers.
QUERIES = {
    b"&".join(filter(None, parts)): (PARTIAL[one], UNITS[other])
    for one, other in product(PARTIAL, UNITS)
    for parts in ((one, other), (other, one))
}
PROTO = b"x-forwarded-proto"
READ_HEADERS = (
    *(b"host", b"authorization", b"content-type", b"content-length", b"idempotency-key"),
    PROTO,
)
# Django answers an unknown cookie by deleting it, so a request with a cookie is not ordinary.
UNUSUAL_HEADERS = (b"content-encoding", b"transfer-encoding", b"cookie")
# The headers that tell whether a view can answer without waiting. With either of CODED_HEADERS it cannot.
CODED_HEADERS = (b"transfer-encoding", b"content-encoding")
GRANT_HEADERS = (b"authorization", b"content-length", PROTO, *CODED_HEADERS)
MAX_KNOWN_HOSTS = 1000
MAX_HEADS = 50_000
MAX_HEAD_BYTES = 1024
# Headers that may end the connection or change its protocol.
CONNECTION_HEADERS = (b"connection", b"upgrade", b"expect")


class AllowedHosts:
    """Host headers that Django allows."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()

    def __contains__(self, host: bytes) -> bool:
        return host in self.known or self.is_allowed(host)

    def is_allowed(self, host: bytes) -> bool:
        name, _port = split_domain_port(host.decode("latin-1"))
        allowed = bool(name) and validate_host(name, settings.ALLOWED_HOSTS)
        # Bounded: clients can make up any number of ports.
        if allowed and len(self.known) < MAX_KNOWN_HOSTS:
            self.known.add(host)
        return allowed


class PostHead(NamedTuple):
    """The head of an ordinary POST; without a `device` it brings readings of sensors."""

    path: str
    device: UUID | None
    is_batch: bool
    is_partial: bool
    unit: int
    authorization: bytes
    key: str | None

    @classmethod
    def parse(cls, scope: dict, hosts: AllowedHosts) -> "PostHead | None":
        """Read the head from an ASGI scope; None if it is not ordinary."""
        match = POST_PATH.fullmatch(scope["path"])
        query = QUERIES.get(scope["query_string"])
        headers = ordinary_headers(scope["headers"])
        if match is None or query is None or headers is None:
            return None
        length, key = headers.get(b"content-length", b""), headers.get(b"idempotency-key")
        if not (
            b"authorization" in headers
            and not came_in_clear(headers)
            and headers.get(b"content-type", b"").lower() in MEDIA_TYPES
            and length.isdigit()
            and int(length) <= MAX_BYTES
            and headers.get(b"host", b"") in hosts
            and (key is None or is_valid_key(key.decode("latin-1")))
        ):
            return None
        device, batch = match[1], match[2]
        is_single = device is not None and batch is None
        if is_single and b"partial" in scope["query_string"]:
            return None
        uuid = UUID(device) if device else None
        authorization = headers[b"authorization"]
        key_text = None if key is None else key.decode()
        return cls(scope["path"], uuid, not is_single, *query, authorization, key_text)


def posted_device(path: str) -> UUID | None:
    """The device that a post to this path brings readings of; None for other paths."""
    match = POST_PATH.fullmatch(path)
    return UUID(match[1]) if match and match[1] else None


def brings_readings(scope: dict) -> bool:
    """Tell whether a request posts readings, of a device or of sensors."""
    return scope["method"] == "POST" and POST_PATH.fullmatch(scope["path"]) is not None


def ordinary_headers(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes] | None:
    """Select the READ_HEADERS; None if one comes twice or an unusual one is among the headers."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in UNUSUAL_HEADERS or name in found:
            return None
        if name in READ_HEADERS:
            found[name] = value
    return found


def came_in_clear(headers: dict[bytes, bytes]) -> bool:
    """Tell whether a credential came over plain HTTP where HTTPS is demanded: the view refuses it."""
    return settings.HTTPS and headers.get(PROTO, b"").partition(b",")[0].strip() != b"https"


def small_post_sender(scope: dict, max_bytes: int) -> tuple[bytes, UUID] | None:
    """Authorization header and device of a POST of at most `max_bytes` that is neither chunked nor coded.

    None for all other requests: their answer may have to wait.
    """
    match = POST_PATH.fullmatch(scope["path"])
    if match is None or match[1] is None:
        return None
    found = [header for header in scope["headers"] if header[0] in GRANT_HEADERS]
    headers = dict(found)
    length = headers.get(b"content-length", b"")
    if len(headers) < len(found) or not length.isdigit() or int(length) > max_bytes:
        return None
    if b"authorization" not in headers or not headers.keys().isdisjoint(CODED_HEADERS):
        return None
    if came_in_clear(headers):
        return None
    return headers[b"authorization"], UUID(match[1])


class KnownHead(NamedTuple):
    """The head of an accepted POST for one device, without an Idempotency-Key."""

    post: PostHead
    body_bytes: int


class KnownConnection(Protocol):
    """The connection of a request with a known head."""

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """Send an answer; `lines` are its headers, all but the length."""

    def start_over(self) -> None:
        """Parse the request after all: nothing has been stored."""


class KnownHeads(dict[bytes, KnownHead]):
    """Accepted heads by their bytes: a device's next request mostly has the same one and is not parsed."""

    def remember(self, scope: dict, post: PostHead, body_bytes: int) -> None:
        """Add the head of an accepted request, if later requests with it can be taken the same way."""
        state = request_state(scope)
        if not 0 < len(state.head) <= MAX_HEAD_BYTES:
            return
        # The head must have come alone, or in one piece with its body.
        if state.body_bytes not in (0, body_bytes):
            return
        if post.device is None or post.key is not None or scope["http_version"] != "1.1":
            return
        headers = scope["headers"]
        # Sent back, it belongs to one request alone.
        if any(name == REQUEST_ID for name, _ in headers):
            return
        if any(name in CONNECTION_HEADERS and value.lower() != b"keep-alive" for name, value in headers):
            return
        if len(self) >= MAX_HEADS:
            self.clear()
        self[state.head] = KnownHead(post, body_bytes)
