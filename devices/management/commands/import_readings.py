import gc
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from devices.files import importer
from devices.files.formats import CannotImport
from devices.files.importer import ImportJob
from devices.files.progress import RESUME_HINT, ProgressBar


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
        bar = ProgressBar(self.stderr)
        try:
            job = ImportJob(
                file,
                file.name,
                options["format"] or importer.guess_format(file.name),
                device=options["device"] and importer.find_device(options["device"]),
                owner=options["owner"] and importer.find_owner(options["owner"]),
            )
            outcome = importer.run_import(
                job, timezone.now(), dry_run=dry_run, skip_bad=partial, tell=bar.show
            )
        except CannotImport as error:
            raise CommandError(f"{file}: {error}") from error
        except OSError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(f"The database went away: {error}{RESUME_HINT}") from error
        except KeyboardInterrupt as error:
            raise CommandError(f"Stopped. {RESUME_HINT}", returncode=130) from error
        finally:
            bar.clear()
            gc.unfreeze()
        for fault in outcome.faults:
            self.stderr.write(f"Line {fault.line}: {fault.message}")
        self.stdout.write(outcome.in_words())
        if outcome.refused and not outcome.done_before:
            raise CommandError(f"Bad lines: {outcome.refused:,}. Shown: {len(outcome.faults)}.")
