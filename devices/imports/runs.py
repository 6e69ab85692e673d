"""The life of the job on an upload: queued, claimed, kept alive, over. Its status changes nowhere else.

As in `analytics.runs` the row is written first, a message only says that there is work, and a worker claims
by one conditional update. Unlike there a worker takes a turn of some seconds: then the row is queued again,
and other jobs on readings get theirs. Each step of a turn changes the row only while it belongs to that turn.
"""

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from celery import Task
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError
from redis.exceptions import RedisError

from devices.imports.models import OPEN, Job, Upload, UploadStatus

logger = logging.getLogger(__name__)

# A turn that has made no step for DEAD_AFTER is dead. A step takes a second; ClickHouse deletes slowly.
DEAD_AFTER = timedelta(seconds=60)
# A message may wait as long behind other jobs on readings; a second one does no harm.
LOST_AFTER = timedelta(seconds=60)
MAX_DEATHS = 3
CLAIM = """
    UPDATE imports_upload
    SET status = 'running', claimed_by = %(turn)s, heartbeat_at = %(now)s,
        started_at = coalesce(started_at, %(now)s)
    WHERE id = (
        SELECT id FROM imports_upload WHERE status = 'queued'
        ORDER BY queued_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
    )
    RETURNING *
"""


class TurnLost(Exception):
    """The upload no longer belongs to this turn: stopped, or given to another."""


def enqueue(upload: Upload, job: Job, task: Task, *, after: tuple[UploadStatus, ...]) -> bool:
    """Queue the job unless the upload has another status by now; returns whether it was queued."""
    now = timezone.now()
    fields: dict[str, Any] = {"job": job, "status": UploadStatus.QUEUED, "error": "", "deaths": 0}
    fields |= {"queued_at": now, "sent_at": now, "finished_at": None, "claimed_by": None}
    if not Upload.objects.filter(pk=upload.pk, status__in=after, job=upload.job).update(**fields):
        return False
    transaction.on_commit(partial(send, upload.pk, task))
    return True


def send(pk: UUID, task: Task) -> None:
    """Say that there is work. If the broker is down, the row waits for `reconcile`."""
    try:
        task.apply_async((str(pk),))
    except (BrokerError, RedisError) as error:
        logger.warning("The broker does not answer, upload %s waits: %s", pk, error)
        Upload.objects.filter(pk=pk).update(sent_at=None)


def claim() -> Upload | None:
    """Make the upload that waits longest this turn's own; None if none is queued."""
    parameters = {"turn": uuid4(), "now": timezone.now()}
    return next(iter(Upload.objects.raw(CLAIM, parameters)), None)


def step(upload: Upload, *, is_progress: bool = False, **counts: int) -> None:
    """Note a step of the work, within the transaction that makes it. Raises TurnLost.

    Progress is what a death cannot take away: the deaths before it no longer count.
    """
    changes: dict[str, Any] = {name: F(name) + count for name, count in counts.items()}
    if is_progress:
        changes["deaths"] = 0
    mine = Upload.objects.filter(pk=upload.pk, status=UploadStatus.RUNNING, claimed_by=upload.claimed_by)
    if not mine.update(heartbeat_at=timezone.now(), **changes):
        raise TurnLost


def end_turn(upload: Upload, status: UploadStatus, **fields: Any) -> bool:
    """Give the upload back: queued for another turn, or over. False if it was lost meanwhile."""
    now = timezone.now()
    if status == UploadStatus.QUEUED:
        fields |= {"queued_at": now}
    else:
        fields |= {"finished_at": now}
    mine = Upload.objects.filter(pk=upload.pk, status=UploadStatus.RUNNING, claimed_by=upload.claimed_by)
    return mine.update(status=status, claimed_by=None, **fields) == 1


def stop(upload: Upload) -> bool:
    """Stop a job that is not over; its worker notices at its next step. What was done stays done."""
    running = Upload.objects.filter(pk=upload.pk, status__in=OPEN)
    return running.update(status=UploadStatus.STOPPED, claimed_by=None, finished_at=timezone.now()) == 1


def reconcile(task: Task, now: datetime) -> int:
    """Take up jobs whose worker died or whose message was lost; returns the number of messages sent."""
    dead = Q(status=UploadStatus.RUNNING, heartbeat_at__lt=now - DEAD_AFTER)
    spent = Upload.objects.filter(dead, deaths__gte=MAX_DEATHS - 1)
    spent.update(
        status=UploadStatus.FAILED,
        finished_at=now,
        claimed_by=None,
        error=f"The worker died {MAX_DEATHS} times at the same rows.",
    )
    Upload.objects.filter(dead).update(
        status=UploadStatus.QUEUED, claimed_by=None, sent_at=None, queued_at=now, deaths=F("deaths") + 1
    )
    lost = Q(sent_at=None) | Q(sent_at__lt=now - LOST_AFTER)
    waiting = Upload.objects.filter(lost, status=UploadStatus.QUEUED)
    found = list(waiting.values_list("pk", flat=True))
    Upload.objects.filter(pk__in=found).update(sent_at=now)
    for pk in found:
        send(pk, task)
    return len(found)
