from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from config.celery import app


class Command(BaseCommand):
    help = "Start the periodic jobs. A second beat does no harm: jobs take locks and are idempotent."
    requires_system_checks = ()

    def handle(self, **_: Any) -> None:
        # No pid file: the one left by a killed beat would keep the next from starting.
        app.Beat(loglevel=settings.LOG_LEVEL).run()
