"""Word to a worker that events wait in the outbox, `models.PendingEvent`."""

import logging

from celery import current_app
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from analytics.runs import BROKER_TIMEOUTS

logger = logging.getLogger(__name__)
# By name: the task needs the models, and they need this.
TASK = "analytics.activity.tasks.deliver_events"


def ask_for_delivery() -> None:
    """A broker that is down is no error: the periodic delivery finds the events."""
    try:
        with current_app.connection_for_write(transport_options=BROKER_TIMEOUTS) as broker:
            current_app.send_task(TASK, connection=broker, expires=60)
    except (BrokerError, RedisError) as error:
        logger.warning("The broker does not answer, events wait: %s", error)
