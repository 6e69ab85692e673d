"""The last refused post of each device, for the people who connect it: when, with which status, and why.

The gate sees every answer of 400 to 499 to a post for a device, whoever made it. It notes the refusal in
memory, and a thread writes what was noted, every WRITE_SECONDS. So an attacker can neither slow the posts of
others nor write without bounds: a process holds MOST_WAITING devices in each of two boxes, writes each device
once a second at most, and writes nothing for ids that no device has.

Readings that are refused one by one, of a batch with `?partial=true` or of sensors, are noted, too. Their
status is that of the answer, 201 if the others were stored.

There are two boxes, as anybody can be refused for a bad credential: a flood of these must not push out what
is wrong with the readings of a device with a good key.

A reason never holds a credential or a body, but it may hold names of fields, cut to MAX_REASON characters.
"""

import json
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.utils import timezone

from devices.ingestion import decompression
from devices.ingestion.asgi import Headers, Send
from devices.ingestion.checks import Fault, Refused, printable

logger = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
MOST_WAITING = 200
MAX_REASON = 300
MOST_FAULTS = 3
# The faults of a large batch fill megabytes; the first ones stand at the beginning.
READ_BYTES = 4096
# Statuses that follow from the credential and the device alone: everybody can cause them.
OF_CREDENTIAL = frozenset((401, 403, 404, 429))
TEXT = r'"(?:[^"\\]|\\.)*"'
DETAIL = re.compile(rf'"detail":\s*({TEXT})')
FAULT = re.compile(rf'"(field|index)":\s*({TEXT}|\d+),\s*"message":\s*({TEXT})')
CREDENTIAL = re.compile(r"pl[dt]_[0-9a-f]{8}[\w.-]*")
# FOR KEY SHARE and SKIP LOCKED: a device that is being deleted is left out instead of waited for. All
# processes write in the order of ids, so no two wait for each other.
WRITE = """
    WITH refused AS (
        SELECT d.id, r.at, r.status, r.reason, r.total
        FROM unnest(%s::uuid[], %s::timestamptz[], %s::smallint[], %s::text[], %s::bigint[])
            AS r (uuid, at, status, reason, total)
        JOIN devices_device d ON d.uuid = r.uuid
        ORDER BY d.id
        FOR KEY SHARE OF d SKIP LOCKED
    )
    INSERT INTO devices_refusedpost AS kept (device_id, at, status, reason, total)
    SELECT id, at, status, reason, total FROM refused
    ON CONFLICT (device_id) DO UPDATE SET
        at = excluded.at, status = excluded.status, reason = excluded.reason,
        total = kept.total + excluded.total
"""


class RefusedPost(NamedTuple):
    """A device's last refused post; `total` is the number of all until then."""

    at: datetime
    status: int
    reason: str
    total: int


@dataclass(slots=True)
class WaitingRefusal:
    """A refusal that waits to be written; it stands for `total` of its device."""

    at: datetime
    status: int
    reason: str
    total: int = 1


Box = dict[UUID, WaitingRefusal]


class RefusalLog:
    """Notes refusals in one server process. Thread-safe."""

    def __init__(self) -> None:
        self.of_credential: Box = {}
        self.of_content: Box = {}
        self.lock = threading.Lock()
        # Starts no thread before the first refusal.
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="refusals")
        self.closing = threading.Event()
        self.is_writing = False

    def watch(self, device: UUID | None, send: Send) -> Send:
        """Wrap an ASGI `send`: an answer of 400 to 499 to a post for this device is noted."""
        if device is None:
            return send
        refused: list[tuple[int, Headers]] = []

        async def watching(message: dict) -> None:
            if 400 <= message.get("status", 0) < 500:
                refused.append((message["status"], message["headers"]))
            elif refused and message.get("body"):
                status, headers = refused.pop()
                self.note(device, status, reason_of(status, headers, message["body"]))
            await send(message)

        return watching

    def note(self, device: UUID, status: int, reason: str) -> None:
        """Note a refusal and return at once; it is dropped if too many others wait."""
        refusal = WaitingRefusal(timezone.now(), status, reason)
        with self.lock:
            box = self.of_credential if status in OF_CREDENTIAL else self.of_content
            earlier = box.get(device)
            if earlier is None and len(box) >= MOST_WAITING:
                return
            refusal.total += earlier.total if earlier else 0
            box[device] = refusal
            if self.is_writing or self.closing.is_set():
                return
            self.is_writing = True
        self.executor.submit(self.write_later)

    def note_readings(self, status: int, refused: Refused) -> None:
        """Note readings that were refused one by one; `status` is that of the answer to the whole post."""
        for device, faults in refused:
            found = [describe_fault(fault) for fault in faults[: MOST_FAULTS + 1]]
            self.note(device, status, shortened(found))

    def write_later(self) -> None:
        self.closing.wait(WRITE_SECONDS)
        with self.lock:
            boxes = self.of_credential, self.of_content
            self.of_credential, self.of_content, self.is_writing = {}, {}, False
        # Django checks connections at the start of a request; this thread sees none.
        close_old_connections()
        try:
            write(merge(*boxes))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Refused posts were not noted: %s", error)

    def close(self) -> None:
        """Write what has been noted; nothing is noted afterwards."""
        self.closing.set()
        self.executor.shutdown()


def merge(first: Box, second: Box) -> Box:
    """One refusal for each device, the later of two, with the total of both."""
    merged = dict(first)
    for device, refusal in second.items():
        both = [merged[device], refusal] if device in merged else [refusal]
        total = sum(one.total for one in both)
        merged[device] = max(both, key=lambda one: one.at)
        merged[device].total = total
    return merged


def write(refusals: Box) -> None:
    """Store the last refusal of each device; ids of no device are ignored. Raises DatabaseError."""
    found = refusals.values()
    columns: list[Any] = [
        [str(device) for device in refusals],
        [refusal.at for refusal in found],
        [refusal.status for refusal in found],
        [refusal.reason for refusal in found],
        [refusal.total for refusal in found],
    ]
    with connection.cursor() as cursor:
        cursor.execute(WRITE, columns)


def last_refusal(device_id: int) -> RefusedPost | None:
    """The last refused post of a device; None if none was refused."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT at, status, reason, total FROM devices_refusedpost WHERE device_id = %s", [device_id]
        )
        row = cursor.fetchone()
    return RefusedPost(*row) if row else None


def reason_of(status: int, headers: Headers, body: bytes) -> str:
    """The reason in an answer's body, or the phrase of its status if there is none."""
    coding = dict(headers).get(b"content-encoding", b"").decode("latin-1")
    try:
        text = decompression.decompress(body, coding)[:READ_BYTES]
    except (decompression.UnsupportedCoding, decompression.CorruptBody, decompression.DecompressedTooLarge):
        text = b""
    return reason_in(text.decode(errors="replace")) or HTTPStatus(status).phrase


def reason_in(problem: str) -> str:
    """The first faults in the beginning of a problem document, or its `detail`; empty if it has neither."""
    faults = [describe(*found.groups()) for found in FAULT.finditer(problem)]
    detail = DETAIL.search(problem)
    return shortened(faults or [json.loads(detail[1]) if detail else ""])


def shortened(faults: list[str]) -> str:
    """The first faults as one text that holds no credential."""
    reason = " ".join(faults[:MOST_FAULTS]) + (" …" if len(faults) > MOST_FAULTS else "")
    reason = CREDENTIAL.sub("(a credential)", printable(reason.replace("\0", "")))
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"


def describe_fault(fault: Fault) -> str:
    return f"item {fault['index']}: {fault['message']}"


def describe(kind: str, place: str, message: str) -> str:
    where = f"item {place}" if kind == "index" else json.loads(place)
    return f"{where}: {json.loads(message)}" if where != "body" else json.loads(message)
