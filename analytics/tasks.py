from collections.abc import Callable
from typing import Any

from celery import Task, shared_task
from celery.exceptions import Ignore
from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import Subquery
from django.utils import timezone
from django_celery_results.models import TaskResult

from analytics.analyses.compute import compute_analysis
from analytics.analyses.question import BadQuestion
from analytics.calculations.compute import compute_calculation
from analytics.kernels.declaration import InvalidParameters, NoResult
from analytics.models import Analysis, Calculation, Run
from analytics.runs import RunLost, claim, claimed_run, fail, finish, heartbeat, reconcile
from devices.locks import AdvisoryLock, single_run
from devices.storage.interface import StorageUnavailable

# What does not end when it is told to is killed so much later.
KILL_AFTER_SECONDS = 5


class RunTask(Task):
    """Works on the queued run that was asked for first; the id in its message is for the logs."""

    model: type[Run]
    # Celery's Context takes any attribute.
    request: Any

    def work(self, job: Callable[[Any, Callable[[int], None]], Any]) -> Any:
        """What the job returns for the run. Raises Ignore if there is none, or if it was lost on the way."""
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
        # Without the database nothing can be written: the row stays as it is and is taken up again.
        if not isinstance(exc, OperationalError | InterfaceError | StorageUnavailable):
            fail(self.model, claimed_run(self.model, task_id), task_id, exc)


class AnalysisTask(RunTask):
    """Celery stores the result, and only then the row says that it is there."""

    model = Analysis

    def on_success(self, retval: dict, task_id: str, args: tuple, kwargs: dict) -> None:
        result = Subquery(TaskResult.objects.filter(task_id=task_id).values("pk"))
        finish(Analysis, self.request.run_id, task_id, task_result_id=result, **self.request.outcome)


class CalculationTask(RunTask):
    model = Calculation


@shared_task(
    bind=True,
    base=AnalysisTask,
    soft_time_limit=settings.ANALYSIS_SECONDS,
    time_limit=settings.ANALYSIS_SECONDS + KILL_AFTER_SECONDS,
    # Told on the run; for whoever reads the log it is a line, not a fault with a traceback.
    throws=(BadQuestion,),
)
def run_analysis(self: AnalysisTask, analysis_id: str) -> dict:
    computed = self.work(lambda analysis, report: compute_analysis(analysis, timezone.now(), report))
    # For `on_success`: what belongs to the row, and not into the result.
    self.request.outcome = {
        "readings": computed.readings,
        "snapshot": computed.snapshot,
        "counts": computed.counts,
    }
    return computed.result


@shared_task(
    bind=True,
    base=CalculationTask,
    # Its rows are stored with the end of the run, in one transaction.
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
