import json
import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.demo.plausible import arriving, grid, plausible_values

logger = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
TIMEOUT_SECONDS = 5
# Readings of a sender that wait while the portal is down; the oldest are dropped. One request takes them all.
MOST_WAITING = 1000
# A refused sender, such as a device that was deleted or disabled, tries again after so long.
REFUSED_SECONDS = 60
# Posts go to the portal directly, without the proxy that the environment may name.
opener = build_opener(ProxyHandler({}))


class Unreachable(Exception):
    """The portal does not answer, or can't take readings now."""


@dataclass
class AgentSender:
    """A device for which the agent posts: plausible values of `channels`, or this computer's load."""

    device: str
    key: str
    name: str = ""
    channels: Sequence[str] = ()
    seconds: int = 1
    waiting: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    measured_until: float = 0.0

    def resume(self, url: str, now: float) -> None:
        """Go on after the newest reading that the portal has, if it tells."""
        self.measured_until = now
        try:
            with opener.open(f"{url}/stats/{self.device}/?limit=1", timeout=TIMEOUT_SECONDS) as answer:
                for reading in json.load(answer):
                    self.measured_until = min(now, datetime.fromisoformat(reading["timestamp"]).timestamp())
        except (OSError, HTTPException, ValueError) as error:
            logger.info("%s goes on from now: %s", self.name, error)

    def measure(self, now: float, random: np.random.Generator) -> None:
        """Add the readings that have become due."""
        if not self.channels:
            # Nobody knows the load of the past: what was missed is skipped.
            self.waiting.append(load_averages(now))
        else:
            after = max(self.measured_until, now - MOST_WAITING * self.seconds)
            times = grid(self.name, self.seconds, after, now)
            columns = [plausible_values(self.name, channel, times, random) for channel in self.channels]
            arrives = arriving(self.name, len(times), random)
            for moment, *values in np.column_stack([times, *columns])[arrives].tolist():
                self.waiting.append(
                    {"timestamp": stamp(moment), **dict(zip(self.channels, values, strict=True))}
                )
        self.measured_until = now

    def due(self) -> float:
        """When the next reading is to be measured, in seconds since 1970."""
        if not self.channels:
            return self.measured_until + self.seconds
        return float(
            grid(self.name, self.seconds, self.measured_until, self.measured_until + self.seconds)[0]
        )

    def send(self, url: str, now: float) -> None:
        """Post all that waits in one request. Raises Unreachable; what reached no server keeps waiting."""
        if not self.waiting:
            return
        headers = {"Authorization": f"Device {self.key}", "Content-Type": "application/json"}
        endpoint, body = f"{url}/devices/{self.device}/stats/batch", json.dumps(list(self.waiting)).encode()
        request = Request(endpoint, body, headers)  # noqa: S310  our own URL
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS):
                self.waiting.clear()
        except HTTPError as error:
            if error.code >= 500 or error.code == 429:
                raise Unreachable(str(error)) from error
            logger.warning(
                "The portal refused %s: %d %s", self.name, error.code, error.read().decode(errors="replace")
            )
            self.waiting.clear()
            self.measured_until = now + REFUSED_SECONDS
        except (URLError, HTTPException, OSError) as error:
            raise Unreachable(str(error)) from error


class Command(BaseCommand):
    help = "Post this computer's load averages every second, and plausible readings of the demo's devices."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--url", default=f"http://127.0.0.1:{settings.PORT}")
        parser.add_argument(
            "--credentials",
            type=Path,
            default=settings.DATA / "agent.json",
            help='a file with {"device": id, "key": text}, or a list of them',
        )

    def handle(self, *, url: str, credentials: Path, **_: Any) -> None:
        senders = read_senders(credentials)
        random = np.random.default_rng()
        wait_for_portal(url)
        for sender in senders:
            sender.resume(url, time.time())
        while senders:
            take_turn(senders, url, random)
            waits = RETRY_SECONDS if any(sender.waiting for sender in senders) else None
            pause = min(sender.due() for sender in senders) - time.time()
            time.sleep(max(0.05, pause if waits is None else min(pause, waits)))


def read_senders(credentials: Path) -> list[AgentSender]:
    try:
        listed = json.loads(credentials.read_text())
        known = listed if isinstance(listed, list) else [listed]
        return [AgentSender(**{"name": "this computer", **fields}) for fields in known]
    except (OSError, ValueError, TypeError) as error:
        raise CommandError(f"Cannot read credentials from {credentials}: {error!r}.") from error


def wait_for_portal(url: str) -> None:
    while True:
        try:
            with opener.open(f"{url}/livez", timeout=TIMEOUT_SECONDS):
                return
        except (OSError, HTTPException):
            time.sleep(RETRY_SECONDS)


def take_turn(senders: Sequence[AgentSender], url: str, random: np.random.Generator) -> None:
    """Measure what is due and send what waits; without an answer the others wait, too."""
    now = time.time()
    for sender in senders:
        if sender.due() <= now:
            sender.measure(now, random)
    try:
        for sender in senders:
            sender.send(url, now)
    except Unreachable as error:
        logger.info("The portal does not answer: %s", error)


def load_averages(now: float) -> dict[str, Any]:
    load1, load5, load15 = os.getloadavg()
    return {"load1": load1, "load5": load5, "load15": load15, "timestamp": stamp(now)}


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
