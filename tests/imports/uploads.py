"""Uploads for tests: made, imported and undone as the pages and a worker do it."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import openpyxl

from devices import storage
from devices.imports import preview, runs, tasks, uploaded_file
from devices.imports.models import OVER, Job, Upload, UploadStatus
from devices.imports.options import Options
from devices.models import Device
from devices.timeline.periods import Period
from tests.support import factories

HEADER = "timestamp,x,y,z"


def upload(content: bytes | str, *, device: Device | None = None, by: Any = None, **options: Any) -> Upload:
    """A draft as the preview shows it, with some options changed."""
    data = content.encode() if isinstance(content, str) else content
    made = uploaded_file.keep([data], name="readings.csv", by=by or factories.colleague())
    preview.guess_all(made, made.by)
    if device is not None:
        made.device = Device.objects.with_channels().get(pk=device.pk)
        made.save()
        preview.guess_cells(made, Options.of(made.options), made.by)
    if options:
        made.options = Options.of(made.options).changed(**options).as_json()
        made.save()
    return made


def start(made: Upload) -> None:
    assert runs.enqueue(made, Job.IMPORT, tasks.work_on_uploads, after=(UploadStatus.DRAFT, *OVER))


def worked(made: Upload) -> Upload:
    """The upload after as many turns of a worker as it takes."""
    while Upload.objects.filter(pk=made.pk, status=UploadStatus.QUEUED).exists():
        tasks.work_on_uploads()
    made.refresh_from_db()
    return made


def imported(content: bytes | str, **fields: Any) -> Upload:
    made = upload(content, **fields)
    start(made)
    return worked(made)


def undone(made: Upload) -> Upload:
    assert runs.enqueue(made, Job.UNDO, tasks.work_on_uploads, after=OVER)
    return worked(made)


def counts(made: Upload) -> tuple[str, int, int, int]:
    """Status, stored, repeated, faulty."""
    return made.status, made.stored, made.repeated, made.faulty


def stored(device: Device) -> list[tuple[datetime, list[float]]]:
    """The device's readings, oldest first."""
    rows = storage.current().page([device.pk], Period(), limit=100_000)
    return [(row.time, row.values) for row in reversed(rows)]


def values(device: Device) -> list[list[float]]:
    return [row for _, row in stored(device)]


def workbook(sheets: dict[str, Iterable[Sequence[Any]]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def with_entry(book: bytes, name: str, content: bytes) -> bytes:
    """The workbook with one entry of its archive replaced or added, packed well."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            if entry != name:
                new.writestr(entry, old.read(entry))
        new.writestr(name, content)
    return buffer.getvalue()
