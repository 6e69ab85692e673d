"""ASGI types, and the state and the id of one request that the layers of the server share.

The HTTP protocol imports this module before Django is set up: it must not import models.
"""

import re
import secrets
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devices.access.grants import Grant
    from devices.ingestion.checks import Refused
    from devices.ingestion.idempotency import IdempotencyClaim
    from devices.ingestion.intake import Intake

Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[dict]]
Send = Callable[[dict], Awaitable[None]]
Application = Callable[[dict, Receive, Send], Awaitable[None]]
STATE_KEY = "plumbline"
REQUEST_ID = b"x-request-id"
# What a caller's id may be: it stands in logs and on pages.
PLAIN_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
# A counter behind a mark of the process: drawing a random id for each reading would cost ten times as much.
PROCESS_MARK = secrets.token_hex(5).encode()
request_numbers = count(1)
# The id of the request that this thread or task answers; empty outside of requests.
current_request_id: ContextVar[str] = ContextVar("request_id", default="")


@dataclass(slots=True)
class DeferredStore:
    """Rows that a view on the event loop leaves for the gate to store before its answer is sent."""

    intake: "Intake | None" = None
    claim: "IdempotencyClaim | None" = None


@dataclass(slots=True)
class RequestState:
    """The state of one request, shared by HTTP protocol, gate, thread adapter and REST view."""

    # From the protocol: the head's bytes if they came in one piece, and how many bytes of the body with them.
    head: bytes = b""
    body_bytes: int = 0
    # From the gate: RateLimit-* of a request that has been counted.
    rate: Headers | None = None
    # From the gate: the sender's permission, checked a moment ago.
    grant: "Grant | None" = None
    # From the gate: the view runs on the event loop, must not wait, and leaves its rows here.
    deferred: DeferredStore | None = None
    # From the view: the answer's status, and faults of readings that it refused one by one.
    refused: "tuple[int, Refused]" = (0, ())


def request_state(scope: dict) -> RequestState:
    """The state of the request that this ASGI scope, or a copy of it, belongs to."""
    # uvicorn makes one dict per request; copies of a scope share it.
    shared = scope.setdefault("state", {})
    found = shared.get(STATE_KEY)
    if found is None:
        found = shared[STATE_KEY] = RequestState()
    return found


def new_request_id() -> bytes:
    return b"%b-%x" % (PROCESS_MARK, next(request_numbers))


def request_id(headers: Headers) -> bytes:
    """The caller's X-Request-ID if it is short and plain, else a new one."""
    given = next((value for name, value in headers if name == REQUEST_ID), b"")
    return given if PLAIN_ID.fullmatch(given) else new_request_id()


async def read_body(receive: Receive) -> bytes | None:
    """Read the whole body, whose length was checked; None if the client left."""
    message = await receive()
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return None if message["type"] == "http.disconnect" else b"".join(parts)


async def collect_message(answer: list[dict], message: dict) -> None:
    """Append the message: bound to a list, a `send` for an answer that is sent later or not at all."""
    answer.append(message)


def replay_body(body: bytes, receive: Receive) -> Receive:
    """Make a `receive` that returns the body first and then what `receive` returns."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict:
        return messages.pop() if messages else await receive()

    return replay
