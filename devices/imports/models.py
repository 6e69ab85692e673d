"""Uploads and what becomes of them. Only `devices.imports.runs` changes the status of one."""

import uuid
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from devices.models import Device


class UploadStatus(models.TextChoices):
    DRAFT = "draft"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class Job(models.TextChoices):
    IMPORT = "import"
    UNDO = "undo"


OPEN = (UploadStatus.QUEUED, UploadStatus.RUNNING)
OVER = (UploadStatus.FINISHED, UploadStatus.STOPPED, UploadStatus.FAILED)
LABELS = {
    (Job.IMPORT, UploadStatus.DRAFT): "not imported yet",
    (Job.IMPORT, UploadStatus.RUNNING): "importing",
    (Job.IMPORT, UploadStatus.FINISHED): "imported",
    (Job.UNDO, UploadStatus.QUEUED): "undo queued",
    (Job.UNDO, UploadStatus.RUNNING): "undoing",
    (Job.UNDO, UploadStatus.FINISHED): "undone",
    (Job.UNDO, UploadStatus.STOPPED): "undo stopped",
    (Job.UNDO, UploadStatus.FAILED): "undo failed",
}


class UploadQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        """All uploads for admin and staff, none for anybody else."""
        return self if user.is_authenticated and user.is_staff else self.none()


class Upload(models.Model):
    """An uploaded file, how it is read, and how far the job on it has come: its import, or its undo."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField("file", max_length=255)
    size = models.BigIntegerField(help_text="Bytes.")
    digest = models.CharField("SHA-256", max_length=64)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(default=timezone.now)
    options = models.JSONField(default=dict, help_text="How the file is read, see devices.imports.options.")
    headings = models.JSONField(default=list)
    device = models.ForeignKey(
        Device,
        models.SET_NULL,
        null=True,
        related_name="+",
        help_text="Of all rows; empty: a column names it.",
    )

    job = models.CharField(max_length=10, choices=Job, default=Job.IMPORT)
    status = models.CharField(max_length=10, choices=UploadStatus, default=UploadStatus.DRAFT)
    error = models.TextField(blank=True)
    queued_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    # Names the worker's turn that may change the row.
    claimed_by = models.UUIDField(null=True)
    deaths = models.PositiveSmallIntegerField(default=0, help_text="Workers lost without progress.")

    is_split = models.BooleanField(default=False)
    is_forgotten = models.BooleanField(default=False, help_text="Its rows are deleted.")
    rows = models.BigIntegerField(default=0)
    rows_done = models.BigIntegerField(default=0)
    stored = models.BigIntegerField(default=0, help_text="Readings.")
    repeated = models.BigIntegerField(default=0, help_text="Rows that were there already.")
    faulty = models.BigIntegerField(default=0, help_text="Rows.")
    undone = models.BigIntegerField(default=0, help_text="Readings taken back.")

    objects = UploadQuerySet.as_manager()

    class Meta:
        ordering = ("-at", "-id")
        constraints = (
            models.CheckConstraint(condition=Q(status__in=UploadStatus.values), name="upload_status_known"),
            models.CheckConstraint(condition=Q(job__in=Job.values), name="upload_job_known"),
        )
        indexes = (
            models.Index(fields=("-at", "-id"), name="upload_newest"),
            models.Index(fields=("digest",), name="upload_digest"),
            models.Index(fields=("status", "queued_at"), name="upload_open", condition=Q(status__in=OPEN)),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def label(self) -> str:
        return LABELS.get((Job(self.job), UploadStatus(self.status)), self.status).capitalize()

    @property
    def progress(self) -> int:
        """Percent of the rows, or of the readings to be taken back."""
        done, of = (self.undone, self.stored) if self.job == Job.UNDO else (self.rows_done, self.rows)
        return 100 * done // of if of and self.is_split else 0

    @property
    def may_be_undone(self) -> bool:
        return self.job == Job.IMPORT and self.status in OVER and not self.is_forgotten and self.stored > 0

    @property
    def may_go_on(self) -> bool:
        return self.status in (UploadStatus.STOPPED, UploadStatus.FAILED) and not self.is_forgotten

    @property
    def forgotten_at(self) -> Any:
        """When its rows are deleted, and with them the way back; None before it is over."""
        return self.finished_at and self.finished_at + timedelta(days=settings.IMPORT_DAYS)


class UploadPart(models.Model):
    """A piece of an uploaded file, deleted once the file is split into blocks of rows."""

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("upload", "number"), name="upload_part_once"),)

    def __str__(self) -> str:
        return f"part {self.number} of {self.upload_id}"


class ImportBlock(models.Model):
    """Some rows of an upload, checked and stored in one step, and what it stored."""

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="blocks")
    number = models.PositiveIntegerField()
    rows = models.PositiveIntegerField()
    cells = models.BinaryField(help_text="Compressed: line and cells of each row.")
    # [index of the row, index of the column or -1, reason] of each fault.
    faults = models.JSONField(default=list)
    repeated = models.PositiveIntegerField(default=0)
    # Set before its readings are stored: after a death the same ones are stored, once.
    planned = models.BinaryField(null=True, help_text="The readings, see devices.imports.stored_rows.")
    is_stored = models.BooleanField(default=False)
    is_undone = models.BooleanField(default=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("upload", "number"), name="import_block_once"),)

    def __str__(self) -> str:
        return f"block {self.number} of {self.upload_id}"
