from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.celery import app


class Command(BaseCommand):
    help = "Run queued work: analyses, calculations and maintenance."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--queues", default="analyses,calculations,maintenance")
        parser.add_argument("--processes", type=int, default=settings.WORKER_PROCESSES)

    def handle(self, *, queues: str, processes: int, **_: Any) -> None:
        options = [f"--queues={queues}", f"--concurrency={processes}", f"--loglevel={settings.LOG_LEVEL}"]
        # Workers need not hear of one another: without gossip and mingle a start takes a second less.
        app.worker_main(["worker", *options, "--without-gossip", "--without-mingle"])
