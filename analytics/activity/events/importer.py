"""Files of events: checked line by line, stored in blocks, each line once.

Every line has an id of its own, made of the file's content and its number unless it names one. The logs know
an event by its id, so that a file stored twice, or stored on after a kill, is stored once.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from analytics.activity import storage
from analytics.activity.events import intake
from analytics.activity.events.event import Event, event_id
from analytics.activity.events.intake import ITEM, KnownObjects
from devices.files.formats import CannotImport, Fault, RecordFile

REQUIRED = ("login", "event", "at")
MAX_FAULTS = 100
# All files are one sender: the same id in two of them is one event.
SENDER = "file"

# Called with what is going on, and how many bytes of how many are done.
Tell = Callable[[str, int, int], None]


class EventChunk(NamedTuple):
    events: list[Event]
    faults: list[Fault]
    is_naive: bool
    position: int


@dataclass
class EventImportOutcome:
    """`new` of the `good` lines were not in the logs yet."""

    good: int = 0
    new: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)  # the first MAX_FAULTS
    is_naive: bool = False
    is_stored: bool = False

    def note(self, chunk: EventChunk) -> None:
        self.good += len(chunk.events)
        self.refused += len(chunk.faults)
        self.faults += chunk.faults[: MAX_FAULTS - len(self.faults)]
        self.is_naive |= chunk.is_naive

    def in_words(self) -> str:
        if self.is_stored:
            text = f"Stored: {self.new:,} events. There before: {self.good - self.new:,}."
        else:
            text = f"Good: {self.good:,} events. Nothing was stored."
        return f"{text} Stamps without an offset were read in UTC." if self.is_naive else text


def import_events(
    path: Path, *, dry_run: bool = False, skip_bad: bool = False, tell: Tell = lambda *_: None
) -> EventImportOutcome:
    """Store the file's events: all or, if a line is bad, none; with `skip_bad` those of the good lines.

    A dry run only checks. Raises CannotImport, storage.Unavailable.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        # Lines are of no device: they come all together.
        source = RecordFile(file, "csv", device="")
        check_columns(source.columns)
        outcome = EventImportOutcome()
        if dry_run or not skip_bad:
            # First all, so that one bad line at the end leaves nothing behind.
            for chunk in chunks(source, digest):
                outcome.note(chunk)
                tell("Checking", chunk.position, source.size)
            if dry_run or outcome.refused:
                return outcome
            outcome = EventImportOutcome()
        for chunk in chunks(source, digest):
            outcome.note(chunk)
            outcome.new += storage.current().append(chunk.events)
            tell("Storing", chunk.position, source.size)
        outcome.is_stored = True
        return outcome


def check_columns(columns: Sequence[str]) -> None:
    """In any order. Raises CannotImport."""
    unknown = [repr(column) for column in columns if column not in ITEM]
    missing = [repr(column) for column in REQUIRED if column not in columns]
    if unknown or missing:
        parts = (("Unknown", unknown), ("Missing", missing))
        faults = " ".join(f"{word}: {', '.join(names)}." for word, names in parts if names)
        raise CannotImport(
            f"The first line must name login, event, at, and perhaps object_id and id. {faults}"
        )


def chunks(source: RecordFile, digest: str) -> Iterator[EventChunk]:
    known = KnownObjects(asker=None)
    for block in source.blocks(1, source.position):
        records = block.records.get("")
        lines, contents = records if records else ([], [])
        items = [item(source.columns, cells) for cells in contents]
        taken = intake.take_event_items(items, known, SENDER, [event_id(digest, str(line)) for line in lines])
        rejected = [Fault(lines[bad["index"]], bad["message"]) for bad in taken.receipt["rejected"]]
        is_naive = "assumed_timezone" in taken.receipt
        yield EventChunk(taken.events, sorted([*block.faults, *rejected]), is_naive, block.position)


def item(columns: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """An event as its JSON would be: an empty cell of what may be left out is left out."""
    named = dict(zip(columns, cells, strict=True))
    kept = {name: cell for name, cell in named.items() if cell or name in REQUIRED}
    number = kept.get("object_id", "")
    if number.isascii() and number.isdigit() and len(number) < 16:
        kept["object_id"] = int(number)
    return kept
