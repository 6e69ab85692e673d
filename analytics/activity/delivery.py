"""From the outbox into the logs."""

from django.db import transaction

from analytics.activity import storage
from analytics.activity.models import PendingEvent
from devices.upkeep import single_run

LOCK = 7_586_206
BATCH = 1000


def deliver() -> int:
    """Bring what waits in the outbox into the logs; returns how many events. Raises storage.Unavailable.

    Killed in between it delivers again what it had not yet taken out: the logs know an event by its id.
    """
    total = 0
    # Asked for again once the lock is free: who found it taken leaves their event to its holder.
    while PendingEvent.objects.exists():
        # One at a time: while the logs are away no second worker waits for them.
        with single_run(LOCK) as is_ours:
            if not is_ours:
                break
            total += deliver_batch()
    return total


@transaction.atomic
def deliver_batch() -> int:
    pending = list(PendingEvent.objects.all()[:BATCH])
    storage.current().append([waiting.event for waiting in pending])
    PendingEvent.objects.filter(pk__in=[waiting.pk for waiting in pending]).delete()
    return len(pending)
