"""What each operation of the API answers to whom. A new operation needs its line here."""

from collections.abc import Iterator
from typing import Any

from tests.matrix.route import ADMIN, SELF, STAFF, Operation

READING = {"x": 1, "y": 2, "z": 3}
STAMPED = [READING | {"timestamp": "2026-01-01T00:00:00Z"}]
PERIOD = {"start": "2026-01-01", "end": "2026-01-02", "reason": "Cleaning"}
WEEK = {"date_start": "2026-01-01", "date_fin": "2026-01-07", "lag": 1}
BLOG = {"name": "More notes", "description": "", "owner": "{login}"}
POST = {"blog": "{blog}", "author": "{login}", "header": "Frost", "text": ""}
# Bodies name the owner's rows: a stranger is told that there is no such user.
NOT_THEIRS = {"stranger": 400}


def operations() -> Iterator[Operation]:
    yield from of_users()
    yield from of_devices()
    yield from of_readings()
    yield from of_runs()
    yield from of_activity()


def get(path: str, status: int = 200, **options: Any) -> Operation:
    return Operation("GET", path, status, **options)


def post(path: str, status: int = 201, body: Any = None, **options: Any) -> Operation:
    return Operation("POST", path, status, body={} if body is None else body, **options)


def patch(path: str, body: Any, status: int = 200, **options: Any) -> Operation:
    return Operation("PATCH", path, status, body=body, **options)


def delete(path: str, status: int = 204, **options: Any) -> Operation:
    return Operation("DELETE", path, status, **options)


def of_users() -> Iterator[Operation]:
    yield get("users/")
    yield post("users/", 400, roles=ADMIN)
    yield get("users/{user}/")
    yield patch("users/{user}/", {"name": "New"}, roles=SELF)
    yield patch("users/{user}/", {"login": "new"}, roles=SELF, others={"owner": 400, "stranger": 400})
    yield delete("users/{user}/", roles=ADMIN)
    yield delete("users/{user}/?purge=true", roles=ADMIN)
    yield get("users/{user}/tokens/", roles=SELF)
    yield post("users/{user}/tokens/", roles=SELF, is_fresh=True)
    yield delete("users/{user}/tokens/{token}/", roles=SELF)
    yield get("users/{user}/analytics/", 202, starts_work=True)
    yield post("users/{user}/analytics/", 202, scope="read")


def of_devices() -> Iterator[Operation]:
    yield get("devices/")
    yield post("devices/", 201, {"user_id": "{user}"}, others={"stranger": 404})
    yield get("devices/{device}/")
    yield patch("devices/{device}/", {"name": "New"})
    yield delete("devices/{device}/")
    yield get("devices/{device}/keys/")
    # A key allows posting, so the scope `write` alone is not enough.
    yield post("devices/{device}/keys/", scope="write", also_scope="ingest")
    yield delete("devices/{device}/keys/{key}/")
    yield get("devices/{device}/exclusions/")
    yield post("devices/{device}/exclusions/", 201, PERIOD, roles=STAFF)
    yield get("devices/{device}/exclusions/{exclusion}/")
    yield post("devices/{device}/exclusions/{exclusion}/lift", 200, roles=STAFF)
    yield get("devices/{device}/series/")
    yield get("devices/{device}/analytics/", 202, starts_work=True)
    yield post("devices/{device}/analytics/", 202, scope="read")
    yield get("profiles/")
    yield post("profiles/", 400, roles=STAFF)
    yield get("profiles/{profile}/")
    yield get("profiles/nothing/", 404)
    yield patch("profiles/{profile}/", {"allows_future": False}, roles=STAFF)
    yield delete("profiles/{profile}/", 409, roles=STAFF)


def of_readings() -> Iterator[Operation]:
    ingest: dict[str, Any] = {"scope": "ingest"}
    yield post("devices/{device}/stats/", 201, READING, by_key=True, **ingest)
    yield post("devices/{device}/stats/batch", 201, STAMPED, by_key=True, **ingest)
    yield post("data", 201, [], **ingest)
    yield get("stats/")
    yield get("stats/{device}/")
    # A sensor that is unknown has no readings: what one may not see looks like that, and is not 404.
    yield get("statistics/{sensor}", is_silent=True)
    yield delete("statistics/{sensor}", is_silent=True)


def of_runs() -> Iterator[Operation]:
    yield get("tasks/")
    yield get("tasks/{task}/")
    yield get("tasks/{fleet_task}/")
    yield delete("tasks/{task}/")
    yield delete("tasks/{open_task}/", 409)
    yield post("tasks/{open_task}/cancel/", 202)
    yield get("tasks/{fleet_task}/devices/")
    yield get("tasks/{task}/devices/", 404)
    yield get("calculations/")
    yield post("calculations/", 201, WEEK)
    yield get("calculations/{calculation}/")
    yield get("calculations/{calculation}/?format=csv")
    yield post("calculations/{calculation}/rerun/")
    yield delete("calculations/{calculation}/")
    yield post("calculations/{calculation}/cancel/", 409)


def of_activity() -> Iterator[Operation]:
    yield get("api/comments/?login={login}")
    yield get("api/general/?login={login}&format=csv")
    # Everybody may send events of users they see; 400, as the body is not an array.
    yield post("api/activity/", 400)
    yield get("api/blogs/")
    yield post("api/blogs/", 201, BLOG, others=NOT_THEIRS)
    yield get("api/blogs/{blog}/")
    yield patch("api/blogs/{blog}/", {"name": "New"})
    yield delete("api/blogs/{blog}/")
    yield get("api/posts/")
    yield post("api/posts/", 201, POST, others=NOT_THEIRS)
    yield get("api/posts/{post}/")
    yield patch("api/posts/{post}/", {"header": "New"})
    yield delete("api/posts/{post}/")
