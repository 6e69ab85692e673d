import json
import logging
import os
import time
from collections import deque
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

logger = logging.getLogger(__name__)
INTERVAL_SECONDS = 1.0
TIMEOUT_SECONDS = 5
# Readings that wait while the portal is down, one hour; the oldest are dropped.
MAX_WAITING = 3600
# Posts go to the portal directly, without the proxy that the environment may name.
opener = build_opener(ProxyHandler({}))


class Command(BaseCommand):
    help = "Post this computer's load averages every second, through the public API, with a device key."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--url", default=f"http://127.0.0.1:{settings.PORT}")
        parser.add_argument(
            "--credentials",
            type=Path,
            default=settings.DATA / "agent.json",
            help='a file with {"device": id, "key": text}',
        )

    def handle(self, *, url: str, credentials: Path, **_: Any) -> None:
        try:
            sender = json.loads(credentials.read_text())
            endpoint, key = f"{url}/devices/{sender['device']}/stats/", sender["key"]
        except (OSError, ValueError, KeyError) as error:
            raise CommandError(f"Cannot read credentials from {credentials}: {error!r}.") from error
        waiting: deque[bytes] = deque(maxlen=MAX_WAITING)
        due = time.monotonic()
        while True:
            waiting.append(reading())
            send_all(waiting, endpoint, key)
            # After a delay, missed readings are skipped.
            due = max(due + INTERVAL_SECONDS, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))


def reading() -> bytes:
    load1, load5, load15 = os.getloadavg()
    stamp = datetime.now(UTC).isoformat()
    return json.dumps({"load1": load1, "load5": load5, "load15": load15, "timestamp": stamp}).encode()


def send_all(waiting: deque[bytes], endpoint: str, key: str) -> None:
    """Send waiting readings, oldest first. Those that reach no server keep waiting."""
    while waiting:
        try:
            post(endpoint, key, waiting[0])
        except HTTPError as error:
            if error.code < 500 and error.code != 429:
                raise CommandError(
                    f"The portal refused a reading: {error.code} {error.read().decode(errors='replace')}"
                ) from error
            return
        except (URLError, HTTPException, OSError) as error:
            logger.info("The portal does not answer: %s", error)
            return
        waiting.popleft()


def post(endpoint: str, key: str, body: bytes) -> None:
    headers = {"Authorization": f"Device {key}", "Content-Type": "application/json"}
    request = Request(endpoint, body, headers)  # noqa: S310  our own URL
    with opener.open(request, timeout=TIMEOUT_SECONDS):
        pass
