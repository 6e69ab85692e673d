"""Bounds of what one owner may have: devices, keys of a device, exclusions of a device, imports.

Each is counted only when one more is made, in the transaction that makes it. They raise LimitReached.
"""

from django.conf import settings
from django.db import connection

from devices.locks import AdvisoryLock
from devices.models import Device, Exclusion
from users.limits import LimitReached


def require_room_for_devices(owner_id: int, count: int = 1) -> None:
    """Require that the owner may have `count` devices more; those in the bin count, too."""
    most = settings.DEVICES_PER_OWNER
    if not most:
        return
    with connection.cursor() as cursor:
        # Until the commit: two simultaneous requests do not count the same devices.
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [AdvisoryLock.OWNERS_DEVICES, owner_id])
    present = Device.everything.filter(owner_id=owner_id).count()
    if present + count > most:
        raise LimitReached(
            f"The owner has {present} devices; at most {most} are possible (DEVICES_PER_OWNER)."
            + (f" This would add {count}." if count > 1 else "")
        )


def require_room_for_exclusion(device: Device) -> None:
    """Require that the device may have one more exclusion in force: each makes its statistics slower."""
    most = settings.EXCLUSIONS_PER_DEVICE
    if not most:
        return
    Device.everything.select_for_update(no_key=True).filter(pk=device.pk).first()
    present = Exclusion.objects.in_force().filter(device=device).count()
    if present >= most:
        raise LimitReached(
            f"{present} exclusions of the device are in force, and {most} may be (EXCLUSIONS_PER_DEVICE)."
            " Lift some, or exclude a period instead of single readings."
        )
