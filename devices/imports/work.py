"""The work on an upload, in steps that may be cut short anywhere: split, check and store, take back.

A block's readings are written down before they are stored. A step that is repeated after a death stores the
same ones: in PostgreSQL in the transaction that marks the block, in ClickHouse under a token that it knows.
"""

import json
import time
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from django.db import transaction

from devices import storage
from devices.access.grants import Target
from devices.imports import runs, stored_rows, uploaded_file
from devices.imports.checking import RowChecker
from devices.imports.models import ImportBlock, Job, Upload
from devices.imports.options import SKIP, Options
from devices.imports.senders import NamedDevices
from devices.imports.tables import content
from devices.imports.tables.source_row import CannotRead, SourceRow
from devices.ingestion import stored
from devices.models import Device
from devices.storage import row_codec
from devices.storage.interface import Rows
from devices.timeline.instants import UnixTimes

BLOCK_ROWS = 5000
# Characters of the cells of a block: they are held in memory.
BLOCK_CHARACTERS = 2 * 1024 * 1024


def advance(upload: Upload, seconds: float) -> bool:
    """Work on the upload for some seconds; returns whether its job is done. Raises CannotRead, TurnLost."""
    ends = time.monotonic() + seconds
    if not upload.is_split:
        split(upload)
    checker = checker_of(upload) if upload.job == Job.IMPORT else None
    for block in waiting_blocks(upload):
        if checker is not None:
            import_block(upload, block, checker)
        else:
            undo_block(upload, block)
        if time.monotonic() > ends:
            return not next(waiting_blocks(upload), None)
    return True


def waiting_blocks(upload: Upload) -> Iterator[ImportBlock]:
    """Yield the blocks on which the job has still to be done, each as it is now."""
    number = -1
    while True:
        waiting = upload.blocks.filter(number__gt=number).order_by("number")
        if upload.job == Job.UNDO:
            waiting = waiting.filter(planned__isnull=False, is_undone=False)
        else:
            waiting = waiting.filter(is_stored=False)
        block = waiting.first()
        if block is None:
            return
        number = block.number
        yield block


# --- Splitting


def split(upload: Upload) -> None:
    """Split the file into blocks of rows; begins anew if it was cut short. Raises CannotRead, TurnLost."""
    with transaction.atomic():
        runs.step(upload)
        upload.blocks.all().delete()
        Upload.objects.filter(pk=upload.pk).update(rows=0)
    file = uploaded_file.opened(upload)
    table = content.open_table(file, Options.of(upload.options))
    for number, rows in enumerate(in_blocks(table.rows)):
        with transaction.atomic():
            runs.step(upload, rows=len(rows))
            ImportBlock.objects.create(upload=upload, number=number, rows=len(rows), cells=pack_cells(rows))
    with transaction.atomic():
        runs.step(upload)
        Upload.objects.filter(pk=upload.pk).update(is_split=True)
        upload.parts.all().delete()
    upload.is_split = True


def in_blocks(rows: Iterator[SourceRow]) -> Iterator[list[SourceRow]]:
    while True:
        block, characters = list[SourceRow](), 0
        for row in islice(rows, BLOCK_ROWS):
            block.append(row)
            characters += sum(map(len, row.cells))
            if characters > BLOCK_CHARACTERS:
                break
        if not block:
            return
        yield block


def pack_cells(rows: Sequence[SourceRow]) -> bytes:
    return zlib.compress(json.dumps(rows, ensure_ascii=False).encode(errors="replace"), 3)


def unpack_cells(data: Any) -> list[SourceRow]:
    return [SourceRow(*row) for row in json.loads(zlib.decompress(data))]


# --- Importing


def checker_of(upload: Upload) -> RowChecker:
    """Raises CannotRead if nobody may store these rows any more."""
    if upload.by is None or not (upload.by.is_active and upload.by.is_staff):
        raise CannotRead("Who uploaded the file may not import any more.")
    target = None
    options = Options.of(upload.options)
    if options.device_column is None:
        devices = Device.objects.visible_to(upload.by).with_channels()
        device = devices.filter(pk=upload.device_id or 0, is_active=True).first()
        if device is None:
            raise CannotRead("The device is inactive, or is no longer there.")
        target = Target.of(device)
    # The clock stands at the start: a row cannot turn from bad to good while the import waits.
    now = upload.started_at or upload.at
    return RowChecker(options, target, NamedDevices(upload.by), len(upload.headings), now)


def import_block(upload: Upload, block: ImportBlock, checker: RowChecker) -> None:
    """Raises CannotRead, TurnLost."""
    if block.planned is None:
        plan(upload, block, checker)
    try:
        store(upload, block, needs_devices=True)
    except DeviceGone:
        if storage.is_own_table():
            # Nothing of the block is stored, for certain: going on checks its rows anew.
            ImportBlock.objects.filter(pk=block.pk, is_stored=False).update(planned=None)
        raise


def plan(upload: Upload, block: ImportBlock, checker: RowChecker) -> None:
    """Check the block's rows and write down which readings it will store."""
    checked = checker.check(unpack_cells(block.cells))
    rows, block.repeated = checked.rows, 0
    if Options.of(upload.options).repeats == SKIP:
        rows = without_repeats(rows)
        block.repeated = len(checked.rows.times) - len(rows.times)
    block.faults = [list(fault) for fault in checked.faults]
    block.planned = stored_rows.pack(rows)
    with transaction.atomic():
        runs.step(upload)
        block.save(update_fields=("repeated", "faults", "planned"))


def without_repeats(rows: Rows) -> Rows:
    """Leave out readings that equal another of these rows, or one that is stored."""
    if not len(rows.times):
        return rows
    present = storage.current().present(rows)
    if not present.any() and are_distinct(rows):
        return rows
    seen: set[tuple] = set()
    kept, payloads = np.zeros(len(present), bool), []
    number = 0
    for table in row_codec.split_by_width(rows.payload):
        for row in table:
            key = (row["device"].item(), row["time"].item(), *row["items"]["value"].tolist())
            if not present[number] and key not in seen:
                kept[number] = True
                payloads.append(row.tobytes())
            seen.add(key)
            number += 1
    return Rows(b"".join(payloads), UnixTimes(np.asarray(rows.times)[kept]))


def are_distinct(rows: Rows) -> bool:
    """Tell whether no two have the same device and time: then none are equal."""
    devices, times = row_codec.devices_and_times(rows.payload)
    order = np.lexsort((times, devices))
    return bool(((np.diff(times[order]) != 0) | (np.diff(devices[order]) != 0)).all())


class DeviceGone(CannotRead):
    """A device was deleted after the rows were checked. Who deleted it wants no readings of it."""

    def __init__(self) -> None:
        super().__init__(
            "A device of these rows was deleted after they were checked. Go on without it, or bring it back"
            " from the bin first; if going on fails, undo this import and import the file again."
        )


def lock_devices(rows: Rows) -> None:
    """Keep the devices of these rows from being deleted until the transaction ends. Raises DeviceGone."""
    ids = set(row_codec.devices_and_times(rows.payload)[0].tolist())
    # In one order, so that no two transactions wait for each other.
    there = Device.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    if len(there.values_list("pk")) < len(ids):
        raise DeviceGone


def store(upload: Upload, block: ImportBlock, *, needs_devices: bool = False) -> None:
    """Store the planned readings and mark the block, in one transaction. Raises DeviceGone, TurnLost."""
    rows = stored_rows.unpack(bytes(block.planned or b""))
    faulty = len({row for row, _, _ in block.faults})
    counts = {
        "stored": len(rows.times),
        "rows_done": block.rows,
        "repeated": block.repeated,
        "faulty": faulty,
    }
    with transaction.atomic():
        # Before the upload, as `Device.erase` does it: otherwise the two could wait for each other.
        if needs_devices and rows.payload:
            lock_devices(rows)
        runs.step(upload, is_progress=True, **counts)
        if rows.payload:
            storage.current().append(rows, token=f"upload {upload.pk} {block.number}")
            stored.call_after_commit([rows])
        ImportBlock.objects.filter(pk=block.pk).update(is_stored=True)


# --- Undoing


def undo_block(upload: Upload, block: ImportBlock) -> None:
    """Take back the readings that the block stored.

    A block that was planned only may have reached ClickHouse: it is stored for certain, then taken back.
    """
    if not block.is_stored:
        store(upload, block)
    rows = stored_rows.unpack(bytes(block.planned or b""))
    with transaction.atomic():
        runs.step(upload, is_progress=True, undone=len(rows.times))
        storage.current().take_back(rows)
        ImportBlock.objects.filter(pk=block.pk).update(is_undone=True)
