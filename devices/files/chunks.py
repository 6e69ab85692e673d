"""Checked lines of a file, and the outcome of a run: what imports of readings and of events share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from devices.files.formats import CannotImport
from devices.files.record_file import Fault

MAX_FAULTS = 100


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Checked lines of a block: `good` of them hold what can be stored, `faults` name the others.

    `line` is the last line, which ends at the byte `position`.
    """

    good: int
    faults: list[Fault]
    assumed_zones: set[str]
    line: int
    position: int


@dataclass(kw_only=True)
class Outcome:
    """Result of one run over a file. `faults` are the first MAX_FAULTS of `refused` lines.

    `is_complete`: the file was stored to its end.
    """

    good: int = 0
    refused: int = 0
    faults: list[Fault] = field(default_factory=list)
    assumed_zones: set[str] = field(default_factory=set)
    is_complete: bool = False

    def add(self, chunk: Chunk) -> None:
        self.good += chunk.good
        self.refused += len(chunk.faults)
        self.faults += chunk.faults[: MAX_FAULTS - len(self.faults)]
        self.assumed_zones |= chunk.assumed_zones

    def in_words(self) -> str:
        raise NotImplementedError

    def with_zones(self, text: str) -> str:
        """Append which zones were assumed, if any."""
        zones = ", ".join(sorted(self.assumed_zones))
        return f"{text} Stamps without an offset were read in {zones}." if zones else text


def assumed_zones(receipts: Iterable[dict[str, Any]]) -> set[str]:
    texts = (receipt.get("assumed_timezone") for receipt in receipts)
    return {zone for text in texts if text for zone in text.split(", ")}


def check_columns(columns: Sequence[str], required: Sequence[str], optional: Sequence[str] = ()) -> None:
    """Check the columns of a CSV file, which may stand in any order. Raises CannotImport."""
    unknown = [repr(column) for column in columns if column not in (*required, *optional)]
    missing = [repr(column) for column in required if column not in columns]
    if unknown or missing:
        parts = (("Unknown", unknown), ("Missing", missing))
        faults = " ".join(f"{word}: {', '.join(names)}." for word, names in parts if names)
        may = f" and may name {','.join(optional)}" if optional else ""
        raise CannotImport(f"The first line must name the columns {','.join(required)}{may}. {faults}")
