"""Static files under names that have a digest of their content, so that browsers may keep them for a year.

Nothing is collected: the files are served from the packages' own folders. WhiteNoise finds them and makes
their headers; `config.asgi.static` sends them.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.headers import Headers

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

from config.middleware.compression import COMPRESSIBLE, LEAST_BYTES, accepted_coding, compressed

DIGITS = 12
DIGEST = re.compile(rf"\.[0-9a-f]{{{DIGITS}}}(?=\.\w+$)")
# The numbers of a Content-Range.
PART = re.compile(r"\d+")
# Compressed once, read often.
FILE_LEVELS = {"zstd": 9, "gzip": 9}


class DigestNames(StaticFilesStorage):
    """The storage that `{% static %}` asks for the URL of a file."""

    def url(self, name: str | None) -> str:
        return super().url(digest_name(name) if name else name)


@cache
def digest_name(name: str) -> str:
    """`style/page.css` as `style/page.0123456789ab.css`; a name without a file stays."""
    path = finders.find(name)
    return with_digest(name, path) if path else name


def with_digest(name: str, path: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return f"{stem}.{content_digest(path)}{dot}{ending}"


@cache
def content_digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:DIGITS]


@cache
def file_content(path: str) -> bytes:
    """Read once in a process, when first asked for: all who are sent the file share these bytes."""
    return Path(path).read_bytes()


@cache
def compressed_file(path: str, coding: str) -> bytes:
    """Compressed once in a process, when first asked for. There are as many as there are static files."""
    return compressed(file_content(path), coding, FILE_LEVELS[coding])


class StaticFiles(WhiteNoiseMiddleware):
    """The files by URL: each under its own name, for a minute, and under that of its content, for a year."""

    FOREVER = 365 * 24 * 3600
    files: dict[str, StaticFile]

    def add_file_to_dictionary(self, url: str, path: str, stat_cache: Any = None) -> None:
        super().add_file_to_dictionary(url, path, stat_cache)
        super().add_file_to_dictionary(with_digest(url, path), path, stat_cache)

    def immutable_file_test(self, path: str, url: str) -> bool:
        return f".{content_digest(path)}." in url

    def add_cache_headers(self, headers: Headers, path: str, url: str) -> None:
        super().add_cache_headers(headers, path, url)
        # Weak: the same for each coding of the file.
        headers["ETag"] = f'W/"{content_digest(path)}"'

    def find(self, url: str) -> StaticFile | None:
        # During an upgrade a page of another version may name another content: this one, for a minute.
        return self.files.get(url) or self.files.get(DIGEST.sub("", url))


class StaticAnswer(NamedTuple):
    """The answer to a request for a static file; its body is `part` of the file at `path`, in this coding."""

    status: int
    headers: dict[str, str]
    path: str
    part: slice
    coding: str = ""


def static_answer(file: StaticFile, fields: Mapping[str, str]) -> StaticAnswer:
    """Choose the answer to GET or HEAD by the request's header fields, named in lower case."""
    # As HEAD, because WhiteNoise would open the file.
    chosen = file.get_response(
        "HEAD", {f"HTTP_{name.upper().replace('-', '_')}": fields[name] for name in fields}
    )
    headers = dict(chosen.headers)
    [(_, path, _)] = file.alternatives
    if chosen.status == HTTPStatus.PARTIAL_CONTENT:
        first, last = map(int, PART.findall(headers["Content-Range"])[:2])
        return StaticAnswer(206, headers, path, slice(first, last + 1))
    if chosen.status != HTTPStatus.OK:
        return StaticAnswer(int(chosen.status), headers, path, slice(0))
    is_long = int(headers["Content-Length"]) >= LEAST_BYTES
    if not is_long or not COMPRESSIBLE.match(headers.get("Content-Type", "")):
        return StaticAnswer(200, headers, path, slice(None))
    coding = accepted_coding(fields.get("accept-encoding", ""))
    return StaticAnswer(200, headers | {"Vary": "Accept-Encoding"}, path, slice(None), coding)
