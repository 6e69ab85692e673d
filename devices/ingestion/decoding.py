import json
from functools import lru_cache
from typing import Any

import msgspec

from devices.ingestion.checks import (
    Fault,
    InvalidItems,
)

MAX_ITEMS = 10_000
MAX_BYTES = 5 * 1024 * 1024


class BatchTooLong(ValueError):
    """A batch of more than MAX_ITEMS."""


def decode_batch(body: bytes, strict: msgspec.json.Decoder) -> list[Any]:
    """The items of a batch, or whatever JSON there was in their place. Raises Refused, TooMany."""
    try:
        items = strict.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        items = decode_loosely(body, error)
        if not isinstance(items, list):
            raise InvalidItems([{"field": "body", "message": "Must be an array of readings."}]) from error
    if len(items) > MAX_ITEMS:
        raise BatchTooLong(f"A batch has at most {MAX_ITEMS} items, not {len(items)}.")
    return items


# --- decoding


@lru_cache(maxsize=1024)
def decoder(names: tuple[str, ...], *, many: bool = False) -> msgspec.json.Decoder:
    item = reading_type(names)
    return msgspec.json.Decoder(list[item] if many else item)


@lru_cache(maxsize=1024)
def reading_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Of a profile with these channels; attributes in their order, the stamp's text last."""
    # Numbered fields, as a channel's name may be a word of Python's own.
    fields: list[tuple] = [(f"c{i}", float) for i in range(len(names))]
    return msgspec.defstruct(
        "CheckedReading",
        [*fields, ("timestamp", str | msgspec.UnsetType, msgspec.UNSET)],
        rename={f"c{i}": name for i, name in enumerate(names)},
        forbid_unknown_fields=True,
        # Numbers and texts: in no cycle, and thousands at once are not to be searched for one.
        gc=False,
    )


class SensorReading(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    sensor: str
    timestamp: str
    value: float


SENSOR_BATCH_DECODER = msgspec.json.Decoder(list[SensorReading])


def decode_loosely(body: bytes, error: Exception) -> Any:
    """The body as JSON that may hold NaN and Infinity, so that they can be named. Raises Refused."""
    try:
        return json.loads(body.decode(), parse_int=double_of_digits)
    except (ValueError, RecursionError) as worse:
        raise InvalidItems([undecodable(error)]) from worse


def double_of_digits(digits: str) -> float:
    """A double; Python refuses to convert very many digits to an integer."""
    # As msgspec has it, the whole number -0 is 0; -0.0 is another.
    return float(digits) + 0.0


def undecodable(error: Exception) -> Fault:
    return {"field": "body", "message": f"Not valid: {error}."}
