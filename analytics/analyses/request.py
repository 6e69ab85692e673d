"""Requests for analyses: the same question about unchanged data gets the analysis that exists."""

from datetime import datetime

from django.db import transaction

from analytics import runs
from analytics.analyses.question import Question, check_size
from analytics.analyses.staleness import device_ids, have_data_changed, reading_counts
from analytics.models import Analysis, Status
from analytics.tasks import run_analysis
from devices import statistics
from devices.models import Device
from users.models import User


class TargetErased(Exception):
    """The device or user was erased while the request was being handled."""


@transaction.atomic
def request_analysis(
    target: Device | User,
    question: Question,
    *,
    asked_by: User | None,
    now: datetime,
    only_reads: bool = False,
) -> Analysis:
    """An analysis of a device, or of all devices of a user: a new one, queued, or one that is still current.

    `only_reads`: a token that may change nothing asks. Raises BadQuestion, TargetErased, LimitReached.
    """
    # Two simultaneous requests get one analysis. NO KEY: foreign keys to the row do not wait.
    try:
        type(target).objects.select_for_update(no_key=True).get(pk=target.pk)
    except (Device.DoesNotExist, User.DoesNotExist) as error:
        raise TargetErased from error
    analysis = Analysis(
        device=target if isinstance(target, Device) else None,
        user=target if isinstance(target, User) else None,
        start=question.period.start,
        end=question.period.end,
        percentiles=question.percentiles,
        bucket=question.bucket,
        time_zone=question.time_zone,
        asked_by=asked_by,
    )
    ids = device_ids(analysis)
    needs_first = question.bucket and question.period.start is None
    first = statistics.first_reading_time(ids) if needs_first else None
    check_size(question, first, now, devices=max(1, len(ids)))
    existing = latest_equal(analysis)
    if existing is not None and is_current(existing, now):
        return existing
    # `is_current` compares with these until the run replaces them with its own, later state.
    analysis.snapshot = statistics.snapshot()
    analysis.counts = reading_counts(ids, analysis, now)
    runs.enqueue(analysis, run_analysis, only_reads=only_reads)
    return analysis


def latest_equal(analysis: Analysis) -> Analysis | None:
    """The latest analysis with the same question that has, or will have, a result."""
    names = ("device", "user", "start", "end", "percentiles", "bucket", "time_zone")
    question = {name: getattr(analysis, name) for name in names}
    statuses = (Status.QUEUED, Status.RUNNING, Status.FINISHED)
    # Its result may have megabytes, and is read when it is used.
    found = Analysis.objects.select_related("task_result").defer("task_result__result")
    return found.filter(**question, status__in=statuses).first()


def is_current(analysis: Analysis, now: datetime) -> bool:
    """The result is, or will be, about the data as they are now."""
    if analysis.status == Status.QUEUED:
        return True
    if analysis.status == Status.FINISHED and analysis.task_result_id is None:
        return False
    if analysis.expires_at is not None and analysis.expires_at <= now:
        return False
    return not have_data_changed(analysis, now)
