"""The Celery application: queues, and the jobs that beat starts."""

import os
from typing import Any

from celery import Celery
from celery.signals import task_prerun, worker_process_init
from django.db import close_old_connections
from kombu import Connection

from config.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

LONGEST_PAUSE_SECONDS = 4


class Broker(Connection):
    """After a long outage, too, tried again every few seconds: the library's own pauses grow to 30."""

    def ensure_connection(self, *arguments: Any, **options: Any) -> Connection:
        return super().ensure_connection(*arguments, **options, interval_max=LONGEST_PAUSE_SECONDS)


app = Celery("plumbline")
app.amqp.Connection = Broker
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def begin_process(**_: object) -> None:
    """A pool process whose worker was killed must not go on alone."""
    die_with_parent()
    task_prerun.connect(check_connections)


def check_connections(**_: object) -> None:
    """As the web does before a request: each connection is looked at when it is next used."""
    close_old_connections()
