import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.celery import app
from config.processes import Command as Process
from config.supervisor import GaveUp, Stopped, Supervisor

# Each has processes of its own: long ones of one kind hold up no other, least of all what takes up lost runs.
GROUPS = {
    # A long job, and beside it the short ones.
    "maintenance": 2,
    "analyses": settings.WORKER_PROCESSES,
    "calculations": settings.CALCULATION_PROCESSES,
}
# The processes are the threads; and sums of several threads differ in their last digits from run to run.
SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# Orchestrators kill what has not stopped after 120 s.
GRACE_SECONDS = 110


class Command(BaseCommand):
    help = "Run queued work: analyses, calculations and maintenance, or only some `--queues` of it."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--queues", help="names with commas between; all if left out")
        parser.add_argument("--processes", type=int, default=settings.WORKER_PROCESSES)

    def handle(self, *, queues: str | None, processes: int, **_: Any) -> None:
        if queues is None:
            run_groups()
            return
        options = [f"--queues={queues}", f"--concurrency={processes}", f"--loglevel={settings.LOG_LEVEL}"]
        # Workers need not hear of one another: without gossip and mingle a start takes a second less.
        unheard = ("--without-gossip", "--without-mingle", f"--hostname={queues}@%h")
        app.worker_main(["worker", *options, *unheard])


def run_groups() -> None:
    """A worker for each group, started again if it dies, until a stop is asked for."""
    with Supervisor(None) as supervisor:
        supervisor.catch_signals()
        try:
            for queues, processes in GROUPS.items():
                supervisor.add(worker(queues, processes))
            supervisor.run()
        except Stopped:
            # Side by side: each waits for its own tasks.
            return
        except GaveUp as error:
            raise CommandError(str(error)) from error


def worker(queues: str, processes: int) -> Process:
    argv = [sys.executable, settings.BASE_DIR / "manage.py", "worker"]
    return Process(
        name=f"worker of {queues}",
        argv=[*argv, f"--queues={queues}", f"--processes={processes}"],
        env={**SINGLE_THREADED, **os.environ},
        folder=settings.BASE_DIR,
        grace_seconds=GRACE_SECONDS,
    )
