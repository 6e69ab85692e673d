"""Asking for an analysis: the same question about unchanged data gets the task that it already has."""

from datetime import datetime

from django.db import transaction
from django.shortcuts import get_object_or_404

from analytics import runs
from analytics.analyses.question import Question, check_size
from analytics.models import Analysis, Status
from analytics.tasks import run_analysis
from devices import statistics
from devices.models import Device
from users.models import User


@transaction.atomic
def ask_for_analysis(
    target: Device | User, question: Question, *, asked_by: User | None, now: datetime
) -> Analysis:
    """The analysis of a device, or of all devices of a user: a new one, queued, or one that still holds.

    Raises BadQuestion, and Http404 if the target was erased at this moment.
    """
    # Two who ask at the same moment get one task; foreign keys to the row are not held up.
    get_object_or_404(type(target).objects.select_for_update(no_key=True), pk=target.pk)
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
    is_open = question.bucket and question.period.start is None
    check_size(question, statistics.first_reading_time(ids) if is_open else None, now, max(1, len(ids)))
    asked = alike(analysis)
    if asked is not None and still_holds(asked, now):
        return asked
    # Should it be asked for again while it runs: what it is about will be this state, or a later one.
    analysis.snapshot = statistics.snapshot()
    analysis.counts = counts(ids, analysis, now)
    runs.enqueue(analysis, run_analysis)
    return analysis


def alike(analysis: Analysis) -> Analysis | None:
    """The last one with the same question that has, or will have, a result."""
    names = ("device", "user", "start", "end", "percentiles", "bucket", "time_zone")
    question = {name: getattr(analysis, name) for name in names}
    ends_well = (Status.QUEUED, Status.RUNNING, Status.FINISHED)
    return Analysis.objects.select_related("task_result").filter(**question, status__in=ends_well).first()


def still_holds(analysis: Analysis, now: datetime) -> bool:
    """Whether its result is, or will be, about the data as they are now."""
    if analysis.status == Status.QUEUED:
        return True
    if analysis.status == Status.FINISHED and analysis.result is None:
        return False
    return not is_outdated(analysis, now)


def is_stale(analysis: Analysis, now: datetime) -> bool:
    """Whether there is a result that is no longer about the data as they are now."""
    return analysis.status == Status.FINISHED and is_outdated(analysis, now)


def is_outdated(analysis: Analysis, now: datetime) -> bool:
    """Whether readings in its period have come, gone, or been corrected since, or devices have.

    Fresh readings change the number of them, and everything else is noted in the log of changes.
    """
    ids = device_ids(analysis)
    if counts(ids, analysis, now) != analysis.counts:
        return True
    return bool(statistics.changed_since(ids, analysis.period(now), analysis.snapshot))


def device_ids(analysis: Analysis) -> list[int]:
    return list(analysis.devices.values_list("pk", flat=True))


def counts(ids: list[int], analysis: Analysis, now: datetime) -> dict[str, int]:
    """By device id, as JSON has its keys."""
    return {str(pk): count for pk, count in statistics.count(ids, analysis.period(now)).items()}
