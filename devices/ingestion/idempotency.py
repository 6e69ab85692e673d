"""Idempotency-Keys: the first request of a key is stored, later ones get its receipt."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from devices import storage
from devices.timeline.unix_time import SECOND

if TYPE_CHECKING:
    from devices.ingestion.flusher import Outcome, Outcomes, PendingWrite

    ClaimedWrite = PendingWrite["IdempotencyClaim"]

MAX_KEY = 255


class IdempotencyConflict(Exception):
    """The Idempotency-Key was used for another body."""


class IdempotencyClaim(NamedTuple):
    """An Idempotency-Key: its holder, its text, and a digest of the request that it was sent with.

    The digest is of the path, the unit of stamps as numbers, and the body.
    """

    holder: str
    key: str
    digest: bytes

    @classmethod
    def of(cls, holder: str, key: str, path: str, body: bytes, unit: int = SECOND) -> "IdempotencyClaim":
        target = path.rstrip("/") + (f"?{unit}" if unit != SECOND else "")
        return cls(holder, key, hashlib.sha256(target.encode() + b"\0" + body).digest())

    @property
    def token(self) -> str:
        """The deduplication token for a storage outside the transaction that stores the key."""
        return hashlib.sha256(b"\0".join((self.holder.encode(), self.key.encode(), self.digest))).hexdigest()


def is_valid_key(text: str) -> bool:
    return 0 < len(text) <= MAX_KEY and text.isascii() and text.isprintable()


def write_claimed(cursor: Any, requests: Sequence["ClaimedWrite"]) -> tuple["Outcomes", list["ClaimedWrite"]]:
    """Store each Idempotency-Key's first use, within a transaction of this cursor of psycopg2's or Django's.

    Returns an outcome for each request, and the requests whose rows the transaction stores. Raises
    RepeatTransaction, see `Storage.put`.
    """
    first: dict[tuple[str, str], ClaimedWrite] = {}
    for request in requests:
        first.setdefault(request.once[:2], request)
    new = insert_keys(cursor, first)
    stored = [request for at, request in first.items() if at in new]
    if stored:
        tokens = [request.once.token for request in stored]
        storage.current().put(cursor.connection, [request.taken.rows for request in stored], tokens)
    receipts = find_receipts(cursor, first)
    return [first_receipt(request.once, *receipts[request.once[:2]]) for request in requests], stored


def insert_keys(cursor: Any, first: dict[tuple[str, str], "ClaimedWrite"]) -> set[tuple[str, str]]:
    """Return the keys that were new."""
    # In one order everywhere: two groups that wait for each other's keys would be a deadlock.
    rows = [
        (*at, first[at].once.digest, msgspec.json.encode(first[at].taken.receipt)) for at in sorted(first)
    ]
    cursor.execute(
        "INSERT INTO devices_idempotencykey (holder, key, digest, receipt, created_at)"
        f" VALUES {', '.join(['(%s, %s, %s, %s, now())'] * len(rows))}"
        " ON CONFLICT DO NOTHING RETURNING holder, key",
        [value for row in rows for value in row],
    )
    return set(cursor.fetchall())


def find_receipts(cursor: Any, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[bytes, bytes]]:
    """Digest and receipt of each key."""
    cursor.execute(
        "SELECT holder, key, digest, receipt FROM devices_idempotencykey WHERE (holder, key) IN %s",
        [tuple(keys)],
    )
    return {(holder, key): (bytes(digest), bytes(receipt)) for holder, key, digest, receipt in cursor}


def first_receipt(claim: IdempotencyClaim, digest: bytes, receipt: bytes) -> "Outcome":
    if digest != claim.digest:
        return IdempotencyConflict("This Idempotency-Key was used for another request.")
    return msgspec.json.decode(receipt)
