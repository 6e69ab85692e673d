import gc
from pathlib import Path
from typing import Any
from uuid import UUID

from django.utils import timezone

from devices.files import importer
from devices.files.chunks import Outcome
from devices.files.import_command import ImportCommand
from devices.files.importer import ImportJob
from devices.files.progress import ReportProgress
from devices.timeline.unix_time import PRECISIONS


class Command(ImportCommand):
    help = (
        "Import the readings of a CSV or NDJSON file. If a line is bad, nothing is stored, unless --partial "
        "is given. Each line is stored once, even if the command is killed and run again. docs/importing.md "
        "describes the formats."
    )

    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--format",
            choices=("csv", "ndjson"),
            help=f"format of a file that does not end in {', '.join(importer.FORMATS)}",
        )
        parser.add_argument(
            "--precision",
            choices=PRECISIONS,
            default="s",
            help="unit of timestamps that are numbers, counted from 1970 (default: s)",
        )
        sender = parser.add_mutually_exclusive_group()
        sender.add_argument(
            "--device", type=UUID, help="id of the device that sent all lines, if they don't name devices"
        )
        sender.add_argument("--owner", metavar="LOGIN", help="owner of the sensors that the lines name")

    def handle(self, **options: Any) -> None:
        # Otherwise a third of the time goes into garbage collection of all that Django has loaded.
        gc.freeze()
        try:
            super().handle(**options)
        finally:
            gc.unfreeze()

    def import_file(self, file: Path, report: ReportProgress, **options: Any) -> Outcome:
        job = ImportJob(
            file,
            file.name,
            options["format"] or importer.guess_format(file.name),
            device=options["device"] and importer.find_device(options["device"]),
            owner=options["owner"] and importer.find_owner(options["owner"]),
            precision=options["precision"],
        )
        return importer.run_import(
            job, timezone.now(), dry_run=options["dry_run"], skip_bad=options["partial"], report=report
        )
