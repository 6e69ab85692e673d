"""A portal with something of every kind, and for each operation a request that it grants."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

from django.conf import settings

from tests.support.portal import Person, Portal, Sender, eventually

READING = {"x": 1.0, "y": 2.0, "z": 3.0}
EXCLUSION = {"start": "2026-11-20T07:00:00Z", "end": "2026-11-20T07:30:00Z", "reason": "Cleaning"}
STAMPED = {"timestamp": "2026-11-20T08:00:00Z", **READING}
WELL = {"date_start": "2026-01-01", "date_fin": "2026-01-09", "lag": 1, "seed": 7}
# So slow that it is still queued or running when a test asks.
SLOW_WELL = WELL | {"pause": 5}
PUMP_CHANNELS = [{"name": "x", "unit": "°C", "kind": "gauge"}]
# Values of path parameters that nothing has.
UNKNOWN = {"uuid": uuid4(), "id": 2**40, "name": "nothing", "prefix": "nothing", "sensor": "nothing"}


class Call(NamedTuple):
    """What to send to an operation: values of its path, body and query; a device's key, else a token.

    Without `token` it is the admin's.
    """

    ids: dict[str, Any] = {}
    body: Any = None
    query: dict[str, Any] = {}
    device_key: str | None = None
    headers: dict[str, str] = {}
    token: str | None = None


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
    full_owner: int | None = field(init=False, default=None)

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
        self.calculation = self.finished_calculation()
        self.blog = self.made("/api/blogs/", {"name": "Notes", "description": "", "owner": self.owner.login})[
            "id"
        ]
        self.post = self.new_post()

    def made(self, path: str, body: Any) -> dict[str, Any]:
        return self.portal.made(path, self.portal.admin_token, body)

    def new_device(self) -> str:
        return self.portal.new_device(self.owner).id

    def new_exclusion(self) -> int:
        return self.made(f"/devices/{self.device.id}/exclusions/", EXCLUSION)["id"]

    def new_profile(self) -> str:
        name = f"pump-{secrets.token_hex(4)}"
        self.made("/profiles/", {"name": name, "channels": PUMP_CHANNELS})
        return name

    def new_calculation(self, **body: Any) -> str:
        return self.made("/calculations/", body)["id"]

    def finished_calculation(self) -> str:
        run_id = self.new_calculation(**WELL)
        eventually(lambda: self.portal.get(f"/calculations/{run_id}/")["status"] == "finished")
        return run_id

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

    def token_of_somebody(self) -> dict[str, Any]:
        """Make a token of somebody new: a person may have few."""
        person = self.portal.new_user()
        return {"id": person.id, "prefix": person.token.partition(".")[0]}

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
    ("calculation_delete", "204", ""): lambda w: Call({"id": w.finished_calculation()}),
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
    ("token_revoke", "204", ""): lambda w: Call(w.token_of_somebody()),
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
    "calculation_delete": lambda w: Call({"id": w.new_calculation(**SLOW_WELL)}),
    "calculation_create": lambda w: run_of(w, "calculation_create", rich_person(w)),
    "device_analysis_ask": lambda w: run_of(w, "device_analysis_ask", rich_person(w)),
    "device_analysis_post": lambda w: run_of(w, "device_analysis_post", rich_person(w)),
    "user_analysis_ask": lambda w: run_of(w, "user_analysis_ask", rich_person(w)),
    "user_analysis_post": lambda w: run_of(w, "user_analysis_post", rich_person(w)),
    "device_create": lambda w: Call({}, {"user_id": owner_of_all_devices(w)}),
    "device_change": lambda w: Call({"uuid": w.new_device()}, {"user_id": owner_of_all_devices(w)}),
    "key_rotate": lambda w: Call({"uuid": device_with_all_keys(w)}, {}),
    "exclusion_create": lambda w: Call({"uuid": device_with_all_exclusions(w)}, EXCLUSION),
    "token_create": lambda w: Call({"id": person_with_all_tokens(w)}, {}),
    "profile_change": lambda _: Call({"name": "xyz"}, {"channels": PUMP_CHANNELS}),
    "profile_delete": lambda _: Call({"name": "xyz"}),
    "task_delete": lambda w: Call({"id": w.waiting_task()}),
    "task_cancel": lambda w: Call({"id": w.analysis}),
    "task_devices": lambda w: Call({"id": cancelled_fleet_task(w)}),
    "reading_create": lambda w: used_key(w, f"/devices/{w.device.id}/stats/", READING),
    "reading_batch_create": lambda w: used_key(w, f"/devices/{w.device.id}/stats/batch", [STAMPED]),
    "sensor_data_create": lambda w: used_key(w, "/data", []),
}


ASKING_FOR_A_RUN = (
    "calculation_create",
    "calculation_rerun",
    "device_analysis_ask",
    "device_analysis_post",
    "user_analysis_ask",
    "user_analysis_post",
)


def run_of(world: World, operation_id: str, person: Person) -> Call:
    """A request of this person for a run."""
    if operation_id == "calculation_create":
        return Call({}, WELL, token=person.token)
    if operation_id == "calculation_rerun":
        # Of one of theirs that is over.
        [(pk,)] = world.portal.query(
            "UPDATE analytics_calculation SET asked_by_id = %s WHERE id = %s RETURNING id::text",
            *(person.id, world.finished_calculation()),
        )
        return Call({"id": pk}, token=person.token)
    of_device = operation_id.startswith("device")
    ids = {"uuid": world.portal.new_device(person).id} if of_device else {"id": person.id}
    return Call(ids, {} if operation_id.endswith("post") else None, token=person.token)


def busy_person(world: World, operation_id: str) -> Call:
    """A request for a run by somebody who has as many open ones as possible, which no worker takes."""
    person = world.portal.new_user()
    world.portal.query(
        "INSERT INTO analytics_calculation (id, status, attempts, progress, error, asked_by_id, asked_at,"
        " heartbeat_at, claimed_by, name, kernel, kernel_version, parameters, seed, libraries, row_count,"
        " broken)"
        " SELECT gen_random_uuid(), 'running', 1, 0, '', %s, now(), now() + interval '1 day', 'nobody', '',"
        " 'well', '1', '{}', 1, '{}', 0, '{}' FROM generate_series(1, %s)",
        *(person.id, settings.OPEN_RUNS),
    )
    return run_of(world, operation_id, person)


def rich_person(world: World) -> Person:
    """Somebody whose results take as much as they may."""
    person = world.portal.new_user()
    run_of(world, "calculation_rerun", person)
    world.portal.query(
        "UPDATE analytics_calculation SET result_bytes = 10::bigint ^ 15 WHERE asked_by_id = %s", person.id
    )
    return person


def owner_of_all_devices(world: World) -> int:
    """An owner who has as many devices as one may have."""
    if world.full_owner is None:
        world.full_owner = world.portal.new_user().id
        world.portal.query(
            "INSERT INTO devices_device (uuid, name, time_zone, is_active, created_at, owner_id, profile_id)"
            " SELECT gen_random_uuid(), '', 'UTC', true, now(), %s, min(p.id)"
            " FROM devices_deviceprofile p, generate_series(1, %s) n GROUP BY n",
            *(world.full_owner, settings.DEVICES_PER_OWNER),
        )
    return world.full_owner


def tidy(world: World) -> None:
    """So many rows would slow down the tests that come after."""
    world.portal.query("DELETE FROM analytics_calculation WHERE claimed_by = 'nobody'")
    if world.full_owner is not None:
        world.portal.query("DELETE FROM devices_device WHERE owner_id = %s", world.full_owner)


def device_with_all_keys(world: World) -> str:
    device = world.new_device()
    world.portal.query(
        "INSERT INTO devices_devicekey (prefix, digest, created_at, device_id)"
        " SELECT 'pld_' || left(md5(%s || n::text), 8), '', now(), d.id"
        " FROM devices_device d, generate_series(2, %s) n WHERE d.uuid = %s",
        *(device, settings.KEYS_PER_DEVICE, device),
    )
    return device


def device_with_all_exclusions(world: World) -> str:
    device = world.new_device()
    world.portal.query(
        "INSERT INTO devices_exclusion (device_id, start_time, end_time, reason, made_by, made_at, lifted_by)"
        " SELECT d.id, '2026-01-01', '2026-01-02', '-', '-', now(), ''"
        " FROM devices_device d, generate_series(1, %s) WHERE d.uuid = %s",
        *(settings.EXCLUSIONS_PER_DEVICE, device),
    )
    return device


def person_with_all_tokens(world: World) -> int:
    person = world.portal.new_user()
    world.portal.query(
        "INSERT INTO users_token (prefix, digest, created_at, user_id, name, scopes)"
        " SELECT 'plt_' || left(md5(%s || ' ' || n::text), 8), '', now(), %s, '', '{read}'"
        " FROM generate_series(2, %s) n",
        *(person.login, person.id, settings.TOKENS_PER_USER),
    )
    return person.id


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
