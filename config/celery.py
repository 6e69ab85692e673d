"""The Celery application. Queues and beat's schedule are in `config.settings`."""

import os
from typing import Any, Self

from celery import Celery
from celery.signals import task_prerun, worker_process_init
from django.db import close_old_connections
from kombu import Connection

from config.processes import die_with_parent
from users.trail.acting import begin

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Else Celery runs all system checks at each start of a worker and of beat, and they load every page: a fifth
# of the start, and 20 MB. `migrate` runs the checks.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

MAX_RETRY_PAUSE_SECONDS = 4


class Broker(Connection):
    """Reconnects every MAX_RETRY_PAUSE_SECONDS even after a long outage; kombu's pauses grow to 30 s."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Self:
        options["interval_max"] = MAX_RETRY_PAUSE_SECONDS
        return super().ensure_connection(*arguments, **options)


app = Celery("plumbline")
app.amqp.Connection = Broker
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def begin_process(**_: object) -> None:
    """End a pool process whose worker was killed."""
    die_with_parent()
    task_prerun.connect(check_connections)
    task_prerun.connect(name_task)


def check_connections(**_: object) -> None:
    """Have each database connection checked at its next use, as the web server does before a request."""
    close_old_connections()


def name_task(task: Any, **_: object) -> None:
    """Tell the trail which task acts, until the next one does."""
    begin(f"task {task.name}")
