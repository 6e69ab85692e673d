import logging

from celery import shared_task

from analytics.activity.events import delivery
from devices.storage.interface import StorageUnavailable

logger = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def deliver_events() -> int:
    """Run after each event, and every few seconds for events whose request to deliver was lost."""
    try:
        return delivery.deliver()
    except StorageUnavailable as error:
        logger.warning("Events wait in the outbox: %s", error)
        return 0
