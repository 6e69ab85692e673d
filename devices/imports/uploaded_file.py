"""An uploaded file, kept in parts of the database and read as a file: never whole in memory."""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import transaction

from devices.imports.models import OVER, Upload, UploadPart
from devices.ingestion.checks import printable
from users.limits import LimitReached
from users.models import User

PART_BYTES = 1024 * 1024
# A workbook is read at several places in turn.
PARTS_HELD = 8


@transaction.atomic
def keep(pieces: Iterable[bytes], *, name: str, by: User) -> Upload:
    """Store a file of some `pieces` as a draft. Raises LimitReached."""
    require_room(by)
    upload = Upload.objects.create(name=printable(name)[-255:].replace("\0", ""), size=0, by=by)
    digest = hashlib.sha256()
    for number, data in enumerate(in_parts(pieces)):
        UploadPart.objects.create(upload=upload, number=number, data=data)
        digest.update(data)
        upload.size += len(data)
    upload.digest = digest.hexdigest()
    upload.save(update_fields=("size", "digest"))
    return upload


def require_room(by: User) -> None:
    """Require that the person may have one more import that is not over: its file is kept until then."""
    most = settings.OPEN_IMPORTS
    User.objects.select_for_update(no_key=True).filter(pk=by.pk).first()
    present = Upload.objects.filter(by=by).exclude(status__in=OVER).count()
    if most and present >= most:
        raise LimitReached(
            f"{present} of your imports are drafts or not over; at most {most} may be (OPEN_IMPORTS)."
            " Discard some, or wait until they are over."
        )


def in_parts(pieces: Iterable[bytes]) -> Iterable[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= PART_BYTES:
            yield bytes(held[:PART_BYTES])
            del held[:PART_BYTES]
    if held:
        yield bytes(held)


class UploadedFile(io.RawIOBase):
    """The bytes of an upload: seekable, with a few parts in memory."""

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.position = 0
        self.held: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.upload.size}[whence]
        self.position = max(0, start + offset)
        return self.position

    def readinto(self, buffer: Any) -> int:
        number, place = divmod(self.position, PART_BYTES)
        found = self.part(number)[place : place + len(buffer)] if self.position < self.upload.size else b""
        buffer[: len(found)] = found
        self.position += len(found)
        return len(found)

    def part(self, number: int) -> bytes:
        if number not in self.held:
            data = UploadPart.objects.values_list("data", flat=True).get(upload=self.upload, number=number)
            self.held[number] = bytes(data)
            if len(self.held) > PARTS_HELD:
                self.held.popitem(last=False)
        self.held.move_to_end(number)
        return self.held[number]


def opened(upload: Upload) -> io.BufferedReader:
    return io.BufferedReader(UploadedFile(upload), 64 * 1024)
