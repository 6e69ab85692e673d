"""The life of a run: asked for, sent, claimed, kept alive, finished. Its status changes here alone.

The row is written in the request's transaction and the task is sent after commit. A send that fails, a
flushed broker, a killed worker: `reconcile` finds the row and sends it again.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from celery import Task, current_app
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone
from django_celery_results.models import TaskResult
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from analytics.models import Run, Status

logger = logging.getLogger(__name__)

HEARTBEAT = timedelta(seconds=3)
# So often a worker writes that it lives and how far it is.
PROGRESS_SECONDS = 1.0
# Without a heartbeat for so long its worker is dead.
DEAD_AFTER = timedelta(seconds=15)
# A task that was sent is normally claimed at once; only then is the broker asked whether it still has it.
LOST_AFTER = timedelta(seconds=10)
RESEND_BATCH = 500
# A request waits a second for a broker that hangs, and tries a dead one once.
IMPATIENT = {"socket_timeout": 1, "max_retries": 0}


def ask(run: Run, task: Task) -> None:
    """Write the run's row and send its task once the row is committed."""
    run.save(force_insert=True)
    transaction.on_commit(partial(send, run, task))


def send(run: Run, task: Task) -> None:
    """Hand the run to the broker. A broker that is down is no error: the row waits for `reconcile`."""
    try:
        with current_app.connection_for_write(transport_options=IMPATIENT) as broker:
            task.apply_async((str(run.pk),), connection=broker)
    except (BrokerError, RedisError) as error:
        logger.warning("The broker does not answer, %s waits: %s", run.pk, error)
        return
    type(run).objects.filter(pk=run.pk).update(sent_at=timezone.now())


def claim(model: type[Run], run_id: UUID | str, task_id: str) -> Run | None:
    """The run, now running and this task's own; None if it is gone, over, or another's."""
    now = timezone.now()
    claimed = model.objects.filter(pk=run_id, status=Status.QUEUED).update(
        status=Status.RUNNING,
        attempts=F("attempts") + 1,
        claimed_by=task_id,
        started_at=now,
        heartbeat_at=now,
        progress=0,
    )
    return model.objects.get(pk=run_id) if claimed == 1 else None


def owned(model: type[Run], run_id: UUID | str, task_id: str):
    """The run as long as this task is the one that works on it."""
    return model.objects.filter(pk=run_id, status=Status.RUNNING, claimed_by=task_id)


@contextmanager
def heartbeat(run: Run) -> Iterator[Callable[[int], None]]:
    """Keep the run alive while its work goes on; yields a function that takes the percentage done.

    Written by a thread, over a connection of its own: the work may be within a read-only transaction.
    """
    mine = owned(type(run), run.pk, run.claimed_by)
    stop, done = threading.Event(), deque([run.progress], maxlen=1)
    thread = threading.Thread(target=beat, args=(mine, stop, done), daemon=True)
    thread.start()
    try:
        yield done.append
    finally:
        stop.set()
        thread.join()


def beat(mine, stop: threading.Event, done: deque[int]) -> None:
    while not stop.wait(PROGRESS_SECONDS):
        try:
            mine.update(progress=done[-1], heartbeat_at=timezone.now())
        except DatabaseError as error:
            logger.warning("No heartbeat: %s", error)
            connection.close()
    connection.close()


def finish(model: type[Run], run_id: str, task_id: str, **fields: object) -> bool:
    """Whether this task's result, by now stored by Celery, became the run's."""
    result = TaskResult.objects.get(task_id=task_id)
    return settle(owned(model, run_id, task_id), Status.FINISHED, task_result=result, progress=100, **fields)


def fail(model: type[Run], run_id: str, task_id: str, error: Exception) -> bool:
    return settle(owned(model, run_id, task_id), Status.FAILED, error=f"{type(error).__name__}: {error}")


def cancel(run: Run) -> bool:
    """End a run that is not over; a worker that is at it can no longer deliver."""
    open_runs = type(run).objects.filter(pk=run.pk, status__in=(Status.QUEUED, Status.RUNNING))
    return settle(open_runs, Status.CANCELLED)


def settle(runs, status: Status, **fields: object) -> bool:
    return runs.update(status=status, finished_at=timezone.now(), **fields) == 1


def reconcile(model: type[Run], task: Task, now: datetime) -> int:
    """Send again what was lost, end what has failed too often; returns how many were sent."""
    dead = Q(status=Status.RUNNING, heartbeat_at__lt=now - DEAD_AFTER)
    spent = model.objects.filter(dead, attempts__gte=model.MAX_ATTEMPTS)
    spent.update(
        status=Status.FAILED,
        finished_at=now,
        error=f"The worker died in each of {model.MAX_ATTEMPTS} attempts.",
    )
    revived = model.objects.filter(dead).update(status=Status.QUEUED, claimed_by="", sent_at=None)
    if revived:
        logger.warning("Taken up again after their worker died: %d", revived)
    lost = lost_runs(model, task, now)
    for run in lost:
        send(run, task)
    return len(lost)


def lost_runs(model: type[Run], task: Task, now: datetime) -> list[Run]:
    """Queued runs that the broker does not have. A long queue is no loss: then the broker holds as many."""
    queued = model.objects.filter(status=Status.QUEUED)
    overdue = queued.filter(Q(sent_at=None) | Q(sent_at__lt=now - LOST_AFTER), asked_at__lt=now - HEARTBEAT)
    candidates = list(overdue.order_by("asked_at")[:RESEND_BATCH])
    if not candidates or waiting_tasks(task) >= queued.count():
        return []
    return candidates


def waiting_tasks(task: Task) -> int:
    """How many messages wait in the task's queue."""
    name = current_app.amqp.router.route({}, task.name)["queue"].name
    with current_app.connection_for_read() as broker:
        return broker.default_channel.client.llen(name)
