import os
import sys
from pathlib import Path
from typing import Any

from celery.utils.nodenames import host_format
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.celery import app
from config.processes import Command as Process
from config.supervisor import GaveUp, Stopped, Supervisor

# Queues and their numbers of processes. Long tasks of one kind must not delay another kind, least of all the
# reconciler of lost runs.
GROUPS = {
    "maintenance": 1,
    "storage": 1,
    "analyses": settings.WORKER_PROCESSES,
    "calculations": settings.CALCULATION_PROCESSES,
}
# Parallelism comes from processes. With several threads the last digits of sums would differ between runs.
SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# Compose and Kubernetes kill a worker 120 s after asking it to stop.
GRACE_SECONDS = 110


class Command(BaseCommand):
    help = "Run queued analyses, calculations and maintenance jobs, or only those of some `--queues`."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--queues", help="names of queues, separated by commas (default: all)")
        parser.add_argument("--processes", type=int, default=settings.WORKER_PROCESSES)

    def handle(self, *, queues: str | None, processes: int, **_: Any) -> None:
        if queues is None:
            run_groups()
            return
        # Not by `celery worker`: its command line imports a terminal's editor.
        worker = app.Worker(
            queues=queues,
            concurrency=processes,
            loglevel=settings.LOG_LEVEL,
            hostname=host_format(f"{queues}@%h"),
            # A start takes a second less; workers need not know one another.
            without_gossip=True,
            without_mingle=True,
        )
        worker.start()
        sys.exit(worker.exitcode)


def run_groups() -> None:
    """Run a worker for each group and restart those that die, until a stop is requested."""
    with Supervisor(None) as supervisor:
        supervisor.catch_signals()
        try:
            for queues, processes in GROUPS.items():
                supervisor.add(worker(queues, processes))
            supervisor.run()
        except Stopped:
            # Leaving the block stops all workers together; each finishes its own tasks first.
            return
        except GaveUp as error:
            raise CommandError(str(error)) from error


def worker(queues: str, processes: int) -> Process:
    argv: list[str | Path] = [sys.executable, settings.BASE_DIR / "manage.py", "worker"]
    return Process(
        name=f"worker of {queues}",
        argv=[*argv, f"--queues={queues}", f"--processes={processes}"],
        env={**SINGLE_THREADED, **os.environ},
        folder=settings.BASE_DIR,
        grace_seconds=GRACE_SECONDS,
    )
