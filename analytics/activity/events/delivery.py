"""Moves events from the outbox into the logs."""

from django.db import transaction

from analytics.activity import storage
from analytics.activity.models import PendingEvent
from devices.locks import AdvisoryLock, single_run

BATCH = 1000


def deliver() -> int:
    """Move all waiting events into the logs and return their number. Raises StorageUnavailable.

    After a kill, events that were stored but not yet deleted are delivered again: the logs store an id once.
    """
    total = 0
    # Looks again after freeing the lock: a process that found it taken has left its events to this one.
    while PendingEvent.objects.exists():
        # One worker at a time: while the logs are down, no second one has to wait for them.
        with single_run(AdvisoryLock.DELIVER_EVENTS) as is_ours:
            if not is_ours:
                break
            total += deliver_batch()
    return total


def catch_up(user_id: int) -> None:
    """Deliver the waiting events of one user, who then sees them at once. Raises StorageUnavailable."""
    while PendingEvent.objects.filter(user_id=user_id).exists():
        deliver_batch(user_id=user_id)


@transaction.atomic
def deliver_batch(**filters: int) -> int:
    # Rows are locked in one order, which excludes a deadlock: the second of two waits, then finds none.
    pending = list(PendingEvent.objects.filter(**filters).select_for_update().order_by("pk")[:BATCH])
    storage.current().append([waiting.event for waiting in pending])
    PendingEvent.objects.filter(pk__in=[waiting.pk for waiting in pending]).delete()
    return len(pending)
