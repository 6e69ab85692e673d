from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from devices.imports import runs, work
from devices.imports.models import OVER, ImportBlock, Upload, UploadPart, UploadStatus
from devices.imports.tables.source_row import CannotRead
from devices.locks import AdvisoryLock, single_run
from devices.storage.interface import StorageUnavailable

# A turn on an upload; then other jobs on readings have theirs.
TURN_SECONDS = 20
DRAFT_DAYS = 1
EXPIRE_BATCH = 20


@shared_task(ignore_result=True)
def work_on_uploads(upload_id: str = "") -> None:
    """Take a turn on the upload that waits longest; the id in the message is for the logs.

    One turn at a time: two imports of the same rows must see what the other has stored.
    """
    with single_run(AdvisoryLock.RUN_IMPORTS) as is_ours:
        upload = runs.claim() if is_ours else None
        if upload is not None:
            take_turn(upload)


def take_turn(upload: Upload) -> None:
    try:
        is_done = work.advance(upload, TURN_SECONDS)
    except runs.TurnLost:
        return
    except CannotRead as error:
        runs.end_turn(upload, UploadStatus.FAILED, error=str(error))
        return
    except (OperationalError, InterfaceError):
        # Nothing can be written without the database: `reconcile` takes the job up again.
        raise
    except StorageUnavailable:
        runs.end_turn(upload, UploadStatus.QUEUED, sent_at=timezone.now())
        raise
    except Exception as error:
        runs.end_turn(upload, UploadStatus.FAILED, error=f"{type(error).__name__}: {error}")
        raise
    if is_done:
        runs.end_turn(upload, UploadStatus.FINISHED)
    elif runs.end_turn(upload, UploadStatus.QUEUED, sent_at=timezone.now()):
        runs.send(upload.pk, work_on_uploads)


@shared_task(ignore_result=True)
def reconcile_uploads() -> int:
    with single_run(AdvisoryLock.RECONCILE_IMPORTS) as is_ours:
        return runs.reconcile(work_on_uploads, timezone.now()) if is_ours else 0


@shared_task(ignore_result=True)
def forget_uploads() -> int:
    """Delete old drafts, and the rows of old imports; returns their number. The list of imports stays."""
    now = timezone.now()
    with single_run(AdvisoryLock.FORGET_IMPORTS) as is_ours:
        if not is_ours:
            return 0
        drafts = Upload.objects.filter(
            status=UploadStatus.DRAFT, at__lt=now - timedelta(days=DRAFT_DAYS)
        ).values_list("pk", flat=True)
        old = Upload.objects.filter(
            status__in=OVER,
            finished_at__lt=now - timedelta(days=settings.IMPORT_DAYS),
            is_forgotten=False,
        ).values_list("pk", flat=True)
        drafts_found, found = list(drafts[:EXPIRE_BATCH]), list(old[:EXPIRE_BATCH])
        Upload.objects.filter(pk__in=found).update(is_forgotten=True)
        for rows in (UploadPart, ImportBlock):
            rows.objects.filter(upload__in=[*found, *drafts_found]).delete()
        Upload.objects.filter(pk__in=drafts_found).delete()
        return len(found) + len(drafts_found)
