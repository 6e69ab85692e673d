"""The OpenAPI document as it is served: made once for a state of the code, and cached."""

import hashlib
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularJSONAPIView

from users.redis_cache import cached

# Bounds the life of a document whose code changed while the process was starting.
CACHE_SECONDS = 600


class CachedSchemaGenerator(SchemaGenerator):
    """The document is the same for everybody, whatever the request."""

    def get_schema(self, request: Any = None, public: bool = False) -> dict:
        generate = super().get_schema
        return cached(f"openapi-{CODE_MARK}", CACHE_SECONDS, lambda: generate(None, public))


class Document(SpectacularJSONAPIView):
    """The document has one version, so `version`, which drf-spectacular puts into a header, is refused."""

    generator_class = CachedSchemaGenerator
    query_parameters = ()


def code_mark() -> str:
    """Digest of the names, sizes and times of the code that the document is made from.

    During an upgrade processes of two versions run, so the version's number alone is not enough.
    """
    folders = {Path(app.path) for app in apps.get_app_configs()}
    kernels = {Path(source) for _, source, _ in settings.KERNELS if source.endswith(".py")}
    files = sorted(kernels.union(*(folder.rglob("*.py") for folder in folders)))
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr((settings.VERSION, stats)).encode()).hexdigest()


# Taken when the process starts: later it might describe code that this process does not run.
CODE_MARK = code_mark()
