import hashlib
from typing import Any, NamedTuple

import msgspec

MAX_KEY = 255


class IdempotencyConflict(Exception):
    """The Idempotency-Key was used for another body."""


class IdempotencyClaim(NamedTuple):
    """An Idempotency-Key: whose, which, and a digest of the path and the body that it stands for."""

    holder: str
    key: str
    digest: bytes

    @classmethod
    def of(cls, holder: str, key: str, path: str, body: bytes) -> "IdempotencyClaim":
        return cls(holder, key, hashlib.sha256(path.rstrip("/").encode() + b"\0" + body).digest())

    @property
    def token(self) -> str:
        """For a storage that cannot store the rows in the transaction that keeps the key."""
        return hashlib.sha256(b"\0".join((self.holder.encode(), self.key.encode(), self.digest))).hexdigest()


def is_valid_key(text: str) -> bool:
    """Whether the text may be an Idempotency-Key."""
    return 0 < len(text) <= MAX_KEY and text.isascii() and text.isprintable()


# The request's own receipt or the first one of its Idempotency-Key; or why it was not stored.
Outcome = dict[str, Any] | Exception


def first_receipt(once: IdempotencyClaim, digest: bytes, receipt: bytes) -> Outcome:
    if digest != once.digest:
        return IdempotencyConflict("This Idempotency-Key was used for another request.")
    return msgspec.json.decode(receipt)
