from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from analytics.activity.events import importer
from devices.files.formats import CannotImport
from devices.files.progress import RESUME_HINT, ProgressBar
from devices.storage.interface import StorageUnavailable


class Command(BaseCommand):
    help = (
        "Store the events of a CSV file with the columns login, event, at and perhaps object_id and id: all "
        "or, if a line is bad, none; each line once, also if this is killed and repeated."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="check the file and store nothing")
        parser.add_argument("--partial", action="store_true", help="store the good lines, report the others")

    def handle(self, *, file: Path, dry_run: bool, partial: bool, **_: Any) -> None:
        bar = ProgressBar(self.stderr)
        try:
            outcome = importer.import_events(file, dry_run=dry_run, skip_bad=partial, tell=bar.show)
        except CannotImport as error:
            raise CommandError(f"{file}: {error}") from error
        except OSError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, InterfaceError, StorageUnavailable) as error:
            raise CommandError(f"A database went away: {error} {RESUME_HINT}") from error
        except KeyboardInterrupt as error:
            raise CommandError(f"Stopped. {RESUME_HINT}", returncode=130) from error
        finally:
            bar.clear()
        for fault in outcome.faults:
            self.stderr.write(f"Line {fault.line}: {fault.message}")
        self.stdout.write(outcome.in_words())
        if outcome.refused:
            raise CommandError(f"Bad lines: {outcome.refused:,}. Shown: {len(outcome.faults)}.")
