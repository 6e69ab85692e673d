"""Decompression of request bodies, with bounds on size, memory and time."""

import sys
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

from devices.ingestion.decoding import MAX_BYTES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# RFC 8878 and RFC 1952 allow a series of frames; very many tiny ones would only occupy a thread.
MAX_FRAMES = 100
# 8 MiB, the window that RFC 9659 prescribes for HTTP; a frame could demand gigabytes.
WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
GZIP = 16 + zlib.MAX_WBITS

# Makers of a decompressor for one frame, by Content-Encoding.
DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": partial(zlib.decompressobj, GZIP),
    "x-gzip": partial(zlib.decompressobj, GZIP),
    "zstd": partial(zstd.ZstdDecompressor, options=WINDOW),
}
ACCEPTED_CODINGS = "gzip, zstd"


class UnsupportedCoding(ValueError):
    """The Content-Encoding is not supported."""


class CorruptBody(ValueError):
    """The body is not valid in its Content-Encoding."""


class DecompressedTooLarge(ValueError):
    """The decompressed body has more than MAX_BYTES."""


def decompress(body: bytes, coding: str) -> bytes:
    """Return the plain body. Raises UnsupportedCoding, CorruptBody, DecompressedTooLarge.

    At most MAX_BYTES + 1 bytes are decompressed.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in DECOMPRESSORS:
        raise UnsupportedCoding(f"Send it as it is or as one of {ACCEPTED_CODINGS}.")
    try:
        return join_frames(body, DECOMPRESSORS[coding])
    except (zlib.error, zstd.ZstdError) as error:
        raise CorruptBody(f"Not valid {coding}.") from error


def join_frames(body: bytes, decompressor: Callable[[], Any]) -> bytes:
    plain = bytearray()
    for _ in range(MAX_FRAMES):
        frame = decompressor()
        plain += frame.decompress(body, MAX_BYTES + 1 - len(plain))
        if len(plain) > MAX_BYTES:
            raise DecompressedTooLarge(f"More than {MAX_BYTES} bytes once unpacked.")
        if not frame.eof:
            raise CorruptBody("Compressed data break off before their end.")
        body = frame.unused_data
        if not body:
            return bytes(plain)
    raise CorruptBody(f"More than {MAX_FRAMES} compressed frames.")
