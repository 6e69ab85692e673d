from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from devices import storage, transfer
from devices.files.progress import RESUME_HINT, ProgressBar
from devices.locks import AdvisoryLock, single_run
from devices.models import Device
from devices.storage.interface import Storage, StorageUnavailable
from devices.transfer import Difference, Surplus

OWN = "postgresql"
# Differences that are listed one by one.
SHOWN = 100


class Command(BaseCommand):
    help = (
        "Copy all readings from one storage to the other. Only days of devices that differ are copied, and"
        " each is verified by its number of readings and a checksum. Repeat the command to resume a copy that"
        " was killed. See docs/scaling.md."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--to", required=True, metavar="URL", help=f"the target: clickhouse://… or {OWN}")
        parser.add_argument(
            "--from", metavar="URL", help="the source, if it is not READINGS_URL (or, to that, PostgreSQL)"
        )
        parser.add_argument("--device", type=UUID, help="the id of the only device to copy")
        parser.add_argument("--check", action="store_true", help="only compare, copy nothing")
        parser.add_argument(
            "--delete",
            action="store_true",
            help="delete readings that only the target has; refused if the portal writes to the target",
        )

    def handle(self, *, to: str, device: UUID | None, check: bool, delete: bool, **options: Any) -> None:
        current = settings.READINGS_URL or OWN
        source_url = options["from"] or (OWN if to == current else current)
        if source_url == to:
            raise CommandError("The source is the target itself: name another source with --from.")
        if delete and to == current:
            raise CommandError(
                "--delete is refused: the portal writes to the target; readings that only it has may be new."
            )
        devices = chosen_devices(device)
        surplus = Surplus.NEW if to == current else Surplus.DELETED if delete else Surplus.DIFFERS
        bar = ProgressBar(self.stderr)
        try:
            with errors_explained():
                source, target = opened("--from", source_url), opened("--to", to)
                if check:
                    left = transfer.compare(source, target, list(devices), bar.show)
                else:
                    left = copy_alone(source, target, list(devices), bar, surplus)
        finally:
            bar.clear()
        self.report(left, len(devices), deleted=delete)

    def report(self, left: Sequence[Difference], devices: int, *, deleted: bool) -> None:
        """Raises CommandError if anything differs."""
        for difference in left[:SHOWN]:
            self.stderr.write(in_words(difference))
        if left:
            has_surplus = not deleted and any(day.target.count > day.source.count for day in left)
            hint = " Readings that only the target has stay, unless --delete is given." if has_surplus else ""
            raise CommandError(f"Days of devices that differ: {len(left):,}.{hint}")
        self.stdout.write(f"Equal on both sides, to the last bit: {devices:,} devices.")


def chosen_devices(device: UUID | None) -> Sequence[Device]:
    devices = Device.objects.order_by("pk")
    if device is not None:
        devices = devices.filter(uuid=device)
        if not devices:
            raise CommandError("There is no such device.")
    return list(devices)


def copy_alone(
    source: Storage, target: Storage, devices: Sequence[Device], bar: ProgressBar, surplus: Surplus
) -> list[Difference]:
    with single_run(AdvisoryLock.COPY_READINGS) as is_ours:
        if not is_ours:
            raise CommandError("Another copy_readings is running.")
        return transfer.copy(source, target, devices, bar.show, surplus)


@contextmanager
def errors_explained() -> Iterator[None]:
    try:
        yield
    except StorageUnavailable as error:
        raise CommandError(f"{error} {RESUME_HINT}") from error
    except (OperationalError, InterfaceError) as error:
        raise CommandError(
            f"The connection to the portal's database was lost: {str(error).strip()} {RESUME_HINT}"
        ) from error
    except KeyboardInterrupt as error:
        raise CommandError(f"Stopped. {RESUME_HINT}", returncode=130) from error


def opened(option: str, url: str) -> Storage:
    """Raises CommandError."""
    # The cause is not shown: its text may contain the password.
    with suppress(ValueError):
        if url == OWN or url.partition("://")[0] in storage.ENGINES:
            return storage.opened(url)
    raise CommandError(
        f"{option} must be of the form clickhouse://user:password@host:port/database, or {OWN}."
    )


def in_words(difference: Difference) -> str:
    day = date(1970, 1, 1) + timedelta(days=difference.day)
    source, target = difference.source.count, difference.target.count
    counts = f"{source:,} in the source, {target:,} in the target"
    if source == target:
        counts = f"{source:,} on both sides, with other times or values"
    return f"{difference.device.uuid} {day}: {counts}"
