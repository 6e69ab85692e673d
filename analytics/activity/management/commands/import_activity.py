from pathlib import Path
from typing import Any

from analytics.activity.events import importer
from devices.files.chunks import Outcome
from devices.files.import_command import ImportCommand
from devices.files.progress import ReportProgress


class Command(ImportCommand):
    help = (
        "Import the events of a CSV file with the columns login, event, at and, if wanted, object_id and id. "
        "If a line is bad, nothing is stored, unless --partial is given. Each line is stored once, even if "
        "the command is killed and run again."
    )

    def import_file(self, file: Path, report: ReportProgress, **options: Any) -> Outcome:
        return importer.import_events(
            file, dry_run=options["dry_run"], skip_bad=options["partial"], report=report
        )
