"""The command import_readings, and files for it."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.core.management import call_command
from django.core.management.base import CommandError

from devices.models import Device
from devices.storage.postgresql import readings_table
from devices.timeline.periods import Period

START = datetime(1998, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def stamp(second: int) -> str:
    return (START + second * SECOND).isoformat()


def stored(of: Device) -> list[tuple[datetime, list[float]]]:
    """Oldest first."""
    return [(row.time, row.values) for row in reversed(readings_table.page([of.pk], Period(), limit=10_000))]


def values(of: Device) -> list[list[float]]:
    return [row for _, row in stored(of)]


class Run:
    """What came of the command."""

    def __init__(self, path: Path, *arguments: object) -> None:
        self.out, self.err, self.failure = io.StringIO(), io.StringIO(), ""
        options = map(str, arguments)
        try:
            call_command(
                "import_readings", str(path), *options, stdout=self.out, stderr=self.err, no_color=True
            )
        except CommandError as error:
            self.failure = str(error)

    @property
    def said(self) -> str:
        return self.out.getvalue()

    @property
    def errors(self) -> list[str]:
        return self.err.getvalue().splitlines()
