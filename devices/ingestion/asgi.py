from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from devices.ingestion.idempotency import (
    IdempotencyClaim,
)
from devices.ingestion.intake import Intake

Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[dict]]
Send = Callable[[dict], Awaitable[None]]
Application = Callable[[dict, Receive, Send], Awaitable[None]]
# In the state of its scope: the view is on the event loop and must not wait; it leaves its rows there.
AT_ONCE = "at_once"


async def read_body(receive: Receive) -> bytes | None:
    """The whole body, whose length was checked; None if the client left."""
    message = await receive()
    body = message.get("body", b"")
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return None if message["type"] == "http.disconnect" else b"".join(parts)


async def collect_message(answer: list[dict], message: dict) -> None:
    """A `send` for what is sent later."""
    answer.append(message)


def replay_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out the body once more, and then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict:
        return messages.pop() if messages else await receive()

    return replay


@dataclass(slots=True)
class DeferredStore:
    """What a view that must not wait leaves to be stored before its answer is sent."""

    taken: Intake | None = None
    once: IdempotencyClaim | None = None
