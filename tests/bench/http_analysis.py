"""The time from asking for an analysis over HTTP to its result, with Celery and a polling client."""

import http.client
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from config.processes import Command
from config.supervisor import Supervisor
from tests.bench import sides
from tests.bench.load import Failed

READINGS = 500
HTTP_ANALYSIS = f"{READINGS} readings, asked over HTTP"
RUNS = 60
WARM_UP = 20
POLL_SECONDS = 0.005
PATIENCE_SECONDS = 60


def times(supervisor: Supervisor, urls: Mapping[str, str], runs: int) -> list[float]:
    """Seconds from each of `runs` requests to the answer with its result. Raises Failed.

    Each asks about another period, so that no earlier result can answer it.
    """
    portal = sides.start_portal("http_analysis", supervisor, urls, devices=1)
    for name in ("worker", "beat"):
        argv = [sys.executable, sides.ROOT / "manage.py", name]
        supervisor.add(Command(f"http-analysis-{name}", argv, portal.env, sides.ROOT))
    [(device, key)] = portal.devices.items()
    client = Client(portal.port)
    end = datetime.now(UTC) - timedelta(minutes=1)
    readings = [
        {"x": n, "y": n / 3, "z": -n, "timestamp": f"{end - timedelta(seconds=n + 1):%Y-%m-%dT%H:%M:%S}Z"}
        for n in range(READINGS)
    ]
    client.answer("POST", f"/devices/{device}/stats/batch", key, readings, expected=201)
    found = []
    for number in range(WARM_UP + runs):
        period = {"end": (end + timedelta(milliseconds=number)).isoformat()}
        found.append(client.ask(f"/devices/{device}/analytics/", f"Token {portal.token}", period))
    return found[WARM_UP:]


class Client:
    """An HTTP client with one persistent connection."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)

    def answer(
        self, method: str, path: str, authorization: str, body: object = None, *, expected: int
    ) -> dict:
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = self.connection.getresponse()
        text = response.read()
        if response.status != expected:
            raise Failed(f"{method} {path} was answered {response.status}: {text}")
        return json.loads(text)

    def get(self, path: str, authorization: str) -> bytes:
        """The answer's bytes, unread: reading JSON would take longer than the answer."""
        self.connection.request("GET", path, None, {"Authorization": authorization})
        response = self.connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise Failed(f"GET {path} was answered {response.status}: {text[:1000]!r}")
        return text

    def result(self, path: str, authorization: str, question: object) -> dict:
        """Ask for an analysis and wait for its task's end."""
        began = time.perf_counter()
        task = self.answer("POST", path, authorization, question, expected=202)
        while task["status"] in ("PENDING", "STARTED"):
            if time.perf_counter() - began > PATIENCE_SECONDS:
                raise Failed(f"No result within {PATIENCE_SECONDS} s: {task}")
            time.sleep(POLL_SECONDS)
            task = self.answer("GET", f"/tasks/{task['task_id']}/", authorization, expected=200)
        if task["status"] != "SUCCESS":
            raise Failed(f"The analysis failed: {task}")
        return task

    def ask(self, path: str, authorization: str, question: object) -> float:
        """Seconds from the question to the answer with its result."""
        began = time.perf_counter()
        task = self.result(path, authorization, question)
        seconds = time.perf_counter() - began
        if task["result"]["x"]["count"] != READINGS:
            raise Failed(f"Not the expected result: {task}")
        return seconds
