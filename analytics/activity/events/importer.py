"""Import of events from files: lines are checked, and stored in chunks, each line once.

Each line's event has an id, made of the file's content and the line's number unless the line names one. The
logs store an id once: so a file may be imported again, and an import that was killed may continue.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics.activity import storage
from analytics.activity.events import intake
from analytics.activity.events.event import Event, event_id
from analytics.activity.events.intake import OPTIONAL_KEYS, REQUIRED_KEYS, KnownObjects
from devices.files.chunks import Chunk, Outcome, assumed_zones, check_columns
from devices.files.progress import ReportProgress, report_nothing
from devices.files.record_file import RecordFile, Records

# All files are one sender: the same id in two files is one event.
SENDER = "file"


@dataclass(frozen=True, kw_only=True)
class EventChunk(Chunk):
    events: list[Event]


@dataclass(kw_only=True)
class EventImportOutcome(Outcome):
    """`new` of the `good` lines were not in the logs yet."""

    new: int = 0

    def in_words(self) -> str:
        if self.is_complete:
            return self.with_zones(
                f"Stored: {self.new:,} events. Already stored before: {self.good - self.new:,}."
            )
        return self.with_zones(f"Good: {self.good:,} events. Nothing was stored.")


def import_events(
    path: Path, *, dry_run: bool = False, skip_bad: bool = False, report: ReportProgress = report_nothing
) -> EventImportOutcome:
    """Store the file's events, or none if a line is bad; `skip_bad` stores those of the good lines.

    A dry run only checks. Raises CannotImport, StorageUnavailable.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        # Lines name no device, so all records of a block come under the empty one.
        source = RecordFile(file, "csv", device="")
        check_columns(source.columns, REQUIRED_KEYS, OPTIONAL_KEYS)
        if dry_run or not skip_bad:
            # All lines are checked first: a bad one at the end must leave nothing stored.
            outcome = EventImportOutcome()
            for chunk in chunks(source, digest):
                outcome.add(chunk)
                report("Checking", chunk.position, source.size)
            if dry_run or outcome.refused:
                return outcome
        outcome = EventImportOutcome()
        for chunk in chunks(source, digest):
            outcome.add(chunk)
            outcome.new += storage.current().append(chunk.events)
            report("Storing", chunk.position, source.size)
        outcome.is_complete = True
        return outcome


def chunks(source: RecordFile, digest: str) -> Iterator[EventChunk]:
    known = KnownObjects(asker=None)
    for block in source.blocks(source.line, source.position):
        records = block.records.get("", Records([], []))
        items = [item(source.columns, cells) for cells in records.contents]
        ids = [event_id(digest, str(line)) for line in records.lines]
        taken = intake.take_event_items(items, known, SENDER, ids)
        yield EventChunk(
            events=taken.events,
            good=len(taken.events),
            faults=sorted([*block.faults, *records.faults(taken.receipt)]),
            assumed_zones=assumed_zones([taken.receipt]),
            line=block.line,
            position=block.position,
        )


def item(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Return the event as JSON would have it; an empty cell of an optional column is left out."""
    named = dict(zip(columns, cells, strict=True))
    found: dict[str, Any] = {name: cell for name, cell in named.items() if cell or name in REQUIRED_KEYS}
    number = found.get("object_id", "")
    if number.isascii() and number.isdigit() and len(number) < 16:
        found["object_id"] = int(number)
    return found
