"""Load test of a running portal: devices post readings, and owners ask for statistics.

    locust -f locust/locustfile.py --host http://127.0.0.1:8080

`Owner` does everything. `Writer` only posts two readings a second, however long the answers take: 500 writers
offer 1,000 readings a second. Without a name, locust runs both kinds.

    locust -f locust/locustfile.py Writer --headless --users 500 --spawn-rate 25 --run-time 2m --reset-stats

Outside demo mode set PLUMBLINE_TOKEN to an admin's token (`manage.py create_token LOGIN`). The users that a
run registers stay; they are called load-…, and `DELETE /users/{id}/?purge=true` erases one with all its data.
Every unexpected answer is a failure; a headless run then ends with code 1.
"""

import os
import random
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from locust import FastHttpUser, between, constant_throughput, task
from locust.exception import StopUser

TOKEN = os.environ.get("PLUMBLINE_TOKEN", "")
AS_ADMIN = {"Authorization": f"Token {TOKEN}"} if TOKEN else {}
DEVICES = 3
BATCH = 100
TASK_SECONDS = 60
POLL_SECONDS = 0.2


class Unexpected(Exception):
    """The portal's result does not match the readings posted."""


class Owner(FastHttpUser):
    """An owner whose DEVICES devices each post about a reading a second; sometimes asks for statistics."""

    host = "http://127.0.0.1:8080"
    wait_time = between(0.5 / DEVICES, 1.5 / DEVICES)

    def on_start(self) -> None:
        self.register()
        # Even a short run posts and analyses once.
        self.post_reading()
        self.analyse_all_devices()

    def register(self) -> None:
        name = f"load-{uuid.uuid4().hex[:12]}"
        user = self.ask("POST", "/users/", 201, {"name": name, "email": f"{name}@example.com"})
        self.user_id = user["id"]
        self.devices = [
            self.ask("POST", "/devices/", 201, {"user_id": self.user_id, "name": f"{name} {number}"})
            for number in range(DEVICES)
        ]
        self.posted = {device["id"]: 0 for device in self.devices}

    @task(50)
    def post_reading(self) -> None:
        device = self.any_device()
        reading = {channel: random.gauss(0, 1) for channel in "xyz"}
        as_device = {"Authorization": f"Device {device['key']}"}
        path = f"/devices/{device['id']}/stats/"
        self.ask("POST", path, 201, reading, name="/devices/[id]/stats/", headers=as_device)
        self.posted[device["id"]] += 1

    @task(3)
    def post_batch(self) -> None:
        device = self.any_device()
        newest = datetime.now(UTC)
        batch = [
            {"timestamp": (newest - timedelta(seconds=age)).isoformat()}
            | {channel: random.gauss(0, 1) for channel in "xyz"}
            for age in range(BATCH)
        ]
        as_device = {"Authorization": f"Device {device['key']}"}
        path = f"/devices/{device['id']}/stats/batch"
        self.ask("POST", path, 201, batch, name="/devices/[id]/stats/batch", headers=as_device)
        self.posted[device["id"]] += BATCH

    @task(2)
    def look_at_readings(self) -> None:
        self.ask("GET", f"/stats/{self.any_device()['id']}/", 200, name="/stats/[id]/")

    @task(2)
    def analyse_a_device(self) -> None:
        device = self.any_device()["id"]
        result = self.analyse(f"/devices/{device}/analytics/", "/devices/[id]/analytics/")
        self.check_count(result["x"]["count"], self.posted[device])

    @task(1)
    def analyse_all_devices(self) -> None:
        result = self.analyse(f"/users/{self.user_id}/analytics/", "/users/[id]/analytics/")
        self.check_count(result["aggregate"]["x"]["count"], sum(self.posted.values()))

    def any_device(self) -> dict:
        return random.choice(self.devices)  # noqa: S311  not a secret

    def analyse(self, path: str, name: str) -> dict:
        """Ask for an analysis, wait for its result and return it; the whole time is recorded separately."""
        started = time.perf_counter()
        run = self.ask("POST", path, 202, {}, name=name)
        task_path = f"/tasks/{run['task_id']}/"
        while run["status"] in ("PENDING", "STARTED") and time.perf_counter() < started + TASK_SECONDS:
            time.sleep(POLL_SECONDS)
            run = self.ask("GET", task_path, 200, name="/tasks/[id]/")
        fault = None if run["status"] == "SUCCESS" else Unexpected(str(run))
        self.record("until the result", time.perf_counter() - started, fault)
        return run["result"]

    def check_count(self, found: int, posted: int) -> None:
        """Record a failure unless the result has every acknowledged reading; nobody else posts for them."""
        fault = None if found == posted else Unexpected(f"{found} readings in the result, {posted} posted")
        self.record("every reading counted", 0, fault)

    def ask(self, method: str, path: str, expected: int, body: Any = None, **options: Any) -> Any:
        """Send a request and return the answer's JSON. Another status is a failure and ends this user."""
        options = {"headers": AS_ADMIN, **options}
        with self.client.request(method, path, json=body, catch_response=True, **options) as response:
            if response.status_code == expected:
                return response.json()
            response.failure(f"{response.status_code} instead of {expected}: {response.text or ''}")
        raise StopUser

    def record(self, name: str, seconds: float, fault: Exception | None) -> None:
        """Add a line to locust's tables; a fault ends this user."""
        self.environment.events.request.fire(
            request_type="CHECK",
            name=name,
            response_time=seconds * 1000,
            response_length=0,
            exception=fault,
            context={},
        )
        if fault is not None:
            raise StopUser


class Writer(Owner):
    """An owner whose devices post two readings a second, and nothing else."""

    wait_time = constant_throughput(2)

    def on_start(self) -> None:
        self.register()


# Set outside the class: inside, locust would add them to those of Owner.
Writer.tasks = [Owner.post_reading]
