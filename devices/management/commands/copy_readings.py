from contextlib import suppress
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from devices import storage
from devices.files.progress import RESUME_HINT, ProgressBar
from devices.locks import AdvisoryLock, single_run
from devices.models import Device
from devices.storage import transfer
from devices.storage.interface import Storage, StorageUnavailable
from devices.storage.transfer import Difference, Surplus

OWN = "postgresql"
SHOWN = 100


class Command(BaseCommand):
    help = (
        "Copy all readings to another storage, or back: what differs, by device and day, verified by counts"
        " and checksums. Killed or repeated, it goes on where it stopped. See docs/scaling.md."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--to", required=True, metavar="URL", help=f"clickhouse://… or {OWN}")
        parser.add_argument("--from", metavar="URL", help="instead of READINGS_URL, or of the other one")
        parser.add_argument("--device", type=UUID, help="the id of one device")
        parser.add_argument("--check", action="store_true", help="copy nothing, only compare")
        parser.add_argument(
            "--delete",
            action="store_true",
            help="delete at the target what the source has not; never where the portal writes to",
        )

    def handle(self, *, to: str, device: UUID | None, check: bool, delete: bool, **options: Any) -> None:
        current = settings.READINGS_URL or OWN
        source_url = options["from"] or (OWN if to == current else current)
        if source_url == to:
            raise CommandError("The readings are there already: say --from where they are to come.")
        if delete and to == current:
            raise CommandError("--delete: The portal writes there, and what is there only may be new.")
        devices = Device.objects.order_by("pk")
        if device is not None and not (devices := devices.filter(uuid=device)):
            raise CommandError("There is no such device.")
        surplus = Surplus.NEW if to == current else Surplus.DELETED if delete else Surplus.DIFFERS
        bar = ProgressBar(self.stderr)
        try:
            source, target = opened("--from", source_url), opened("--to", to)
            if check:
                left = transfer.compare(source, target, list(devices), bar.show)
            else:
                with single_run(AdvisoryLock.COPY_READINGS) as is_ours:
                    if not is_ours:
                        raise CommandError("Another copy_readings is under way.")
                    left = transfer.copy(source, target, list(devices), bar.show, surplus)
        except StorageUnavailable as error:
            raise CommandError(f"{error} {RESUME_HINT}") from error
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                f"The portal's database went away: {str(error).strip()} {RESUME_HINT}"
            ) from error
        except KeyboardInterrupt as error:
            raise CommandError(f"Stopped. {RESUME_HINT}", returncode=130) from error
        finally:
            bar.clear()
        for difference in left[:SHOWN]:
            self.stderr.write(in_words(difference))
        if left:
            has_more = not delete and any(one.target.count > one.source.count for one in left)
            hint = " What is only there stays, unless --delete is given." if has_more else ""
            raise CommandError(f"Days of devices that differ: {len(left):,}.{hint}")
        self.stdout.write(f"The same on both sides, to the last bit: {len(devices):,} devices.")


def opened(option: str, url: str) -> Storage:
    """Raises CommandError."""
    # Nothing of the fault is shown: its words may hold the password.
    with suppress(ValueError):
        if url == OWN or url.partition("://")[0] in storage.ENGINES:
            return storage.opened(url)
    raise CommandError(
        f"{option} must be of the form clickhouse://user:password@host:port/database, or {OWN}."
    )


def in_words(difference: Difference) -> str:
    day = date(1970, 1, 1) + timedelta(days=difference.day)
    counts = f"{difference.source.count:,} here, {difference.target.count:,} there"
    if difference.source.count == difference.target.count:
        counts = f"{difference.source.count:,} on both sides, but not the same"
    return f"{difference.device.uuid} {day}: {counts}"
