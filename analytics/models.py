"""Background runs. Their rows are the only source of status, and the outbox from which tasks are sent."""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone
from django_celery_results.models import TaskResult

from analytics.analyses.question import Question
from devices.models import Device, DeviceQuerySet
from devices.timeline.periods import Period


class Status(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Run(models.Model):
    """One piece of background work. Only `analytics.runs` changes its status."""

    MAX_ATTEMPTS = 3

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    progress = models.PositiveSmallIntegerField(default=0, help_text="Percent.")
    error = models.TextField(blank=True)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    asked_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When it was last handed to the broker.")
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Its place among the queued runs of all people: `analytics.turns`.
    turn = models.BigIntegerField(default=0, db_default=0, editable=False)
    # Of the stored result, for `analytics.turns`.
    result_bytes = models.BigIntegerField(default=0, db_default=0, editable=False)
    # Id of the Celery task that works on it: only that task may store the result.
    claimed_by = models.CharField(max_length=36, blank=True, db_index=True)
    task_result = models.ForeignKey(TaskResult, models.SET_NULL, null=True, blank=True, related_name="+")

    objects: models.Manager[Self]

    class Meta:
        abstract = True
        ordering = ("-asked_at", "-id")

    @property
    def is_open(self) -> bool:
        return self.status in (Status.QUEUED, Status.RUNNING)

    @property
    def expires_at(self) -> datetime | None:
        """When `runs.expire` may delete it; None if never, or if it is not over."""
        if self.is_open or self.finished_at is None or not settings.RESULT_DAYS:
            return None
        return self.finished_at + timedelta(days=settings.RESULT_DAYS)


def indexes_of_turns(kind: str) -> tuple[models.Index, ...]:
    """The queue in the order of its turns, the open runs of a person, and what their results take."""
    is_open = Q(status__in=("queued", "running"))
    return (
        models.Index(fields=("status", "turn", "asked_at", "id"), name=f"{kind}_turns", condition=is_open),
        models.Index(fields=("asked_by", "status", "turn"), name=f"{kind}_open_of", condition=is_open),
        models.Index(fields=("asked_by",), include=("result_bytes",), name=f"{kind}_bytes_of"),
    )


class AnalysisQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        """All analyses for admin and staff; for an owner those of their devices and of their fleet."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_staff else self.filter(Q(device__owner=user) | Q(user=user))

    def with_target(self) -> Self:
        # The result may have megabytes: `analyses.stored_result` reads it.
        found = self.select_related("device__owner", "user", "asked_by", "task_result")
        return found.defer("task_result__result")

    def as_rows(self) -> Self:
        """For lists: without result, counts and snapshot, which are large for a large fleet."""
        return self.select_related("device", "user", "asked_by").defer("counts", "snapshot")


class Analysis(Run):
    """Statistics of one device, or of all devices of one user, over a period."""

    device = models.ForeignKey(Device, models.CASCADE, null=True, blank=True, related_name="analyses")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="analyses"
    )
    start = models.DateTimeField(null=True, blank=True, help_text="As asked; empty: from the first reading.")
    end = models.DateTimeField(null=True, blank=True, help_text="As asked; empty: up to now.")
    percentiles = models.CharField(max_length=300, blank=True, help_text="With commas between.")
    bucket = models.CharField(max_length=5, blank=True)
    time_zone = models.CharField(max_length=64, blank=True, help_text="Where buckets begin.")
    readings = models.BigIntegerField(default=0, help_text="How many went in.")
    # The state of the database that the result is about, and the number of readings in it by device id.
    snapshot = models.TextField(blank=True, editable=False)
    counts = models.JSONField(default=dict, editable=False)

    objects = AnalysisQuerySet.as_manager()

    class Meta(Run.Meta):
        verbose_name_plural = "analyses"
        constraints = (
            models.CheckConstraint(
                condition=Q(device=None) ^ Q(user=None), name="analysis_of_a_device_or_of_a_user"
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="analysis_status_known"),
        )
        indexes = (
            models.Index(fields=("device", "-asked_at"), name="analysis_of_device"),
            models.Index(fields=("user", "-asked_at"), name="analysis_of_user"),
            models.Index(fields=("-asked_at",), name="analysis_newest"),
            *indexes_of_turns("analysis"),
        )

    def __str__(self) -> str:
        return f"analysis of {self.target}"

    @property
    def target(self) -> Any:
        return self.device or self.user

    @property
    def question(self) -> Question:
        return Question(Period(self.start, self.end), self.percentiles, self.bucket, self.time_zone)

    def period(self, now: datetime) -> Period:
        return Period(self.start, self.end or now)

    @property
    def devices(self) -> DeviceQuerySet:
        """Its devices, as of now."""
        owned = {"pk": self.device_id} if self.user_id is None else {"owner": self.user_id}
        return Device.objects.filter(**owned)

    @property
    def result(self) -> dict | None:
        """The stored result; None until it is finished."""
        if self.status != Status.FINISHED or self.task_result is None:
            return None
        return json.loads(self.task_result.result)


class CalculationQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        """All calculations for admin and staff; for an owner those that they requested."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_staff else self.filter(asked_by=user)

    def newest(self) -> Self:
        return self.order_by(BEGUN.desc(), "-id")

    def oldest(self) -> Self:
        return self.order_by(BEGUN, "id")


# Start of a calculation, or its request if it has not started.
BEGUN = Coalesce("started_at", "asked_at")


class Calculation(Run):
    """A run of a kernel, with all that is needed to repeat it. Rows are apart: no list loads them."""

    name = models.CharField(max_length=200, blank=True)
    # A key of KERNELS, which declares parameters and columns.
    kernel = models.CharField(max_length=50)
    kernel_version = models.CharField(max_length=20)
    parameters = models.JSONField()
    seed = models.BigIntegerField()
    libraries = models.JSONField(default=dict, help_text="What computed it, by name and version.")
    row_count = models.PositiveIntegerField(default=0)
    broken = models.JSONField(default=dict, help_text="Rows that break an invariant, by its label.")
    rerun_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")

    objects = CalculationQuerySet.as_manager()

    class Meta(Run.Meta):
        constraints = (
            models.CheckConstraint(condition=Q(status__in=Status.values), name="calculation_status_known"),
            models.CheckConstraint(condition=Q(seed__gte=0), name="calculation_seed_not_negative"),
        )
        indexes = (
            models.Index(BEGUN.desc(), models.F("id").desc(), name="calculation_newest"),
            models.Index(models.F("asked_by"), BEGUN.desc(), name="calculation_of_asker"),
            *indexes_of_turns("calculation"),
        )

    def __str__(self) -> str:
        return self.name or f"{self.kernel} {str(self.pk)[:8]}"

    @property
    def duration_seconds(self) -> float | None:
        """None before it is over, and if it never started."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()

    def elapsed_seconds(self, now: datetime) -> float | None:
        """Time since it started, or its duration once it is over."""
        if self.status == Status.RUNNING and self.started_at is not None:
            return max(0.0, (now - self.started_at).total_seconds())
        return self.duration_seconds

    def remaining_seconds(self, now: datetime) -> float | None:
        """Estimate from its pace; None if it is not running or has made no progress."""
        elapsed = self.elapsed_seconds(now)
        if self.status != Status.RUNNING or not self.progress or elapsed is None:
            return None
        return elapsed * (100 - self.progress) / self.progress


class CalculationRows(models.Model):
    """A block of a calculation's rows: JSON objects separated by commas, as the API streams them."""

    calculation = models.ForeignKey(Calculation, models.CASCADE, related_name="blocks")
    number = models.PositiveIntegerField(help_text="Of the block, from 0.")
    payload = models.TextField()

    class Meta:
        ordering = ("calculation", "number")
        constraints = (
            models.UniqueConstraint(fields=("calculation", "number"), name="calculation_block_once"),
        )

    def __str__(self) -> str:
        return f"block {self.number} of {self.calculation_id}"
