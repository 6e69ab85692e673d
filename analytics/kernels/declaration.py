"""A kernel's declaration: validation, OpenAPI, form, table and chart are all made from it.

`well.py` is a plain example, `forecast.py` one that reads data. docs/calculations.md has the three ways to
add a kernel: in this folder, in a package, and as a function, for which `function.py` makes the declaration.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from analytics.kernels.parameters import Parameter

MAX_ROWS = 100_000
KERNEL_NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}", re.ASCII)
VERSION_LENGTH = 20
# Fields that every request for a calculation has beside the kernel's parameters.
RESERVED = {"name", "kernel", "seed"}

Values = Mapping[str, Any]
Row = tuple[Any, ...]
# Takes the work done and the total work. Raises once the run is lost: a kernel lets that pass.
Progress = Callable[[int, int], None]


class InvalidParameters(Exception):
    """Parameters that cannot be computed with; `errors` has a message by the parameter's name."""

    def __init__(self, errors: dict[str, str]) -> None:
        # The base class gets the same arguments: pickling, from a worker's process to the worker, needs them.
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "; ".join(f"{name}: {message}" for name, message in self.errors.items())


class BadDeclaration(ValueError):
    """A declaration that cannot be used; the message says why."""


class BadRow(ValueError):
    """A kernel made a row that cannot be stored; the message says which."""


class NoResult(Exception):
    """Raised by `run` where the data give no result: an expected outcome, which the message explains."""


@dataclass(frozen=True)
class Column:
    """A column of the result. The first column, a date or a moment, is the chart's horizontal axis.

    `draw` is how the chart shows a number: `area` and `line` on the left axis, `line-right` on the right one,
    `low` and `high` as the edges of a band.
    """

    name: str
    label: str
    kind: Literal["date", "moment", "number"] = "number"
    unit: str = ""
    draw: Literal["area", "line", "line-right", "low", "high"] = "line"

    @property
    def heading(self) -> str:
        return f"{self.label}, {self.unit}" if self.unit else self.label


@dataclass(frozen=True)
class Table:
    """Rows with their columns, from a kernel that declares none."""

    columns: Sequence[Column]
    rows: Iterator[Row]


@dataclass(frozen=True)
class Invariant:
    """A condition that each row should meet; `holds` takes a row's values by column name."""

    label: str
    holds: Callable[[Values], bool]


def no_units(parameters: Values) -> dict[str, str]:
    return {}


def accept(parameters: Values, asker: Any) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A computation from parameters and a seed to rows.

    `run` yields rows in the order of the columns: dates and moments as ISO 8601 text, finite numbers. The
    same parameters, generator state and library versions must give the same rows. `check` raises
    InvalidParameters for rules about several parameters, or for what `asker`, a user, may not see; it is
    called with the request and again before the run. `units` returns, by column name, the units that depend
    on the stored parameters.
    """

    name: str
    label: str
    description: str
    version: str
    parameters: Sequence[Parameter]
    columns: Sequence[Column]
    invariants: Sequence[Invariant]
    run: Callable[[Values, np.random.Generator, Progress], Iterator[Row] | Table]
    example: Values
    check: Callable[[Values, Any], None] = accept
    units: Callable[[Values], Mapping[str, str]] = no_units
    libraries: Sequence[str] = field(default=("numpy",))

    def __post_init__(self) -> None:
        if not KERNEL_NAME.fullmatch(self.name):
            raise BadDeclaration(f"the name {self.name!r} is not of the form {KERNEL_NAME.pattern}")
        if not 0 < len(self.version) <= VERSION_LENGTH:
            raise BadDeclaration(
                f"the version {self.version!r} does not have 1 to {VERSION_LENGTH} characters"
            )
        for kind, parts in (("parameter", self.parameters), ("column", self.columns)):
            names = [part.name for part in parts]
            if len(set(names)) < len(names):
                raise BadDeclaration(f"two {kind}s have the same name: {', '.join(names)}")
        taken = RESERVED & {parameter.name for parameter in self.parameters}
        if taken:
            raise BadDeclaration(
                f"every calculation has a field {min(taken)!r}: no parameter can be called so"
            )
        if self.columns and self.columns[0].kind == "number":
            raise BadDeclaration(f"the first column, {self.columns[0].name}, is neither a date nor a moment")

    def columns_of(self, stored: Values) -> list[Column]:
        """The columns, with the units that they have for these stored parameters."""
        units = self.units(stored)
        return [replace(column, unit=units.get(column.name, column.unit)) for column in self.columns]

    def read(self, stored: Values) -> dict[str, Any]:
        """Parameters from the JSON that `written` made."""
        fields = {parameter.name: parameter.api_field() for parameter in self.parameters}
        return {name: fields[name].run_validation(value) for name, value in stored.items()}

    def written(self, parameters: Values) -> dict[str, Any]:
        """Parameters as JSON."""
        fields = {parameter.name: parameter.api_field() for parameter in self.parameters}
        return {name: fields[name].to_representation(value) for name, value in parameters.items()}
