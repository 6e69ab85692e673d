"""Static files under names that have a digest of their content, so that browsers may keep them for a year.

Nothing is collected: the files are served from the packages' own folders. WhiteNoise does the serving.
"""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from whitenoise.middleware import WhiteNoiseMiddleware

from config.middleware.compression import COMPRESSIBLE, LEAST_BYTES, accepted_coding, compressed

DIGITS = 12
DIGEST = re.compile(rf"\.[0-9a-f]{{{DIGITS}}}(?=\.\w+$)")
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
def compressed_file(path: str, coding: str) -> bytes:
    """Compressed once in a process, when first asked for. There are as many as there are static files."""
    return compressed(Path(path).read_bytes(), coding, FILE_LEVELS[coding])


class StaticFiles(WhiteNoiseMiddleware):
    """Serves each file under its own name for a minute, and under that of its content for a year."""

    FOREVER = 365 * 24 * 3600
    # The same in all instances; Django's test client makes many.
    found: dict[str, Any] = {}
    files: dict[str, Any]

    def add_files_from_finders(self) -> None:
        if not self.found:
            super().add_files_from_finders()
            self.found.update(self.files)
        self.files = self.found

    def add_file_to_dictionary(self, url: str, path: str, stat_cache: Any = None) -> None:
        super().add_file_to_dictionary(url, path, stat_cache)
        super().add_file_to_dictionary(with_digest(url, path), path, stat_cache)

    def immutable_file_test(self, path: str, url: str) -> bool:
        return f".{content_digest(path)}." in url

    def add_cache_headers(self, headers: Headers, path: str, url: str) -> None:
        super().add_cache_headers(headers, path, url)
        # Weak: the same for each coding of the file.
        headers["ETag"] = f'W/"{content_digest(path)}"'

    def __call__(self, request: HttpRequest) -> HttpResponse:
        url = request.path_info
        if url.startswith(self.static_prefix) and url not in self.files:
            # During an upgrade a page of another version may name another content: this one, for a minute.
            static_file = self.files.get(DIGEST.sub("", url))
            if static_file is not None:
                return self.serve(static_file, request)
        return super().__call__(request)

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        response = WhiteNoiseMiddleware.serve(static_file, request)
        size = int(response.headers.get("Content-Length", "0"))
        kind = response.headers.get("Content-Type", "")
        if response.status_code != 200 or size < LEAST_BYTES or not COMPRESSIBLE.match(kind):
            return response
        patch_vary_headers(response, ("Accept-Encoding",))
        coding = accepted_coding(request.headers.get("Accept-Encoding", ""))
        if not coding:
            return response
        [(_, path, _)] = static_file.alternatives
        answer = HttpResponse(compressed_file(path, coding), headers=dict(response.items()))
        answer["Content-Length"] = str(len(answer.content))
        answer["Content-Encoding"] = coding
        response.close()
        return answer
