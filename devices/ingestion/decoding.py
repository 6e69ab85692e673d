"""JSON bodies to items: strictly with msgspec, and loosely so that a fault can be named."""

import json
from functools import lru_cache
from types import GenericAlias
from typing import Any

import msgspec
import numpy as np

from devices.ingestion.checks import Fault, InvalidItems

MAX_ITEMS = 10_000
MAX_BYTES = 5 * 1024 * 1024
# Objects and arrays of a body. A body of nothing else would have two million: to decode them holds up all
# other work of the process for a second.
MAX_PARTS = 100_000
MANY_PARTS = f"Must have at most {MAX_PARTS:,} objects and arrays."
OPENING, CLOSING = (np.frombuffer(pair, np.uint8) for pair in (b"[{", b"]}"))
# A timestamp as a reading may write it. Integers stay integers: a double can't hold nanoseconds since 1970.
Stamp = str | int | float
# Longer integers are no instant in any unit.
MAX_DIGITS = 20


class BatchTooLong(ValueError):
    """A batch of more than MAX_ITEMS."""


def decode_batch(body: bytes, strict: msgspec.json.Decoder) -> list[Any]:
    """Decode a batch; if an item is faulty all are plain JSON values. Raises InvalidItems, BatchTooLong."""
    require_few_items(body)
    try:
        items = strict.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        items = decode_loosely(body, error)
        if not isinstance(items, list):
            raise InvalidItems([{"field": "body", "message": "Must be an array of readings."}]) from error
    require_batch(len(items))
    return items


def require_few_parts(body: bytes) -> None:
    """Raises InvalidItems."""
    if has_many_parts(body):
        raise InvalidItems([{"field": "body", "message": MANY_PARTS}])


def require_few_items(body: bytes) -> None:
    """The same of a batch, which may have too many items, too. Raises InvalidItems, BatchTooLong."""
    if has_many_parts(body) and body.lstrip().startswith(b"["):
        require_batch(item_count(body))
    require_few_parts(body)


def require_batch(items: int) -> None:
    if items > MAX_ITEMS:
        raise BatchTooLong(f"A batch has at most {MAX_ITEMS} items, not {items}.")


def has_many_parts(body: bytes) -> bool:
    # Texts may have brackets, too; most bodies have few even so.
    if len(body) <= MAX_PARTS or body.count(b"{") + body.count(b"[") <= MAX_PARTS:
        return False
    return bool(np.count_nonzero(np.isin(without_texts(body), OPENING)) > MAX_PARTS)


def item_count(body: bytes) -> int:
    """The items of an array, found without making them: by the commas that are in nothing else."""
    signs, commas, depth = without_texts(body), 0, 0
    for piece in np.array_split(signs, len(signs) // 65536 + 1):
        steps = np.isin(piece, OPENING).astype(np.int8) - np.isin(piece, CLOSING)
        depths = depth + np.cumsum(steps, dtype=np.int32)
        commas += int(np.count_nonzero((piece == ord(",")) & (depths == 1)))
        depth = int(depths[-1])
    return commas + 1


def without_texts(body: bytes) -> np.ndarray:
    """The bytes of JSON; those of texts are 0."""
    signs = np.frombuffer(body.replace(rb"\\", b"  ").replace(rb"\"", b"  "), np.uint8)
    in_text = np.bitwise_xor.accumulate((signs == ord('"')).view(np.uint8))
    return signs * (1 - in_text)


@lru_cache(maxsize=1024)
def decoder(names: tuple[str, ...], *, many: bool = False) -> msgspec.json.Decoder:
    item = reading_type(names)
    return msgspec.json.Decoder(GenericAlias(list, item) if many else item)


@lru_cache(maxsize=1024)
def reading_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Make the type of a reading: attributes in the order of the channels, the timestamp last."""
    # Numbered attributes, because a channel's name may be a keyword of Python.
    fields: list[tuple] = [(f"c{i}", float) for i in range(len(names))]
    return msgspec.defstruct(
        "CheckedReading",
        [*fields, ("timestamp", Stamp | msgspec.UnsetType, msgspec.UNSET)],
        rename={f"c{i}": name for i, name in enumerate(names)},
        forbid_unknown_fields=True,
        # Numbers and texts form no cycles: the collector need not search thousands of them.
        gc=False,
    )


class SensorReading(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    sensor: str
    timestamp: Stamp
    value: float


SENSOR_BATCH_DECODER = msgspec.json.Decoder(list[SensorReading])


def decode_loosely(body: bytes, error: Exception) -> Any:
    """Decode JSON with NaN and Infinity, so that the fault can name them. Raises InvalidItems."""
    try:
        return json.loads(body.decode(), parse_int=number_of_digits)
    except (ValueError, RecursionError) as loose_error:
        raise InvalidItems([undecodable(error)]) from loose_error


def number_of_digits(digits: str) -> int | float:
    """Convert a JSON integer; one of very many digits, which Python refuses, to a double."""
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def undecodable(error: Exception) -> Fault:
    return {"field": "body", "message": f"Not valid: {error}."}
