"""Readings out of files: checked line by line, stored in chunks, each line once.

How far a file is stored stands in its `Import`, which changes only in the transaction that stores a chunk.
Killed at any point, the same import goes on behind the last chunk, and one that is done stores nothing.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from django.db import transaction
from django.utils import timezone

from devices import storage
from devices.access.credential_cache import CacheEntry, CredentialCache
from devices.access.grants import Target
from devices.files.formats import CannotImport, Fault, RecordFile, keys
from devices.ingestion import checks, decoding, intake, stored
from devices.ingestion.intake import Intake
from devices.ingestion.sensors import NEW_SENSOR, OwnSensors, SensorDirectory
from devices.models import Device, DeviceProfile, Import
from devices.storage.interface import Rows
from users.models import User

FORMATS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
MAX_FAULTS = 100
NOTHING = Rows(b"", np.empty(0, np.int64))

# Called with what is going on, and how many bytes of how many are done.
Tell = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ImportJob:
    """A file and what is in it: readings of one device, of an owner's sensors, or of the devices it names."""

    path: Path
    name: str
    format: str
    device: Device | None = None
    owner: User | None = None

    @property
    def options(self) -> str:
        if self.device is not None:
            return f"{self.format} of device {self.device.uuid}"
        return (
            f"{self.format} of sensors of user {self.owner.pk}" if self.owner else f"{self.format} of devices"
        )

    @property
    def address(self) -> str | None:
        """The device of every line, empty for sensors; None if each line names its own."""
        if self.device is not None:
            return str(self.device.uuid)
        return "" if self.owner else None


class Chunk(NamedTuple):
    """Some lines, checked. It ends behind the line `line`, at the byte `position`."""

    rows: Rows
    faults: list[Fault]
    assumed_zones: set[str]
    line: int
    position: int


@dataclass
class ImportOutcome:
    """`stored` counts what this file has brought in all, by however many runs; the rest is of this run."""

    stored: int
    refused: int = 0
    done_before: datetime | None = None
    good: int = 0
    faults: list[Fault] = field(default_factory=list)  # the first MAX_FAULTS
    assumed_zones: set[str] = field(default_factory=set)
    is_complete: bool = False

    def in_words(self) -> str:
        if self.done_before is not None:
            at = f"{self.done_before:%Y-%m-%d %H:%M:%S} UTC"
            return (
                f"This file was imported before, at {at}: {self.stored:,} readings. Nothing was stored now."
            )
        if self.is_complete:
            text = f"Stored: {self.stored:,} readings."
        else:
            stored = f"Stored so far: {self.stored:,}" if self.stored else "Nothing was stored"
            text = f"Good: {self.good:,} readings. {stored}."
        zones = ", ".join(sorted(self.assumed_zones))
        return f"{text} Stamps without an offset were read in {zones}." if zones else text

    def note(self, chunk: Chunk) -> None:
        self.good += len(chunk.rows.times)
        self.refused += len(chunk.faults)
        self.faults += chunk.faults[: MAX_FAULTS - len(self.faults)]
        self.assumed_zones |= chunk.assumed_zones


def guess_format(name: str) -> str:
    """By the file's ending. Raises CannotImport."""
    ending = Path(name).suffix.lower()
    if ending not in FORMATS:
        raise CannotImport(f"The ending of {name} does not tell whether it is csv or ndjson: say which.")
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
    tell: Tell = lambda *_: None,
) -> ImportOutcome:
    """Store the file's readings: all or, if a line is bad, none; with `skip_bad` those of the good lines.

    A dry run only checks. Raises CannotImport.
    """
    with job.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        known = None if dry_run else known_import(digest, job.options)
        if known is not None and known.finished_at is not None:
            return ImportOutcome(known.stored, known.refused, known.finished_at)
        source = RecordFile(file, job.format, job.address)
        if job.format == "csv":
            check_columns(source.columns, wanted_columns(job, source.columns))
        progress = known or Import(
            name=checks.printable(job.name)[-255:],
            digest=digest,
            options=job.options,
            line=source.line,
            position=source.position,
            started_at=now,
        )
        importer = ReadingImporter(job, source, progress, tell)
        if dry_run or not skip_bad:
            # First all, so that one bad line at the end leaves nothing behind.
            outcome = importer.check()
            if dry_run or outcome.refused:
                return outcome
        return importer.store(skip_bad=skip_bad)


def known_import(digest: str, options: str) -> Import | None:
    # A killed run's last transaction may still be ending: its lock is waited for.
    with transaction.atomic():
        return Import.objects.select_for_update().filter(digest=digest, options=options).first()


def wanted_columns(job: ImportJob, columns: Sequence[str]) -> list[str]:
    """What a CSV file must name; if each line names its device, as the profile has it that comes nearest."""
    if job.owner is not None:
        return list(keys(decoding.SensorReading))
    if job.device is not None:
        return ["timestamp", *(channel.name for channel in job.device.channels)]
    profiles = DeviceProfile.objects.prefetch_related("channels")
    channels = ([channel.name for channel in profile.channels.all()] for profile in profiles)
    nearest = min(channels, key=lambda names: len(set(names) ^ set(columns)), default=[])
    return ["device", "timestamp", *nearest]


def check_columns(columns: Sequence[str], wanted: Sequence[str]) -> None:
    """In any order. Raises CannotImport."""
    unknown = [repr(column) for column in columns if column not in wanted]
    missing = [repr(column) for column in wanted if column not in columns]
    faults = [
        f"{word}: {', '.join(names)}."
        for word, names in (("Unknown", unknown), ("Missing", missing))
        if names
    ]
    if faults:
        raise CannotImport(f"The first line must name the columns {','.join(wanted)}. {' '.join(faults)}")


class ReadingImporter:
    """The two passes over a file, from where its `progress` stands: check and store."""

    def __init__(self, job: ImportJob, source: RecordFile, progress: Import, tell: Tell) -> None:
        self.job = job
        self.source = source
        self.progress = progress
        self.tell = tell
        self.devices = KnownDevices()

    def check(self) -> ImportOutcome:
        outcome = ImportOutcome(self.progress.stored)
        directory = self.job.owner and UnregisteredSensors(self.job.owner.pk)
        for chunk in self.chunks(directory):
            outcome.note(chunk)
            self.tell("Checking", chunk.position, self.source.size)
        return outcome

    def store(self, *, skip_bad: bool) -> ImportOutcome:
        if self.progress.pk is None:
            self.begin()
        outcome = ImportOutcome(self.progress.stored)
        directory = self.job.owner and OwnSensors(self.job.owner.pk)
        for chunk in self.chunks(directory):
            outcome.note(chunk)
            if chunk.faults and not skip_bad:
                # Good when it was checked: a device was switched off meanwhile, or has another range.
                return outcome
            self.store_chunk(chunk)
            outcome.stored = self.progress.stored
            self.tell("Storing", chunk.position, self.source.size)
        Import.objects.filter(pk=self.progress.pk, finished_at=None).update(finished_at=timezone.now())
        outcome.is_complete = True
        return outcome

    def begin(self) -> None:
        progress = self.progress
        fields = {name: getattr(progress, name) for name in ("name", "line", "position", "started_at")}
        # Another process may begin with the same file at this moment: one of them will have to stop.
        self.progress, _is_new = Import.objects.get_or_create(
            digest=progress.digest, options=progress.options, defaults=fields
        )

    def store_chunk(self, chunk: Chunk) -> None:
        """The rows, and in the same transaction that they are stored. Raises CannotImport."""
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

    def chunks(self, directory: SensorDirectory | None) -> Iterator[Chunk]:
        """The rest of the file, checked; sensors are looked for in the `directory`."""
        for block in self.source.blocks(self.progress.line, self.progress.position):
            targets = {} if directory else self.devices.find(block.records)
            faults, takings = list(block.faults), []
            for device, (lines, contents) in block.records.items():
                taken = self.take(directory or targets.get(device), contents)
                takings.append(taken)
                faults += [Fault(lines[bad["index"]], bad["message"]) for bad in taken.receipt["rejected"]]
            yield Chunk(joined(takings), sorted(faults), assumed_zones(takings), block.line, block.position)

    def take(self, sender: SensorDirectory | Target | None, contents: Sequence[Any]) -> Intake:
        now, read = self.progress.started_at, self.source.format.items
        if sender is None:
            return all_rejected(contents, "device: There is no such device.")
        if not isinstance(sender, Target):
            items = read(decoding.SensorReading, contents)
            return intake.take_sensor_items(sender, items, now, skip_bad=True)
        if not sender.is_active:
            return all_rejected(contents, "device: Is inactive.")
        items = read(decoding.reading_type(sender.names), contents)
        return intake.take_items(sender, items, now, skip_bad=True)


class KnownDevices:
    """Devices by the text of their id, kept until they are changed, as at the other doors."""

    def __init__(self) -> None:
        self.kept = CredentialCache()

    def find(self, texts: Iterable[str]) -> dict[str, Target]:
        self.kept.confirm()
        begun = self.kept.begin()
        found = {text: self.kept.get(text) for text in texts}
        missing = [(as_uuid(text), text) for text, target in found.items() if target is None]
        if missing:
            devices = Device.objects.with_channels().filter(uuid__in={uuid for uuid, _ in missing if uuid})
            targets = {device.uuid: Target.of(device) for device in devices}
            for uuid, text in missing:
                if uuid in targets:
                    found[text] = target = targets[uuid]
                    self.kept.put(text, CacheEntry(target, (("device", target.device_id),)), begun)
        return {text: target for text, target in found.items() if target is not None}


class UnregisteredSensors(OwnSensors):
    """For a check: sensors that are not known stay so."""

    def register(self, sensors: set[str]) -> dict[str, Target]:
        return dict.fromkeys(sensors, NEW_SENSOR)


def as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def all_rejected(contents: Sequence[Any], message: str) -> Intake:
    return Intake(NOTHING, {"rejected": [{"index": i, "message": message} for i in range(len(contents))]})


def joined(takings: Sequence[Intake]) -> Rows:
    rows = [NOTHING, *(taken.rows for taken in takings)]
    return Rows(b"".join(part.payload for part in rows), np.concatenate([part.times for part in rows]))


def assumed_zones(takings: Sequence[Intake]) -> set[str]:
    texts = (taken.receipt.get("assumed_timezone") for taken in takings)
    return {zone for text in texts if text for zone in text.split(", ")}
