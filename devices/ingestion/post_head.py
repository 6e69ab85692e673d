import re
from typing import NamedTuple
from uuid import UUID

# As Django's converter has it: to `UUID` the hyphens could stand anywhere.
UUID_TEXT = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
POST_PATH = re.compile(rf"/(?:devices/({UUID_TEXT})/stats(/batch)?|data)/?", re.ASCII)
MEDIA_TYPES = (b"application/json", b"application/json; charset=utf-8")
QUERIES = {b"": False, b"partial=false": False, b"partial=true": True}
READ = (b"host", b"authorization", b"content-type", b"content-length", b"idempotency-key")
UNUSUAL = (b"content-encoding", b"transfer-encoding", b"cookie")


class PostHead(NamedTuple):
    """An ordinary request, but for its body."""

    path: str
    device: UUID | None
    is_batch: bool
    is_partial: bool
    authorization: bytes
    key: str | None
