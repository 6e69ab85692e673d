import logging

from celery import shared_task

from analytics.activity import delivery
from devices.storage import Unavailable

logger = logging.getLogger(__name__)


@shared_task(ignore_result=True)
def deliver_events() -> int:
    """After each event, and every few seconds for those whose word was lost."""
    try:
        return delivery.deliver()
    except Unavailable as error:
        logger.warning("Events wait in the outbox: %s", error)
        return 0
