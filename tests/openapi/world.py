"""A portal with something of every kind, and for each operation a request that it grants."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from tests.support.portal import Person, Portal, Sender, eventually

READING = {"x": 1.0, "y": 2.0, "z": 3.0}
STAMPED = {"timestamp": "2026-11-20T08:00:00Z", **READING}
WELL = {"date_start": "2026-01-01", "date_fin": "2026-01-09", "lag": 1, "seed": 7}
# So slow that it is still queued or running when a test asks.
SLOW_WELL = WELL | {"pause": 5}
PUMP_CHANNELS = [{"name": "x", "unit": "°C", "kind": "gauge"}]
# Values of path parameters that nothing has.
UNKNOWN = {"uuid": uuid4(), "id": 2**40, "name": "nothing", "prefix": "nothing", "sensor": "nothing"}


class Call(NamedTuple):
    """What to send to an operation: values of its path, body and query; a device's key, else a token."""

    ids: dict[str, Any] = {}
    body: Any = None
    query: dict[str, Any] = {}
    device_key: str | None = None
    headers: dict[str, str] = {}


@dataclass
class World:
    portal: Portal
    owner: Person = field(init=False)
    # Of devices that nothing else looks at.
    other: Person = field(init=False)
    device: Sender = field(init=False)
    analysis: str = field(init=False)
    fleet_analysis: str = field(init=False)
    calculation: str = field(init=False)

    def __post_init__(self) -> None:
        portal = self.portal
        self.owner, self.other = portal.new_user(), portal.new_user()
        self.device = portal.new_device(self.owner, name="Pump")
        portal.post_reading(self.device, **STAMPED)
        self.exclusion = self.new_exclusion()
        self.analysis = portal.ask(f"/devices/{self.device.id}/analytics/", self.owner.token, bucket="day")
        self.fleet_analysis = portal.ask(
            f"/users/{self.owner.id}/analytics/", self.owner.token, percentiles="5,95", bucket="day"
        )
        for task_id in (self.analysis, self.fleet_analysis):
            assert portal.wait_for_task(task_id, self.owner.token)["status"] == "SUCCESS"
        self.calculation = self.new_calculation(**WELL)
        eventually(lambda: portal.get(f"/calculations/{self.calculation}/")["status"] == "finished")
        self.blog = self.made("/api/blogs/", {"name": "Notes", "description": "", "owner": self.owner.login})[
            "id"
        ]
        self.post = self.new_post()

    def made(self, path: str, body: Any) -> dict[str, Any]:
        return self.portal.made(path, self.portal.admin_token, body)

    def new_device(self) -> str:
        return self.portal.new_device(self.owner).id

    def new_exclusion(self) -> int:
        body = {"start": "2026-11-20T07:00:00Z", "end": "2026-11-20T07:30:00Z", "reason": "Cleaning"}
        return self.made(f"/devices/{self.device.id}/exclusions/", body)["id"]

    def new_profile(self) -> str:
        name = f"pump-{secrets.token_hex(4)}"
        self.made("/profiles/", {"name": name, "channels": PUMP_CHANNELS})
        return name

    def new_calculation(self, **body: Any) -> str:
        return self.made("/calculations/", body)["id"]

    def new_post(self) -> int:
        return self.made("/api/posts/", self.post_body())["id"]

    def new_blog(self) -> int:
        return self.made("/api/blogs/", {"name": "-", "description": "", "owner": self.owner.login})["id"]

    def post_body(self) -> dict[str, Any]:
        return {
            "blog": self.blog,
            "author": self.owner.login,
            "header": "Frost",
            "text": "The sensor saw it.",
        }

    def token_prefix(self) -> str:
        return self.portal.new_token(self.owner.id).partition(".")[0]

    def finished_task(self) -> str:
        """Of another question each time: a task that was deleted is not asked for again."""
        start = f"2026-01-01T00:00:00.{secrets.randbelow(10**6):06}Z"
        task_id = self.portal.ask(f"/devices/{self.device.id}/analytics/", self.owner.token, start=start)
        self.portal.wait_for_task(task_id, self.owner.token)
        return task_id

    def waiting_task(self) -> str:
        """A task that no worker takes: its row says that it was handed to a queue a moment ago."""
        task_id = self.finished_task()
        self.portal.query(
            "UPDATE analytics_analysis SET status = 'queued', finished_at = NULL, task_result_id = NULL,"
            " sent_at = now(), claimed_by = '' WHERE id = %s",
            task_id,
        )
        return task_id

    def event(self) -> dict[str, Any]:
        return {
            "login": self.owner.login,
            "event": "comment",
            "at": "2026-11-21T10:31:00Z",
            "object_id": self.post,
        }

    def user_body(self) -> dict[str, Any]:
        mark = secrets.token_hex(4)
        return {"name": "Ada", "email": f"ada-{mark}@example.com"}


Make = Callable[[World], Call]


def of_device(body: Any = None, **query: Any) -> Make:
    return lambda world: Call({"uuid": world.device.id}, body, query)


def of_owner(body: Any = None, **query: Any) -> Make:
    return lambda world: Call({"id": world.owner.id}, body, query)


def by_key(body: Any) -> Make:
    return lambda world: Call({"uuid": world.device.id}, body, device_key=world.device.key)


def plain(body: Any = None, **query: Any) -> Make:
    return lambda _: Call({}, body, query)


def dataset(**query: Any) -> Make:
    return lambda world: Call({}, None, {"login": world.owner.login, **query})


# By operation, status and, where there are several, media type of the answer.
GOOD: dict[tuple[str, str, str], Make] = {
    ("activity_create", "201", ""): lambda w: Call({}, [w.event(), w.event() | {"event": "nothing"}]),
    ("blog_list", "200", ""): plain(),
    ("blog_create", "201", ""): lambda w: Call({}, {"name": "-", "description": "", "owner": w.owner.login}),
    ("blog_read", "200", ""): lambda w: Call({"id": w.blog}),
    ("blog_change", "200", ""): lambda w: Call({"id": w.blog}, {"name": "Field notes"}),
    ("blog_delete", "204", ""): lambda w: Call({"id": w.new_blog()}),
    ("comments_dataset", "200", "application/json"): dataset(),
    ("comments_dataset", "200", "text/csv"): dataset(format="csv"),
    ("general_dataset", "200", "application/json"): dataset(),
    ("general_dataset", "200", "text/csv"): dataset(format="csv"),
    ("post_list", "200", ""): plain(),
    ("post_create", "201", ""): lambda w: Call({}, w.post_body()),
    ("post_read", "200", ""): lambda w: Call({"id": w.post}),
    ("post_change", "200", ""): lambda w: Call({"id": w.post}, {"header": "Ice"}),
    ("post_delete", "204", ""): lambda w: Call({"id": w.new_post()}),
    ("calculation_list", "200", ""): plain(),
    ("calculation_create", "201", ""): plain(WELL),
    ("calculation_read", "200", "application/json"): lambda w: Call(
        {"id": w.calculation},
        query={
            "fields": "name,duration,kernel,kernel_version,parameters,seed,libraries,asked_at,asked_by,"
            "finished_at,attempts,position,progress,elapsed,remaining,error,rows,broken_invariants,rerun_of"
        },
    ),
    ("calculation_read", "200", "text/csv"): lambda w: Call({"id": w.calculation}, query={"format": "csv"}),
    ("calculation_cancel", "202", ""): lambda w: Call({"id": w.new_calculation(**SLOW_WELL)}),
    ("calculation_rerun", "201", ""): lambda w: Call({"id": w.calculation}),
    ("sensor_data_create", "201", ""): plain(
        [{"sensor": "boiler/1", "timestamp": "2026-11-21T10:31:00", "value": 61.5}]
    ),
    ("device_list", "200", ""): plain(),
    ("device_create", "201", ""): lambda w: Call({}, {"user_id": w.owner.id, "name": "Pump"}),
    ("device_read", "200", ""): of_device(),
    ("device_change", "200", ""): of_device({"name": "Pump 2"}),
    ("device_delete", "204", ""): lambda w: Call({"uuid": w.new_device()}),
    ("device_analysis_ask", "202", ""): of_device(percentiles="5,95"),
    ("device_analysis_post", "202", ""): of_device({"bucket": "day", "percentiles": [5, 95]}),
    ("exclusion_list", "200", ""): of_device(),
    ("exclusion_create", "201", ""): of_device({"reading": STAMPED, "reason": "Spike"}),
    ("exclusion_read", "200", ""): lambda w: Call({"uuid": w.device.id, "id": w.exclusion}),
    ("exclusion_lift", "200", ""): lambda w: Call({"uuid": w.device.id, "id": w.new_exclusion()}),
    ("key_list", "200", ""): of_device(),
    ("key_rotate", "201", ""): of_device({"overlap_seconds": 3600}),
    ("key_revoke", "204", ""): lambda w: Call(revocable_key(w)),
    ("device_series", "200", ""): of_device(),
    ("reading_create", "201", ""): by_key({"timestamp": 1795253460.25, **READING}),
    ("reading_batch_create", "201", ""): by_key([STAMPED | {"timestamp": "2026-11-20T08:00:01"}]),
    ("profile_list", "200", ""): plain(),
    ("profile_create", "201", ""): lambda _: Call(
        {}, {"name": f"p-{secrets.token_hex(4)}", "channels": PUMP_CHANNELS}
    ),
    ("profile_read", "200", ""): lambda _: Call({"name": "xyz"}),
    ("profile_change", "200", ""): lambda w: Call({"name": w.new_profile()}, {"description": "A pump."}),
    ("profile_delete", "204", ""): lambda w: Call({"name": w.new_profile()}),
    ("sensor_statistics", "200", ""): lambda _: Call({"sensor": "boiler/1"}),
    ("sensor_clear", "204", ""): lambda _: Call({"sensor": "boiler/2"}),
    ("reading_list", "200", ""): plain(limit=5),
    ("device_reading_list", "200", ""): of_device(),
    ("task_list", "200", ""): plain(),
    ("task_read", "200", ""): lambda w: Call({"id": w.fleet_analysis}),
    ("task_delete", "204", ""): lambda w: Call({"id": w.finished_task()}),
    ("task_cancel", "202", ""): lambda w: Call({"id": w.waiting_task()}),
    ("task_devices", "200", ""): lambda w: Call({"id": w.fleet_analysis}),
    ("user_list", "200", ""): plain(),
    ("user_create", "201", ""): lambda w: Call({}, w.user_body()),
    ("user_read", "200", ""): of_owner(),
    ("user_change", "200", ""): of_owner({"name": "Mary"}),
    ("user_delete", "204", ""): lambda w: Call({"id": w.portal.new_user().id}, query={"purge": "true"}),
    ("user_analysis_ask", "202", ""): of_owner(),
    ("user_analysis_post", "202", ""): of_owner({"bucket": "day"}),
    ("token_list", "200", ""): of_owner(),
    ("token_create", "201", ""): of_owner({"name": "nightly export", "scopes": ["read"]}),
    ("token_revoke", "204", ""): lambda w: Call({"id": w.owner.id, "prefix": w.token_prefix()}),
    ("healthz", "204", ""): plain(),
    ("livez", "200", ""): plain(details=""),
    ("livez", "204", ""): plain(),
}


def revocable_key(world: World) -> dict[str, Any]:
    device = world.portal.new_device(world.owner)
    return {"uuid": device.id, "prefix": device.key.partition(".")[0]}


# By operation: requests that are in conflict with something.
CONFLICTS: dict[str, Make] = {
    "calculation_read": lambda w: Call({"id": w.new_calculation(**SLOW_WELL)}, query={"format": "csv"}),
    "calculation_cancel": lambda w: Call({"id": w.calculation}),
    "calculation_rerun": lambda w: Call({"id": without_kernel(w)}),
    "profile_change": lambda _: Call({"name": "xyz"}, {"channels": PUMP_CHANNELS}),
    "profile_delete": lambda _: Call({"name": "xyz"}),
    "task_delete": lambda w: Call({"id": w.waiting_task()}),
    "task_cancel": lambda w: Call({"id": w.analysis}),
    "task_devices": lambda w: Call({"id": cancelled_fleet_task(w)}),
    "reading_create": lambda w: used_key(w, f"/devices/{w.device.id}/stats/", READING),
    "reading_batch_create": lambda w: used_key(w, f"/devices/{w.device.id}/stats/batch", [STAMPED]),
    "sensor_data_create": lambda w: used_key(w, "/data", []),
}


def without_kernel(world: World) -> str:
    calculation = world.new_calculation(**WELL)
    world.portal.query("UPDATE analytics_calculation SET kernel = 'gone' WHERE id = %s", calculation)
    return calculation


def cancelled_fleet_task(world: World) -> str:
    task_id = world.portal.ask(f"/users/{world.owner.id}/analytics/", world.owner.token, start="2026-02-01")
    world.portal.wait_for_task(task_id, world.owner.token)
    world.portal.query(
        "UPDATE analytics_analysis SET status = 'cancelled', task_result_id = NULL WHERE id = %s",
        task_id,
    )
    return task_id


def used_key(world: World, path: str, body: Any) -> Call:
    """A request whose Idempotency-Key belongs to another body of the same path."""
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    token = world.portal.admin_token
    first = world.portal.request("POST", path, token=token, json=body, headers=headers)
    assert first.status_code == 201, first.text
    other = body | {"x": 9.0} if isinstance(body, dict) else [*body, *body] or [sensor_reading()]
    return Call({"uuid": world.device.id}, other, headers=headers)


def sensor_reading() -> dict[str, Any]:
    return {"sensor": "boiler/3", "timestamp": "2026-11-21T10:31:00Z", "value": 61.5}
