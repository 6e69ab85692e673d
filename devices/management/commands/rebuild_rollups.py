import argparse
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from devices import storage
from devices.models import Device
from devices.storage.postgresql import segment_schedule


class Command(BaseCommand):
    help = (
        "Drop the sorted segments of all devices, or of one, and build them anew of the readings. Statistics"
        " stay right meanwhile, and are slower. Needed after the database was restored from a dump."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--device", type=UUID, help="the id of one device")

    def handle(self, *, device: UUID | None, **_: Any) -> None:
        if not storage.is_own_table():
            self.stdout.write("Nothing to rebuild: the readings are in ClickHouse, which needs no segments.")
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
                f"{progress.readings:,} readings" if progress.is_done else "left to a worker that is at it"
            )
            self.stdout.write(f"{number} of {len(devices)}: {each} ({each.uuid}): {outcome}")
