"""Compression of answers with zstd or gzip, where the client accepts it and it is worth the time."""

import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Shorter answers fit into one packet as they are.
LEAST_BYTES = 1024
COMPRESSIBLE = re.compile(r"text/|application/([\w.-]+\+)?(json|xml|javascript|manifest)|image/svg\+xml")
# By preference; a client that weighs them equally gets the first.
CODINGS = ("zstd", "gzip")
ACCOUNT = "/portal/account/"
LEVELS = {"zstd": 3, "gzip": 5}
GZIP = 16 + zlib.MAX_WBITS


class Compress:
    """Compresses whole answers of LEAST_BYTES and more, and streamed ones piece by piece."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if shows_secrets(request, response) or not is_candidate(response):
            return response
        patch_vary_headers(response, ("Accept-Encoding",))
        coding = accepted_coding(request.headers.get("Accept-Encoding", ""))
        if coding:
            compress_response(response, coding)
        return response


def shows_secrets(request: HttpRequest, response: Any) -> bool:
    """Tell whether the answer may have a secret: its compressed length would tell what equals it (BREACH).

    On the pages of an account, those are tokens, recovery codes and links; others are marked `no-store` by
    their views. That all answers end with this header is done later, in `standing_headers`.
    """
    return request.path_info.startswith(ACCOUNT) or "no-store" in response.headers.get("Cache-Control", "")


def is_candidate(response: Any) -> bool:
    """Tell whether the answer is long, of a kind that shrinks, whole, and not compressed already."""
    if response.has_header("Content-Encoding") or response.status_code in (204, 206, 304):
        return False
    if not COMPRESSIBLE.match(response.headers.get("Content-Type", "")):
        return False
    if response.streaming:
        return int(response.headers.get("Content-Length", LEAST_BYTES)) >= LEAST_BYTES
    return len(response.content) >= LEAST_BYTES


def accepted_coding(header: str) -> str:
    """The coding that an Accept-Encoding header wants most; empty for none."""
    weights = dict(weighed(part) for part in header.lower().split(","))
    best = max(CODINGS, key=lambda coding: weights.get(coding, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else ""


def weighed(part: str) -> tuple[str, float]:
    name, _, parameter = part.partition(";")
    try:
        return name.strip(), float(parameter.strip().removeprefix("q=")) if parameter else 1.0
    except ValueError:
        return name.strip(), 0.0


def compress_response(response: Any, coding: str) -> None:
    if response.streaming:
        response.streaming_content = compressed_parts(response.streaming_content, coding)
        del response["Content-Length"]
    else:
        response.content = compressed(response.content, coding, LEVELS[coding])
        response["Content-Length"] = str(len(response.content))
    response["Content-Encoding"] = coding
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        # A strong one promises the same bytes, whatever their coding.
        response["ETag"] = f"W/{etag}"


def compressor(coding: str, level: int) -> Any:
    return zstd.ZstdCompressor(level) if coding == "zstd" else zlib.compressobj(level, wbits=GZIP)


def compressed(content: bytes, coding: str, level: int) -> bytes:
    work = compressor(coding, level)
    return work.compress(content) + work.flush()


def compressed_parts(parts: Iterable[bytes], coding: str) -> Iterator[bytes]:
    """Compress each part and send it at once: a long answer progresses as it would uncompressed."""
    work = compressor(coding, LEVELS[coding])
    flush = zstd.ZstdCompressor.FLUSH_BLOCK if coding == "zstd" else zlib.Z_SYNC_FLUSH
    for part in parts:
        yield work.compress(part) + work.flush(flush)
    yield work.flush()
