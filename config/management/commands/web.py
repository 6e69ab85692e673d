import logging
import os
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand

from config.asgi.connections import allow_files
from config.installation.checks import weak_settings
from devices.access import credential_changes

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Serve the pages and the API with several uvicorn processes; Django runs on threads behind them."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--processes", type=int, default=settings.WEB_PROCESSES)

    def handle(self, *, host: str, port: int, processes: int, **_: Any) -> None:
        for weakness in weak_settings():
            logger.warning("%s %s", weakness.id, weakness.msg)
        credential_changes.share()
        allow_files()
        # Each process has a share of what all of them may hold.
        os.environ["WEB_PROCESSES"] = str(processes)
        uvicorn.run(
            "config.asgi.application:application",
            host=host,
            port=port,
            workers=processes,
            loop="uvloop",
            http="config.asgi.protocol:PatientProtocol",
            lifespan="on",
            log_level=settings.LOG_LEVEL.lower(),
            # uvicorn's lines go the same way as all others.
            log_config=None,
            access_log=False,
            server_header=False,
            # TRUSTED_PROXIES decides whether X-Forwarded-For is believed; uvicorn believes it on loopback.
            proxy_headers=False,
            timeout_graceful_shutdown=20,
        )
