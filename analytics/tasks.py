from collections.abc import Callable
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import Subquery
from django.db.models.functions import Coalesce, Length
from django.utils import timezone
from django_celery_results.models import TaskResult

from analytics.analyses.compute import compute_analysis
from analytics.analyses.question import BadQuestion
from analytics.calculations.compute import compute_calculation
from analytics.kernels.declaration import InvalidParameters, NoResult
from analytics.models import Analysis, Calculation, Run
from analytics.runs import (
    RunLost,
    claim,
    claimed_run,
    delete_orphans,
    expire,
    fail,
    finish,
    heartbeat,
    reconcile,
)
from devices.locks import AdvisoryLock, single_run
from devices.storage.interface import StorageUnavailable

# The hard time limit follows the soft one by KILL_AFTER_SECONDS.
KILL_AFTER_SECONDS = 5


class RunTask(Task):
    """Works on the queued run whose turn it is; the id in its message is for the logs only."""

    model: type[Run]
    # Celery's Context takes any attribute.
    request: Any

    def work(self, job: Callable[[Any, Callable[[int], None]], Any]) -> Any:
        """Claim a run and do the job for it. Raises Ignore if none is queued or the run was lost."""
        run = claim(self.model, self.request.id)
        if run is None:
            raise Ignore
        self.request.run_id = run.pk
        try:
            with heartbeat(run) as report:
                return job(run, report)
        except RunLost as error:
            raise Ignore from error

    def on_failure(self, exc: Exception, task_id: str, args: tuple, kwargs: dict, einfo: Any) -> None:
        # Without the database nothing can be written: `reconcile` takes the run up again.
        if not isinstance(exc, OperationalError | InterfaceError | StorageUnavailable):
            fail(self.model, claimed_run(self.model, task_id), task_id, exc)


class AnalysisTask(RunTask):
    """The row is finished only after Celery has stored the result."""

    model = Analysis

    def on_success(self, retval: dict, task_id: str, args: tuple, kwargs: dict) -> None:
        stored = TaskResult.objects.filter(task_id=task_id)
        finish(
            Analysis,
            self.request.run_id,
            task_id,
            task_result_id=Subquery(stored.values("pk")),
            result_bytes=Coalesce(Subquery(stored.values(length=Length("result"))), 0),
            **self.request.outcome,
        )


class CalculationTask(RunTask):
    model = Calculation


@shared_task(
    bind=True,
    base=AnalysisTask,
    soft_time_limit=settings.ANALYSIS_SECONDS,
    time_limit=settings.ANALYSIS_SECONDS + KILL_AFTER_SECONDS,
    # An expected outcome, recorded on the run: one line in the log, without a traceback.
    throws=(BadQuestion,),
)
def run_analysis(self: AnalysisTask, analysis_id: str) -> dict:
    computed = self.work(lambda analysis, report: compute_analysis(analysis, timezone.now(), report))
    # For `on_success`: fields of the row that are no part of the result.
    self.request.outcome = {
        "readings": computed.readings,
        "snapshot": computed.snapshot,
        "counts": computed.counts,
    }
    return computed.result


@shared_task(
    bind=True,
    base=CalculationTask,
    # The run's rows are stored by compute_calculation.
    ignore_result=True,
    throws=(NoResult, InvalidParameters),
    soft_time_limit=settings.CALCULATION_SECONDS,
    time_limit=settings.CALCULATION_SECONDS + KILL_AFTER_SECONDS,
)
def run_calculation(self: CalculationTask, calculation_id: str) -> None:
    self.work(compute_calculation)


@shared_task(ignore_result=True)
def reconcile_runs() -> int:
    with single_run(AdvisoryLock.RECONCILE_RUNS) as is_ours:
        if not is_ours:
            return 0
        now = timezone.now()
        runs = ((Analysis, run_analysis), (Calculation, run_calculation))
        return sum(reconcile(model, task, now) for model, task in runs)


@shared_task(ignore_result=True)
def expire_results() -> int:
    """Delete analyses whose results have expired, and results whose analyses were erased.

    Calculations stay: they are records, to be repeated.
    """
    with single_run(AdvisoryLock.EXPIRE_RESULTS) as is_ours:
        return expire(Analysis, timezone.now()) + delete_orphans(timezone.now()) if is_ours else 0
