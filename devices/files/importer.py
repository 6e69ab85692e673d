"""Import of readings from files: lines are checked, and stored in chunks, each line once.

An `Import` says how far a file is stored, and changes only in the transaction that stores a chunk. So an
import that was killed continues after its last chunk, and one that is complete stores nothing more.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from django.db import transaction
from django.utils import timezone

from devices import storage
from devices.access.grants import Target
from devices.files.chunks import Chunk, Outcome, assumed_zones, check_columns
from devices.files.formats import CannotImport, json_keys
from devices.files.progress import ReportProgress, report_nothing
from devices.files.record_file import RecordFile
from devices.files.senders import KnownDevices, UnregisteredSensors
from devices.ingestion import checks, decoding, intake, stored
from devices.ingestion.intake import Intake
from devices.ingestion.sensors import OwnSensors, SensorDirectory
from devices.models import Device, DeviceProfile, Import
from devices.notation.numbers import count_text
from devices.storage.interface import Rows
from devices.timeline.instants import UnixTimes
from devices.timeline.unix_time import PRECISIONS
from users.models import User

FORMATS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
NO_ROWS = Rows(b"", UnixTimes(np.empty(0, np.int64)))


@dataclass(frozen=True)
class ImportJob:
    """A file with readings of one device, of an owner's sensors, or of the devices that its lines name."""

    path: Path
    name: str
    format: str
    device: Device | None = None
    owner: User | None = None
    # Unit of timestamps that are numbers, a key of PRECISIONS.
    precision: str = "s"

    @property
    def options(self) -> str:
        """Options with which the same file is another import."""
        unit = "" if self.precision == "s" else f", numbers in {self.precision}"
        if self.device is not None:
            return f"{self.format} of device {self.device.uuid}{unit}"
        of = f"sensors of user {self.owner.pk}" if self.owner else "devices"
        return f"{self.format} of {of}{unit}"

    @property
    def device_of_all(self) -> str | None:
        """The device of every line, empty for sensors; None if each line names its own."""
        if self.device is not None:
            return str(self.device.uuid)
        return "" if self.owner else None


@dataclass(frozen=True, kw_only=True)
class ReadingChunk(Chunk):
    rows: Rows


@dataclass(kw_only=True)
class ImportOutcome(Outcome):
    """`stored` counts the readings of this file that are stored, by this run and earlier ones."""

    stored: int
    done_before: datetime | None = None

    def in_words(self) -> str:
        stored = count_text(self.stored)
        if self.done_before is not None:
            at = f"{self.done_before:%Y-%m-%d %H:%M:%S} UTC"
            return f"This file was imported before, at {at}: {stored} readings. Nothing was stored now."
        if self.is_complete:
            return self.with_zones(f"Stored: {stored} readings.")
        so_far = f"Stored so far: {stored}" if self.stored else "Nothing was stored"
        return self.with_zones(f"Good: {count_text(self.good)} readings. {so_far}.")


def guess_format(name: str) -> str:
    """Return the format that the file name's ending stands for. Raises CannotImport."""
    ending = Path(name).suffix.lower()
    if ending not in FORMATS:
        raise CannotImport(f"{name} does not end in {', '.join(FORMATS)}: choose the format.")
    return FORMATS[ending]


def find_device(uuid: UUID) -> Device:
    """Raises CannotImport."""
    device = Device.objects.with_channels().filter(uuid=uuid).first()
    if device is None:
        raise CannotImport("There is no such device.")
    if not device.is_active:
        raise CannotImport("The device is inactive.")
    return device


def find_owner(login: str) -> User:
    """Raises CannotImport."""
    owner = User.objects.filter(login__iexact=login).first()
    if owner is None:
        raise CannotImport("There is no such user.")
    return owner


def run_import(
    job: ImportJob,
    now: datetime,
    *,
    dry_run: bool = False,
    skip_bad: bool = False,
    report: ReportProgress = report_nothing,
) -> ImportOutcome:
    """Store the file's readings, or none if a line is bad; `skip_bad` stores those of the good lines.

    A dry run only checks. Raises CannotImport.
    """
    with job.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        known = None if dry_run else known_import(digest, job.options)
        if known is not None and known.finished_at is not None:
            return ImportOutcome(stored=known.stored, done_before=known.finished_at)
        source = RecordFile(file, job.format, job.device_of_all)
        if job.format == "csv":
            check_columns(source.columns, required_columns(job, source.columns))
        progress = known or Import(
            name=checks.printable(job.name)[-255:],
            digest=digest,
            options=job.options,
            line=source.line,
            position=source.position,
            started_at=now,
        )
        importer = ReadingImporter(job, source, progress, report)
        if dry_run or not skip_bad:
            # All lines are checked first: a bad one at the end must leave nothing stored.
            outcome = importer.check()
            if dry_run or outcome.refused:
                return outcome
        return importer.store(skip_bad=skip_bad)


def known_import(digest: str, options: str) -> Import | None:
    # The last transaction of a killed run may still be ending: wait for its lock.
    with transaction.atomic():
        return Import.objects.select_for_update().filter(digest=digest, options=options).first()


def required_columns(job: ImportJob, columns: Sequence[str]) -> list[str]:
    """Return the columns of a CSV file; if lines name their devices, those of the most similar profile."""
    if job.owner is not None:
        return list(json_keys(decoding.SensorReading))
    if job.device is not None:
        return ["timestamp", *(channel.name for channel in job.device.channels)]
    profiles = DeviceProfile.objects.prefetch_related("channels")
    channels = ([channel.name for channel in profile.channels.all()] for profile in profiles)
    nearest = min(channels, key=lambda names: len(set(names) ^ set(columns)), default=[])
    return ["device", "timestamp", *nearest]


class ReadingImporter:
    """The two passes over a file, check and store; both begin where its `progress` stands."""

    def __init__(self, job: ImportJob, source: RecordFile, progress: Import, report: ReportProgress) -> None:
        self.job = job
        self.source = source
        self.progress = progress
        self.report = report
        self.devices = KnownDevices()

    def check(self) -> ImportOutcome:
        outcome = ImportOutcome(stored=self.progress.stored)
        directory = UnregisteredSensors(self.job.owner.pk) if self.job.owner else None
        for chunk in self.chunks(directory):
            outcome.add(chunk)
            self.report("Checking", chunk.position, self.source.size)
        return outcome

    def store(self, *, skip_bad: bool) -> ImportOutcome:
        if self.progress.pk is None:
            self.begin()
        outcome = ImportOutcome(stored=self.progress.stored)
        directory = OwnSensors(self.job.owner.pk) if self.job.owner else None
        for chunk in self.chunks(directory):
            outcome.add(chunk)
            if chunk.faults and not skip_bad:
                # The first pass found no fault: meanwhile a device was deactivated, or its range changed.
                return outcome
            self.store_chunk(chunk)
            outcome.stored = self.progress.stored
            self.report("Storing", chunk.position, self.source.size)
        Import.objects.filter(pk=self.progress.pk, finished_at=None).update(finished_at=timezone.now())
        outcome.is_complete = True
        return outcome

    def begin(self) -> None:
        progress = self.progress
        fields = {name: getattr(progress, name) for name in ("name", "line", "position", "started_at")}
        # Another process may begin the same file at this moment: store_chunk stops one of them.
        self.progress, _is_new = Import.objects.get_or_create(
            digest=progress.digest, options=progress.options, defaults=fields
        )

    def store_chunk(self, chunk: ReadingChunk) -> None:
        """Store rows and progress in one transaction. Raises CannotImport."""
        progress, before = self.progress, self.progress.line
        progress.line, progress.position = chunk.line, chunk.position
        progress.stored += len(chunk.rows.times)
        progress.refused += len(chunk.faults)
        done = {name: getattr(progress, name) for name in ("line", "position", "stored", "refused")}
        with transaction.atomic():
            if not Import.objects.filter(pk=progress.pk, line=before).update(**done):
                raise CannotImport("Another process is importing this file.")
            storage.current().append(chunk.rows, token=f"import {progress.pk} {before}")
            stored.call_after_commit([chunk.rows])

    def chunks(self, directory: SensorDirectory | None) -> Iterator[ReadingChunk]:
        """Yield the rest of the file, checked. `directory` has the sensors; None if lines name devices."""
        for block in self.source.blocks(self.progress.line, self.progress.position):
            targets = {} if directory else self.devices.find(block.records)
            faults, intakes = list(block.faults), []
            for device, records in block.records.items():
                taken = self.take(directory or targets.get(device), records.contents)
                intakes.append(taken)
                faults += records.faults(taken.receipt)
            rows = join_rows([taken.rows for taken in intakes])
            yield ReadingChunk(
                rows=rows,
                good=len(rows.times),
                faults=sorted(faults),
                assumed_zones=assumed_zones(taken.receipt for taken in intakes),
                line=block.line,
                position=block.position,
            )

    def take(self, sender: SensorDirectory | Target | None, contents: Sequence[Any]) -> Intake:
        """Check the contents of one sender's lines; None is an unknown device."""
        now, items = self.progress.started_at, self.source.format.items
        options: dict[str, Any] = {"skip_bad": True, "unit": PRECISIONS[self.job.precision]}
        if sender is None:
            return reject_all(contents, "device: There is no such device.")
        if not isinstance(sender, Target):
            readings = items(decoding.SensorReading, contents)
            return intake.take_sensor_items(sender, readings, now, **options)
        if not sender.is_active:
            return reject_all(contents, "device: Is inactive.")
        readings = items(decoding.reading_type(sender.names), contents)
        return intake.take_items(sender, readings, now, **options)


def reject_all(contents: Sequence[Any], message: str) -> Intake:
    return Intake(NO_ROWS, {"rejected": [{"index": i, "message": message} for i in range(len(contents))]})


def join_rows(parts: Sequence[Rows]) -> Rows:
    parts = [NO_ROWS, *parts]
    times = UnixTimes(np.concatenate([part.times for part in parts]))
    return Rows(b"".join(part.payload for part in parts), times)
