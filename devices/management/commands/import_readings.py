import gc
import time
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from devices import importer
from devices.importer import CannotImport, Job

BAR_WIDTH = 40
REDRAW_SECONDS = 0.1
GOES_ON = "The same command goes on where this one stopped."


class Command(BaseCommand):
    help = (
        "Store the readings of a CSV or NDJSON file: all or, if a line is bad, none; each line once, also if "
        "this is killed and repeated. README has the formats."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--format", choices=("csv", "ndjson"), help="if the file's ending does not tell")
        whose = parser.add_mutually_exclusive_group()
        whose.add_argument("--device", type=UUID, help="of which all lines are; else each names its own")
        whose.add_argument("--owner", metavar="LOGIN", help="of the sensors that the lines name")
        parser.add_argument("--dry-run", action="store_true", help="check the file and store nothing")
        parser.add_argument("--partial", action="store_true", help="store the good lines, report the others")

    def handle(self, *, file: Path, dry_run: bool, partial: bool, **options: Any) -> None:
        # Else a third of the time is spent on looking for garbage among all that Django has loaded.
        gc.freeze()
        bar = Bar(self.stderr)
        try:
            job = Job(
                file,
                file.name,
                options["format"] or importer.guess_format(file.name),
                device=options["device"] and importer.find_device(options["device"]),
                owner=options["owner"] and importer.find_owner(options["owner"]),
            )
            outcome = importer.run(job, timezone.now(), dry_run=dry_run, skip_bad=partial, tell=bar.show)
        except CannotImport as error:
            raise CommandError(f"{file}: {error}") from error
        except OSError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database went away: {error}{GOES_ON}") from error
        except KeyboardInterrupt as error:
            raise CommandError(f"Stopped. {GOES_ON}", returncode=130) from error
        finally:
            bar.clear()
            gc.unfreeze()
        for fault in outcome.faults:
            self.stderr.write(f"Line {fault.line}: {fault.message}")
        self.stdout.write(outcome.in_words())
        if outcome.refused and not outcome.done_before:
            raise CommandError(f"Bad lines: {outcome.refused:,}. Shown: {len(outcome.faults)}.")


class Bar:
    """One line of a terminal that shows how far the work is; on anything else nothing."""

    def __init__(self, stream: OutputWrapper) -> None:
        self.stream = stream if stream.isatty() else None
        self.drawn_at = 0.0

    def show(self, doing: str, done: int, size: int) -> None:
        if self.stream is None or time.monotonic() - self.drawn_at < REDRAW_SECONDS:
            return
        self.drawn_at = time.monotonic()
        filled = "#" * (BAR_WIDTH * done // size)
        self.draw(f"{doing} [{filled:.<{BAR_WIDTH}}] {100 * done // size:3} %")

    def clear(self) -> None:
        if self.drawn_at:
            self.draw("")

    def draw(self, text: str) -> None:
        # Erases the rest of the line (ECMA-48, EL).
        self.stream.write(f"\r{text}\x1b[K", ending="", style_func=str)
        self.stream.flush()
