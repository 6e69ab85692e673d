from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from devices.files.chunks import Outcome
from devices.files.formats import CannotImport
from devices.files.progress import RESUME_HINT, ProgressBar, ReportProgress
from devices.notation.numbers import count_text
from devices.storage.interface import StorageUnavailable


class ImportCommand(BaseCommand):
    """A command that imports a file, shows its progress and names bad lines."""

    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="check the file and store nothing")
        parser.add_argument(
            "--partial", action="store_true", help="store the good lines even if other lines are bad"
        )

    def import_file(self, file: Path, report: ReportProgress, **options: Any) -> Outcome:
        raise NotImplementedError

    def handle(self, *, file: Path, **options: Any) -> None:
        bar = ProgressBar(self.stderr)
        try:
            outcome = self.import_file(file, bar.show, **options)
        except CannotImport as error:
            raise CommandError(f"{file}: {error}") from error
        except OSError as error:
            raise CommandError(str(error)) from error
        except (OperationalError, InterfaceError, StorageUnavailable) as error:
            raise CommandError(f"A database does not answer: {str(error).strip()} {RESUME_HINT}") from error
        except KeyboardInterrupt as error:
            raise CommandError(f"Stopped. {RESUME_HINT}", returncode=130) from error
        finally:
            bar.clear()
        for fault in outcome.faults:
            self.stderr.write(f"Line {fault.line}: {fault.message}")
        self.stdout.write(outcome.in_words())
        if outcome.refused:
            raise CommandError(f"Bad lines: {count_text(outcome.refused)}. Shown: {len(outcome.faults)}.")
