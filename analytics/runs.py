"""The life of a run: enqueued, sent, claimed, kept alive, finished. Its status changes nowhere else.

The row is written in the request's transaction and the task is sent after commit. After a failed send, a
flushed broker or a killed worker, `reconcile` finds the row and sends its task again. A message only says
that there is work: the task that gets it claims the queued run whose turn it is (`analytics.turns`).
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID

from celery import Task, current_app
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery.utils.serialization import UnpickleableExceptionWrapper
from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django_celery_results.models import TaskResult
from kombu.exceptions import OperationalError as BrokerError
from kombu.pools import producers
from redis.exceptions import RedisError

from analytics.models import Analysis, Run, Status
from analytics.turns import ORDER, most_open_runs, take_turn

logger = logging.getLogger(__name__)

# A worker without a heartbeat for DEAD_AFTER is dead.
DEAD_AFTER = timedelta(seconds=15)
# A sent task is normally claimed at once; after LOST_AFTER the broker is asked whether it still has it.
LOST_AFTER = timedelta(seconds=10)
# A run younger than SENT_AFTER may still be being sent.
SENT_AFTER = timedelta(seconds=3)
RESEND_BATCH = 500
EXPIRE_BATCH = 100
ERROR_LENGTH = 2000
ORPHAN_AFTER = timedelta(days=1)
OVER = (Status.FINISHED, Status.FAILED, Status.CANCELLED)
# The worker's own time limits apply, not the sender's.
UNLIMITED: dict[str, Any] = {"time_limit": None, "soft_time_limit": None}
# A request waits half a second for a broker that hangs, and tries a dead one once.
BROKER_TIMEOUTS = {"socket_timeout": 0.5, "socket_connect_timeout": 0.5, "max_retries": 0}
# A worker writes heartbeat and progress every PROGRESS_SECONDS, and checks that the run is still its own.
PROGRESS_SECONDS = 0.5
# Work that has not stopped GRACE_SECONDS after its run was lost is killed: with PROGRESS_SECONDS before, that
# is within two seconds of a cancellation.
GRACE_SECONDS = 1.0
# SKIP LOCKED: two simultaneous claims get two different runs.
CLAIM = """
    UPDATE {table}
    SET status = 'running', attempts = attempts + 1, claimed_by = %(task)s, started_at = %(now)s,
        heartbeat_at = %(now)s, progress = 0
    WHERE id = (
        SELECT id FROM {table}
        WHERE status = 'queued' AND NOT EXISTS (SELECT FROM {table} WHERE claimed_by = %(task)s)
        ORDER BY {order} LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    )
    RETURNING *
"""


class RunLost(Exception):
    """The run is no longer this task's: cancelled, failed by its time limit, or given to another."""


def enqueue(run: Run, task: Task, *, only_reads: bool = False) -> None:
    """Write the run's row and send its task once the row is committed.

    `only_reads`: it is asked for by a token that may change nothing. Raises LimitReached.
    """
    take_turn(run, most_open=most_open_runs(only_reads=only_reads))
    # `send` runs after the commit. Setting sent_at now saves an UPDATE: `send` clears it if it fails.
    run.sent_at = run.asked_at
    run.save(force_insert=True)
    transaction.on_commit(partial(send, run, task))


def send(run: Run, task: Task) -> None:
    """Hand the run to the broker. If the broker is down, the row waits for `reconcile`."""
    broker = current_app.connection_for_write(transport_options=BROKER_TIMEOUTS)
    try:
        with producers[broker].acquire(block=True) as producer:
            task.apply_async((str(run.pk),), producer=producer, **UNLIMITED)
    except (BrokerError, RedisError) as error:
        logger.warning("The broker does not answer, %s waits: %s", run.pk, error)
        type(run).objects.filter(pk=run.pk).update(sent_at=None)


def claim(model: type[Run], task_id: str) -> Run | None:
    """Make the queued run whose turn it is this task's own, and running.

    Returns None if none is queued, or if the task already has or had a run: a message that a broker restored
    to an older state delivers again must not claim a second run, whose result would replace the first one's.
    """
    statement = CLAIM.format(table=connection.ops.quote_name(model._meta.db_table), order=", ".join(ORDER))
    claimed = model.objects.raw(statement, {"task": task_id, "now": timezone.now()})
    return next(iter(claimed), None)


def owned(model: type[Run], run_id: UUID | str | None, task_id: str) -> QuerySet[Run]:
    """The run, while it belongs to this task."""
    pk = cast(UUID | str, run_id)  # None finds no run
    return model.objects.filter(pk=pk, status=Status.RUNNING, claimed_by=task_id)


def claimed_run(model: type[Run], task_id: str) -> UUID | None:
    mine = model.objects.filter(status=Status.RUNNING, claimed_by=task_id)
    return mine.values_list("pk", flat=True).first()


@contextmanager
def heartbeat(run: Run) -> Iterator[Callable[[int], None]]:
    """Keep the run alive while its work goes on; yields a function that takes the percentage done.

    The function raises RunLost once the run is no longer this task's. If the work never calls it, the process
    is killed: there is no other way to stop Python code that does not cooperate.
    """
    beat = Heartbeat(run)
    thread = threading.Thread(target=beat.keep, daemon=True)
    thread.start()
    try:
        yield beat.report
    finally:
        beat.over.set()
        thread.join()


class Heartbeat:
    """A thread that keeps one run alive and notices when it is lost.

    Only the thread writes, on its own connection: the work may be in a read-only transaction.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.over = threading.Event()
        self.is_lost = False
        self.percent = run.progress

    def report(self, percent: int) -> None:
        if self.is_lost:
            raise RunLost
        self.percent = percent

    def keep(self) -> None:
        try:
            while not self.is_lost and not self.over.wait(PROGRESS_SECONDS):
                self.beat()
        finally:
            connection.close()
        if self.is_lost and not self.over.wait(GRACE_SECONDS):
            logger.warning("The work of a lost run does not stop: killing its process.")
            os.kill(os.getpid(), signal.SIGKILL)

    def beat(self) -> None:
        mine = owned(type(self.run), self.run.pk, self.run.claimed_by)
        try:
            if not mine.update(progress=self.percent, heartbeat_at=timezone.now()):
                row = (
                    type(self.run).objects.filter(pk=self.run.pk).values_list("status", "claimed_by").first()
                )
                # A deleted run kills no process: its work ends by itself, to no effect.
                self.is_lost = row not in (None, (Status.RUNNING, self.run.claimed_by))
        except DatabaseError as error:
            logger.warning("No heartbeat: %s", error)
            connection.close()


def finish(model: type[Run], run_id: UUID | str | None, task_id: str, **fields: object) -> bool:
    """Store `fields` as the run's result; returns False if the run is no longer this task's."""
    return settle(owned(model, run_id, task_id), Status.FINISHED, progress=100, **fields)


def fail(model: type[Run], run_id: UUID | str | None, task_id: str, error: Exception) -> bool:
    return settle(owned(model, run_id, task_id), Status.FAILED, error=in_words(error))


def in_words(error: Exception) -> str:
    """A kernel from outside may raise an exception of megabytes, and lists have the words."""
    return all_words(error)[:ERROR_LENGTH]


def all_words(error: Exception) -> str:
    if isinstance(error, SoftTimeLimitExceeded | TimeLimitExceeded):
        return "It exceeded its time limit and was stopped."
    if isinstance(error, UnpickleableExceptionWrapper):
        # Celery's substitute for an exception that it cannot pickle.
        return str(error)
    return f"{type(error).__name__}: {error}"


def cancel(run: Run) -> bool:
    """End a run that is not over; returns False if it was. Its worker stops within two seconds."""
    open_runs = type(run).objects.filter(pk=run.pk, status__in=(Status.QUEUED, Status.RUNNING))
    return settle(open_runs, Status.CANCELLED)


def discard(runs: QuerySet[Run]) -> int:
    """Delete those of these runs that are over, with what Celery has stored of them; return their number."""
    with transaction.atomic():
        over = runs.filter(status__in=OVER).select_for_update(of=("self",))
        found = list(over.values_list("pk", "claimed_by", "task_result_id"))
        runs.model._base_manager.filter(pk__in=[pk for pk, _, _ in found]).delete()
        # Of a failure Celery stores a result, too, to which no run points.
        task_ids = [task_id for _, task_id, _ in found if task_id]
        results = TaskResult.objects.filter(Q(pk__in=[pk for _, _, pk in found]) | Q(task_id__in=task_ids))
        # Without their texts, which are large.
        results.only("pk").delete()
    return len(found)


def expire(model: type[Run], now: datetime) -> int:
    """Delete runs that ended more than RESULT_DAYS ago; return their number."""
    if not settings.RESULT_DAYS:
        return 0
    total, before = 0, now - timedelta(days=settings.RESULT_DAYS)
    while True:
        expired = model.objects.filter(status__in=OVER, finished_at__lte=before).order_by("finished_at")
        batch = list(expired.values_list("pk", flat=True)[:EXPIRE_BATCH])
        count = discard(model.objects.filter(pk__in=batch))
        total += count
        if count < EXPIRE_BATCH:
            return total


def delete_orphans(now: datetime) -> int:
    """Delete results that no analysis has any more, because its device or user was erased with it.

    A result is stored before its analysis points to it, so young ones are left. Returns their number.
    """
    of_analysis = Analysis.objects.filter(task_result=OuterRef("pk"))
    orphans = TaskResult.objects.filter(~Exists(of_analysis), date_done__lt=now - ORPHAN_AFTER)
    batch = list(orphans.values_list("pk", flat=True)[:EXPIRE_BATCH])
    TaskResult.objects.filter(pk__in=batch).only("pk").delete()
    return len(batch)


def settle(runs: QuerySet[Run], status: Status, **fields: object) -> bool:
    return runs.update(status=status, finished_at=timezone.now(), **fields) == 1


def reconcile(model: type[Run], task: Task, now: datetime) -> int:
    """Take up runs whose worker was killed or whose message was lost; beat calls this every few seconds.

    A running run without a heartbeat for DEAD_AFTER is queued again, or failed after MAX_ATTEMPTS. Queued
    runs for which the broker has no message are sent again. Returns the number of runs sent.
    """
    dead = Q(status=Status.RUNNING, heartbeat_at__lt=now - DEAD_AFTER)
    spent = model.objects.filter(dead, attempts__gte=model.MAX_ATTEMPTS)
    spent.update(
        status=Status.FAILED,
        finished_at=now,
        error=f"The worker died in each of {model.MAX_ATTEMPTS} attempts.",
    )
    revived = model.objects.filter(dead).update(
        status=Status.QUEUED, claimed_by="", sent_at=None, started_at=None, progress=0
    )
    if revived:
        logger.warning("Queued again after their worker died: %d", revived)
    lost = lost_runs(model, task, now)
    model.objects.filter(pk__in=[run.pk for run in lost]).update(sent_at=now)
    for run in lost:
        send(run, task)
    return len(lost)


def lost_runs(model: type[Run], task: Task, now: datetime) -> list[Run]:
    """Queued runs for which the broker has no message. With as many messages as queued runs, none is lost."""
    queued = model.objects.filter(status=Status.QUEUED)
    overdue = queued.filter(Q(sent_at=None) | Q(sent_at__lt=now - LOST_AFTER), asked_at__lt=now - SENT_AFTER)
    candidates = list(overdue.order_by("asked_at")[:RESEND_BATCH])
    if not candidates:
        return []
    return candidates[: max(0, queued.count() - waiting_tasks(task))]


def waiting_tasks(task: Task) -> int:
    """Number of messages in the task's queue."""
    name = current_app.amqp.router.route({}, task.name)["queue"].name
    with current_app.connection_for_read() as broker:
        channel: Any = broker.default_channel
        return channel.client.llen(name)
