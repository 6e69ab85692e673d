"""Asks a worker to deliver the events that wait in the outbox, `models.PendingEvent`."""

import logging

from celery import current_app
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from analytics.runs import BROKER_TIMEOUTS

logger = logging.getLogger(__name__)
# A name, because the task imports the models, which import this module.
TASK = "analytics.activity.tasks.deliver_events"


def ask_for_delivery() -> None:
    """Send the task. A broker that is down is not an error: the periodic delivery finds the events."""
    try:
        with current_app.connection_for_write(transport_options=BROKER_TIMEOUTS) as broker:
            current_app.send_task(TASK, connection=broker, expires=60)
    except (BrokerError, RedisError) as error:
        logger.warning("The broker does not answer; events wait in the outbox: %s", error)
