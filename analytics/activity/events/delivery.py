"""From the outbox into the logs."""

from django.db import transaction

from analytics.activity import storage
from analytics.activity.models import PendingEvent
from devices.locks import AdvisoryLock, single_run

BATCH = 1000


def deliver() -> int:
    """Bring what waits in the outbox into the logs; returns how many events. Raises storage.Unavailable.

    Killed in between it delivers again what it had not yet taken out: the logs know an event by its id.
    """
    total = 0
    # Asked for again once the lock is free: who found it taken leaves their event to its holder.
    while PendingEvent.objects.exists():
        # One at a time: while the logs are away no second worker waits for them.
        with single_run(AdvisoryLock.DELIVER_EVENTS) as is_ours:
            if not is_ours:
                break
            total += deliver_batch()
    return total


def catch_up(user_id: int) -> None:
    """Deliver what waits of one user, so that they see at once what they did. Raises storage.Unavailable."""
    while PendingEvent.objects.filter(user_id=user_id).exists():
        deliver_batch(user_id=user_id)


@transaction.atomic
def deliver_batch(**of: int) -> int:
    # Locked in one order: two who deliver the same wait for each other, and the second finds it done.
    pending = list(PendingEvent.objects.filter(**of).select_for_update().order_by("pk")[:BATCH])
    storage.current().append([waiting.event for waiting in pending])
    PendingEvent.objects.filter(pk__in=[waiting.pk for waiting in pending]).delete()
    return len(pending)
