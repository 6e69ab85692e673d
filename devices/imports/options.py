"""How an upload is read: guessed at first, shown, and changed by its form."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from devices.imports.cells.columns import CHANNEL, CLOCK, DEVICE, TIME

TEXT, JSON, EXCEL = "text", "json", "xlsx"
SEPARATORS = {";": "Semicolon ;", ",": "Comma ,", "\t": "Tab", "|": "Bar |"}
ENCODINGS = {
    "utf-8-sig": "UTF-8",
    "utf-16-le": "UTF-16, little-endian",
    "utf-16-be": "UTF-16, big-endian",
    "cp1252": "Windows-1252 (Western Europe)",
}
SKIP, STORE = "skip", "store"
# A change of these gives other cells: what was guessed of the old ones is guessed anew.
LAYOUT = ("encoding", "separator", "sheet", "header_row")


@dataclass(frozen=True)
class Options:
    kind: str = TEXT
    encoding: str = "utf-8-sig"
    separator: str = ","
    sheet: str = ""
    # The row that names the columns, from 1; 0 if none does. Rows before it are left out.
    header_row: int = 1
    decimal: str = "."
    is_grouped: bool = False
    order: str = "year"
    unit: str = "s"
    # Of stamps without an offset; empty: the zone of each device.
    zone: str = ""
    repeats: str = SKIP
    roles: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in names})

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def changed(self, **values: Any) -> "Options":
        return replace(self, **values)

    def is_same_layout(self, other: "Options") -> bool:
        return all(getattr(self, name) == getattr(other, name) for name in LAYOUT)

    def column_of(self, role: str) -> int | None:
        return self.roles.index(role) if role in self.roles else None

    @property
    def time_column(self) -> int | None:
        return self.column_of(TIME)

    @property
    def clock_column(self) -> int | None:
        return self.column_of(CLOCK)

    @property
    def device_column(self) -> int | None:
        return self.column_of(DEVICE)

    @property
    def channel_columns(self) -> dict[str, int]:
        """Columns by the name of their channel."""
        return {
            role.removeprefix(CHANNEL): i for i, role in enumerate(self.roles) if role.startswith(CHANNEL)
        }
