from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from analytics import analyses, queue
from analytics.models import Analysis
from devices.upkeep import single_run

RECONCILE_LOCK = 7_586_204


class AnalysisTask(Task):
    """Celery stores the result, and only then the row says that it is there."""

    def on_success(self, retval: dict, task_id: str, args: tuple, kwargs: dict) -> None:
        queue.finish(Analysis, args[0], task_id, **self.request.outcome)

    def on_failure(self, exc: Exception, task_id: str, args: tuple, kwargs: dict, einfo: Any) -> None:
        # Without the database nothing can be written: the row stays as it is and is taken up again.
        if not isinstance(exc, OperationalError | InterfaceError):
            queue.fail(Analysis, args[0], task_id, exc)


@shared_task(bind=True, base=AnalysisTask)
def run_analysis(self: Task, analysis_id: str) -> dict:
    analysis = queue.claim(Analysis, analysis_id, self.request.id)
    if analysis is None:
        raise Ignore
    with queue.heartbeat(analysis) as report:
        computed = analyses.compute(analysis, timezone.now(), report)
    # For `on_success`: what belongs to the row, and not into the result.
    self.request.outcome = {
        "readings": computed.readings,
        "snapshot": computed.snapshot,
        "counts": computed.counts,
    }
    return computed.result


@shared_task(ignore_result=True)
def reconcile_runs() -> int:
    with single_run(RECONCILE_LOCK) as is_ours:
        return queue.reconcile(Analysis, run_analysis, timezone.now()) if is_ours else 0
