import argparse
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from devices import storage
from devices.models import Device
from devices.storage.postgresql import segment_schedule


class Command(BaseCommand):
    help = (
        "Drop the sorted segments of all devices, or of one, and build them again from the readings."
        " Statistics stay exact meanwhile, but are slower. Run it after restoring the database from a dump."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--device", type=UUID, help="the id of the only device to rebuild")

    def handle(self, *, device: UUID | None, **_: Any) -> None:
        if not storage.is_own_table():
            self.stdout.write("Nothing to rebuild: ClickHouse has the readings, and needs no segments.")
            return
        devices = Device.objects.with_channels()
        if device is not None:
            devices = devices.filter(uuid=device)
            if not devices:
                raise CommandError("There is no such device.")
        for number, each in enumerate(devices, start=1):
            segment_schedule.drop([each.pk])
            progress = segment_schedule.build(each.pk, len(each.channels))
            outcome = (
                f"{progress.readings:,} readings" if progress.is_done else "left to the worker building them"
            )
            self.stdout.write(f"{number} of {len(devices)}: {each} ({each.uuid}): {outcome}")
