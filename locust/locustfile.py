"""Load test of a running portal. In the folder of this file, with the page at http://127.0.0.1:8090:

    locust -f locustfile.py --web-port 8090

or without the page, for the kinds of users that are named, or for all of them:

    locust -f locustfile.py Writer --headless --users 500 --spawn-rate 25 --run-time 2m --reset-stats

| of 10 users | kind | does |
|---|---|---|
| 4 | `Owner` | has devices that post readings, singly and in batches; looks at them; asks for statistics |
| 4 | `Writer` | posts two readings a second, however long the answers take: 500 offer 1,000 a second |
| 1 | `Calculator` | runs calculations, one after another, and waits for each table |
| 1 | `Author` | posts events of log-ins and comments, and asks for the two datasets of them |

`--host` names another portal than http://127.0.0.1:8080, and `--class-picker` lets the page choose kinds.

Outside demo mode set PLUMBLINE_TOKEN to an admin's token (`manage.py create_token LOGIN`). The users that a
run registers stay; they are called load-…, and `DELETE /users/{id}/?purge=true` erases one with all its data.
So do the calculations, which are the admin's. Every unexpected answer and every wrong figure is a failure; a
headless run then ends with code 1.
"""

import os
import random
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

from locust import FastHttpUser, between, constant_throughput, task
from locust.exception import StopUser

TOKEN = os.environ.get("PLUMBLINE_TOKEN", "")
AS_ADMIN = {"Authorization": f"Token {TOKEN}"} if TOKEN else {}
DEVICES = 3
BATCH = 100
RUN_SECONDS = 60
POLL_SECONDS = 0.2
# States of an analysis, then of a calculation.
UNFINISHED = {"PENDING", "STARTED", "queued", "running"}


class Unexpected(Exception):
    """The portal's result is not what follows from the requests sent."""


class Visitor(FastHttpUser):
    """A user of the portal; counts every answer other than the expected one as a failure."""

    abstract = True
    host = "http://127.0.0.1:8080"

    def register(self) -> dict:
        """Register a person and return its JSON."""
        name = f"load-{uuid.uuid4().hex[:12]}"
        return self.ask("POST", "/users/", 201, {"name": name, "email": f"{name}@example.com"})

    def ask(self, method: str, path: str, expected: int, body: Any = None, **options: Any) -> Any:
        """Send a request and return the answer's JSON. Another status is a failure and ends this user."""
        options = {"headers": AS_ADMIN, **options}
        with self.client.request(method, path, json=body, catch_response=True, **options) as response:
            if response.status_code == expected:
                return response.json()
            response.failure(f"{response.status_code} instead of {expected}: {response.text or ''}")
        raise StopUser

    def wait_for(self, what: str, path: str, *, name: str, success: str) -> Any:
        """Wait until a background run is over and return its result; the whole time is recorded as `what`."""
        started = time.perf_counter()
        run = self.ask("GET", path, 200, name=name)
        while run["status"] in UNFINISHED and time.perf_counter() < started + RUN_SECONDS:
            time.sleep(POLL_SECONDS)
            run = self.ask("GET", path, 200, name=name)
        fault = None if run["status"] == success else Unexpected(str(run))
        self.record(what, time.perf_counter() - started, fault)
        return run["result"]

    def check(self, what: str, found: object, expected: object) -> None:
        fault = None if found == expected else Unexpected(f"{found} instead of {expected}")
        self.record(what, 0, fault)

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


class Owner(Visitor):
    """An owner whose DEVICES devices each post about a reading a second; sometimes asks for statistics."""

    weight = 4
    wait_time = between(0.5 / DEVICES, 1.5 / DEVICES)

    def on_start(self) -> None:
        self.register_devices()
        # Even a short run posts and analyses once.
        self.post_reading()
        self.analyse_all_devices()

    def register_devices(self) -> None:
        self.user_id = self.register()["id"]
        self.devices = [
            self.ask("POST", "/devices/", 201, {"user_id": self.user_id, "name": f"Load {number}"})
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
        self.check("every reading counted", result["x"]["count"], self.posted[device])

    @task(1)
    def analyse_all_devices(self) -> None:
        result = self.analyse(f"/users/{self.user_id}/analytics/", "/users/[id]/analytics/")
        self.check("every reading counted", result["aggregate"]["x"]["count"], sum(self.posted.values()))

    def any_device(self) -> dict:
        return random.choice(self.devices)  # noqa: S311  not a secret

    def analyse(self, path: str, name: str) -> dict:
        """Ask for an analysis, wait for its result and return it."""
        task_id = self.ask("POST", path, 202, {}, name=name)["task_id"]
        return self.wait_for(
            "until the statistics", f"/tasks/{task_id}/", name="/tasks/[id]/", success="SUCCESS"
        )


class Writer(Owner):
    """An owner whose devices post two readings a second, and nothing else."""

    wait_time = constant_throughput(2)

    def on_start(self) -> None:
        self.register_devices()


# Set outside the class: inside, locust would add them to those of Owner.
Writer.tasks = [Owner.post_reading]


class Calculator(Visitor):
    """Somebody who runs calculations, one after another, and waits for each table."""

    weight = 1
    wait_time = between(5, 15)

    def on_start(self) -> None:
        self.calculate()

    @task
    def calculate(self) -> None:
        start, days, lag = date(2020, 1, 1), random.randint(0, 3650), random.randint(1, 30)  # noqa: S311
        dates = {"date_start": str(start), "date_fin": str(start + timedelta(days=days)), "lag": lag}
        run_id = self.ask("POST", "/calculations/", 201, dates)["id"]
        path, name = f"/calculations/{run_id}/", "/calculations/[id]/"
        rows = self.wait_for("until the table", path, name=name, success="finished")
        self.check("every row calculated", len(rows), days // lag + 1)


class Author(Visitor):
    """Somebody with a blog who logs in, comments on the own post and logs out, and asks for the datasets."""

    weight = 1
    wait_time = between(1, 3)

    def on_start(self) -> None:
        self.login = self.register()["login"]
        blog = {"name": "Load", "description": "", "owner": self.login}
        post = {"blog": self.ask("POST", "/api/blogs/", 201, blog)["id"], "author": self.login}
        self.post_id = self.ask("POST", "/api/posts/", 201, {**post, "header": "Load", "text": ""})["id"]
        self.visits = 0
        self.visit()
        self.ask_for_comments()
        self.ask_for_days()

    @task(3)
    def visit(self) -> None:
        event = {"login": self.login, "at": datetime.now(UTC).isoformat()}
        kinds = ({"event": "login"}, {"event": "comment", "object_id": self.post_id}, {"event": "logout"})
        receipt = self.ask("POST", "/api/activity/", 201, [event | kind for kind in kinds])
        self.check("every event accepted", receipt["accepted"], len(kinds))
        self.visits += 1

    @task
    def ask_for_comments(self) -> None:
        [row] = self.dataset("comments")
        self.check("every comment counted", row["total_comments"], self.visits)

    @task
    def ask_for_days(self) -> None:
        days = self.dataset("general")
        counts = [sum(day[column] for day in days) for column in ("logins", "logouts", "blog_actions")]
        self.check("every visit counted", counts, [self.visits, self.visits, 1])

    def dataset(self, name: str) -> list[dict]:
        answer = self.ask("GET", f"/api/{name}/?login={self.login}", 200, name=f"/api/{name}/")
        return answer["data"]
