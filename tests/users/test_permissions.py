"""Every route tried with every credential: 401 without a valid one, 403 if it does not allow the request,
404 for what the user may not see.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from django.test import Client

from tests.support.factories import admin, token
from tests.support.portal import Person, Portal, Sender, eventually

READING = {"x": 1, "y": 2, "z": 3}
PERIOD = {"start": "2026-01-01", "end": "2026-01-02", "reason": "Cleaning"}
WEEK = {"date_start": "2026-01-01", "date_fin": "2026-01-07", "lag": 1}
BLOG = {"name": "More notes", "description": "", "owner": "{login}"}
POST = {"blog": "{blog}", "author": "{login}", "header": "Frost", "text": ""}
UNKNOWN = "plt_00000000.bm8gc3VjaCB0b2tlbg"


@dataclass(frozen=True)
class Stage:
    """An owner's rows (a device, a reading, an analysis and more), and everybody's credentials."""

    owner: Person
    device: Sender
    names: dict[str, Any]
    headers: dict[str, dict[str, str]]


def set_stage(portal: Portal) -> Stage:
    owner = portal.new_user()
    device = portal.new_device(owner)
    portal.post_reading(device, **READING)
    names = stage_rows(portal, owner, device)
    headers = {who: {"Authorization": text} for who, text in stage_credentials(portal, owner, device).items()}
    return Stage(owner, device, names, {**headers, "nobody": {}})


def stage_rows(portal: Portal, owner: Person, device: Sender) -> dict[str, Any]:
    """Create the owner's rows; return what the paths in ROUTES need."""
    fields = {"name": "Notes", "description": "", "owner": owner.login}
    blog = portal.made("/api/blogs/", owner.token, fields)["id"]
    fields = {"blog": blog, "author": owner.login, "header": "Frost", "text": ""}
    names = {
        "user": owner.id,
        "login": owner.login,
        "blog": blog,
        "post": portal.made("/api/posts/", owner.token, fields)["id"],
        "device": device.id,
        "key": portal.made(f"/devices/{device.id}/keys/", owner.token, {})["prefix"],
        "token": portal.made(f"/users/{owner.id}/tokens/", owner.token, {})["prefix"],
        "task": portal.ask(f"/devices/{device.id}/analytics/", owner.token),
        "exclusion": portal.made(f"/devices/{device.id}/exclusions/", portal.admin_token, PERIOD)["id"],
        "calculation": portal.made("/calculations/", owner.token, WEEK)["id"],
        "cancelled_task": cancelled_task(portal, owner, device),
        "users_task": portal.ask(f"/users/{owner.id}/analytics/", owner.token),
    }
    portal.wait_for_task(names["users_task"], owner.token)
    calculation = f"/calculations/{names['calculation']}/"
    eventually(lambda: portal.get(calculation, owner.token)["status"] == "finished")
    return names


def stage_credentials(portal: Portal, owner: Person, device: Sender) -> dict[str, str]:
    """Authorization headers by sender, valid and invalid ones."""
    stranger, colleague = portal.new_user(), portal.new_user("staff")
    others, ended = portal.new_device(stranger), portal.new_device(owner)
    revoked, expired = portal.new_token(owner.id), portal.new_token(owner.id)
    path = f"/users/{owner.id}/tokens/{revoked.partition('.')[0]}"
    assert portal.request("DELETE", path, token=owner.token).status_code == 204
    portal.query("UPDATE users_token SET expires_at = now() WHERE prefix = %s", expired.partition(".")[0])
    portal.made(f"/devices/{ended.id}/keys/", owner.token, {"overlap_seconds": 0})
    return {
        "admin": f"Token {portal.admin_token}",
        "colleague": f"Token {colleague.token}",
        "owner": f"Token {owner.token}",
        "stranger": f"Token {stranger.token}",
        "reader": f"Token {portal.new_token(owner.id, scopes=['read'])}",
        "writer": f"Token {portal.new_token(owner.id, scopes=['write'])}",
        "poster": f"Token {portal.new_token(owner.id, scopes=['ingest'])}",
        "device": f"Device {device.key}",
        "other device": f"Device {others.key}",
        "ended key": f"Device {ended.key}",
        "expired": f"Token {expired}",
        "revoked": f"Token {revoked}",
        "garbage": f"Token {UNKNOWN}",
        "key as token": f"Token {device.key}",
        "token as key": f"Device {owner.token}",
    }


def cancelled_task(portal: Portal, owner: Person, device: Sender) -> str:
    """A cancelled task: cancelling it again is allowed, and no worker can interfere."""
    task = portal.ask(f"/devices/{device.id}/analytics/", owner.token, end="2020-01-01")
    portal.query("UPDATE analytics_analysis SET status = 'cancelled' WHERE id = %s", task)
    return task


@pytest.fixture(scope="module")
def stage(portal: Portal) -> Stage:
    return set_stage(portal)


# Statuses by sender. Those of NO_CREDENTIAL get 401.
NO_CREDENTIAL = ("nobody", "expired", "revoked", "garbage", "ended key", "key as token", "token as key")
DEVICES = {"device": 403, "other device": 403}


def reads(status: int = 200, **others: int) -> dict[str, int]:
    """Reading the owner's rows: allowed to the owner and to those who may see all data."""
    people = {"admin": status, "colleague": status, "owner": status, "stranger": 404}
    return people | {"reader": status, "writer": 403, "poster": 403} | DEVICES | others


def writes(status: int, **others: int) -> dict[str, int]:
    return reads(status, **{"reader": 403, "writer": status} | others)


def manages(status: int, **others: int) -> dict[str, int]:
    """Managing users: the admin only. Staff and the owner see the user, a stranger does not."""
    return writes(403, **{"admin": status} | others)


def corrects(status: int) -> dict[str, int]:
    """Correcting the owner's readings: staff only."""
    return writes(status, owner=403, writer=403)


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    expected: dict[str, int]
    body: Any = None
    # A permitted request changes the stage, so it gets a fresh one.
    spoils: bool = field(default=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


# Everybody may list; tests below check what the lists show.
LISTS = reads(stranger=200)
ROUTES = [
    Route("GET", "/users/", LISTS),
    Route("POST", "/users/", manages(400, stranger=403), body={}),
    Route("GET", "/users/{user}/", reads()),
    Route("PATCH", "/users/{user}/", manages(200, owner=200, writer=200), body={"name": "New"}),
    Route("PATCH", "/users/{user}/", manages(200, owner=400, writer=400), body={"login": "new"}, spoils=True),
    Route("DELETE", "/users/{user}/", manages(204), spoils=True),
    Route("DELETE", "/users/{user}/?purge=true", manages(204), spoils=True),
    Route("GET", "/users/{user}/tokens/", reads(colleague=403)),
    Route("POST", "/users/{user}/tokens/", writes(201, colleague=403), body={"name": "mine"}),
    Route("DELETE", "/users/{user}/tokens/{token}/", writes(204, colleague=403), spoils=True),
    Route("GET", "/users/{user}/analytics/", reads(202)),
    Route("POST", "/users/{user}/analytics/", reads(202), body={}),
    Route("GET", "/devices/", LISTS),
    Route("POST", "/devices/", writes(201), body={"user_id": "{user}", "name": "Another"}, spoils=True),
    Route("GET", "/devices/{device}/", reads()),
    Route("PATCH", "/devices/{device}/", writes(200), body={"name": "New"}),
    Route("DELETE", "/devices/{device}/", writes(204), spoils=True),
    Route("GET", "/devices/{device}/keys/", reads()),
    # A key allows posting, so `write` alone is not enough.
    Route("POST", "/devices/{device}/keys/", writes(201, writer=403), body={}),
    Route("DELETE", "/devices/{device}/keys/{key}/", writes(204), spoils=True),
    Route("GET", "/devices/{device}/exclusions/", reads()),
    Route("POST", "/devices/{device}/exclusions/", corrects(201), body=PERIOD),
    Route("GET", "/devices/{device}/exclusions/{exclusion}/", reads()),
    Route("POST", "/devices/{device}/exclusions/{exclusion}/lift", corrects(200), spoils=True),
    Route("GET", "/devices/{device}/series/", reads()),
    Route("GET", "/devices/{device}/analytics/", reads(202)),
    Route("POST", "/devices/{device}/analytics/", reads(202), body={}),
    Route(
        "POST",
        "/devices/{device}/stats/",
        writes(201, writer=403, poster=201, device=201) | {"other device": 404},
        body=READING,
    ),
    Route("GET", "/stats/", LISTS),
    Route("GET", "/stats/{device}/", reads()),
    Route("GET", "/profiles/", LISTS),
    Route("POST", "/profiles/", corrects(400) | {"stranger": 403}, body={}),
    Route("GET", "/profiles/xyz/", LISTS),
    Route("PATCH", "/profiles/xyz/", corrects(200) | {"stranger": 403}, body={"allows_future": False}),
    Route("DELETE", "/profiles/xyz/", corrects(409) | {"stranger": 403}),
    Route("GET", "/tasks/", LISTS),
    Route("DELETE", "/tasks/{cancelled_task}/", writes(204), spoils=True),
    Route("GET", "/tasks/{users_task}/devices/?limit=1", reads()),
    Route("GET", "/tasks/{task}/", reads()),
    Route("GET", "/tasks/{users_task}/", reads()),
    Route("POST", "/tasks/{cancelled_task}/cancel/", writes(202)),
    Route("GET", "/calculations/", LISTS),
    Route("POST", "/calculations/", writes(201, stranger=201), body=WEEK),
    Route("GET", "/calculations/{calculation}/", reads()),
    Route("DELETE", "/calculations/{calculation}/", writes(204), spoils=True),
    Route("POST", "/calculations/{calculation}/rerun/", writes(201)),
    Route("POST", "/calculations/{calculation}/cancel/", writes(409)),
    Route("GET", "/api/comments/?login={login}", LISTS),
    Route("GET", "/api/general/?login={login}&format=csv", LISTS),
    # Everybody may send events of users they see; 400, as the body is not an array.
    Route("POST", "/api/activity/", writes(400, stranger=400), body={}),
    Route("GET", "/api/blogs/", LISTS),
    Route("POST", "/api/blogs/", writes(201, stranger=400), body=BLOG, spoils=True),
    Route("GET", "/api/blogs/{blog}/", reads()),
    Route("PATCH", "/api/blogs/{blog}/", writes(200), body={"name": "New"}),
    Route("DELETE", "/api/blogs/{blog}/", writes(204), spoils=True),
    Route("GET", "/api/posts/", LISTS),
    Route("POST", "/api/posts/", writes(201, stranger=400), body=POST, spoils=True),
    Route("GET", "/api/posts/{post}/", reads()),
    Route("PATCH", "/api/posts/{post}/", writes(200), body={"header": "New"}),
    Route("DELETE", "/api/posts/{post}/", writes(204), spoils=True),
]


def everybody() -> Iterator[Any]:
    for route in ROUTES:
        for who, status in (route.expected | dict.fromkeys(NO_CREDENTIAL, 401)).items():
            yield pytest.param(route, who, status, id=f"{route}-{who}-{status}")


def test_table_names_every_sender(stage: Stage) -> None:
    for route in ROUTES:
        assert {*route.expected, *NO_CREDENTIAL} == set(stage.headers), route


@pytest.mark.parametrize(("route", "who", "status"), [*everybody()])
def test_status_is_the_one_in_the_table(
    portal: Portal, stage: Stage, route: Route, who: str, status: int
) -> None:
    is_refused = status >= 400
    if route.spoils and not is_refused:
        stage = set_stage(portal)
    before = portal.stored() if is_refused else None
    response = portal.request(
        route.method,
        route.path.format_map(stage.names),
        headers=stage.headers[who],
        json=None
        if route.body is None
        else {name: stage.names.get(str(value).strip("{}"), value) for name, value in route.body.items()},
    )
    assert response.status_code == status, response.text
    if is_refused:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["status"] == status
        assert ("WWW-Authenticate" in response.headers) == (status == 401)
        assert portal.stored() == before


def test_lists_show_only_what_the_user_may_see(portal: Portal, stage: Stage) -> None:
    begun = datetime.now(UTC).replace(tzinfo=None)
    portal.post_reading(stage.device, **READING)

    def listed(path: str, who: str) -> list[dict]:
        """All pages of a list: how many there are depends on the tests before this one."""
        rows: list[dict] = []
        url = f"{path}?limit=1000" + (f"&start={begun.isoformat()}" if path == "/stats/" else "")
        while url:
            response = portal.request("GET", url, headers=stage.headers[who])
            assert response.status_code == 200
            rows += response.json()
            url = response.links.get("next", {}).get("url")
        return rows

    for who in ("admin", "colleague", "owner", "reader"):
        assert stage.owner.id in [user["id"] for user in listed("/users/", who)]
        assert stage.device.id in [device["id"] for device in listed("/devices/", who)]
        assert stage.device.id in [reading["device_id"] for reading in listed("/stats/", who)]
        assert stage.names["task"] in [task["task_id"] for task in listed("/tasks/", who)]
    assert [user["id"] for user in listed("/users/", "owner")] == [stage.owner.id]
    assert {device["user_id"] for device in listed("/devices/", "owner")} == {stage.owner.id}
    assert stage.owner.id not in [user["id"] for user in listed("/users/", "stranger")]
    assert {device["user_id"] for device in listed("/devices/", "stranger")}.isdisjoint({stage.owner.id})
    assert listed("/stats/", "stranger") == []
    assert listed("/tasks/", "stranger") == []


def test_filter_by_a_foreign_user_shows_nothing(portal: Portal, stage: Stage) -> None:
    for path in (f"/devices/?user={stage.owner.id}", f"/devices/?search={stage.device.id}"):
        response = portal.request("GET", path, headers=stage.headers["stranger"])
        assert (response.status_code, response.json()) == (200, [])
        assert response.headers["X-Total-Count"] == "0"


def test_owner_cannot_give_a_device_to_an_invisible_user(portal: Portal, stage: Stage) -> None:
    """The 404 does not reveal whether that user exists."""
    stranger = portal.new_user()
    for user in (stranger.id, 987_654_321):
        path = f"/devices/{stage.device.id}/"
        response = portal.request("PATCH", path, headers=stage.headers["owner"], json={"user_id": user})
        assert response.status_code == 404
    assert portal.get(f"/devices/{stage.device.id}/")["user_id"] == stage.owner.id


def test_foreign_and_unknown_look_alike(portal: Portal, stage: Stage) -> None:
    """A 404 does not tell whether the thing exists."""
    unknown = "00000000-0000-4000-8000-000000000000"
    for path, absent in (
        ("/devices/{device}/", unknown),
        ("/tasks/{task}/", unknown),
        ("/calculations/{calculation}/", unknown),
        ("/users/{user}/", 10**9),
        ("/api/blogs/{blog}/", 10**9),
        ("/api/posts/{post}/", 10**9),
    ):
        foreign = portal.request("GET", path.format_map(stage.names), headers=stage.headers["stranger"])
        nothing = path.format_map(dict.fromkeys(stage.names, absent))
        missing = portal.request("GET", nothing, headers=stage.headers["stranger"])
        assert without_request_id(missing) == without_request_id(foreign)


def without_request_id(answer: requests.Response) -> dict[str, object]:
    return {name: value for name, value in answer.json().items() if name != "request_id"}


def test_token_of_a_deactivated_user_is_refused(portal: Portal) -> None:
    user = portal.new_user("staff")
    path = f"/users/{user.id}/"
    changed = portal.request("PATCH", path, token=portal.admin_token, json={"active": False})
    assert changed.status_code == 200
    assert portal.request("GET", "/devices/", token=user.token).status_code == 401


def test_owner_cannot_change_their_role(portal: Portal, stage: Stage) -> None:
    path = f"/users/{stage.owner.id}/"
    for fields in ({"role": "admin"}, {"active": True}):
        response = portal.request("PATCH", path, headers=stage.headers["owner"], json=fields)
        assert response.status_code == 400
        assert [error["field"] for error in response.json()["errors"]] == list(fields)
    assert portal.get(path)["role"] == "owner"


def test_token_cannot_hand_out_more_than_it_has(portal: Portal, stage: Stage) -> None:
    path = f"/users/{stage.owner.id}/tokens/"
    more = portal.request("POST", path, headers=stage.headers["writer"], json={"scopes": ["read", "write"]})
    assert more.status_code == 400
    same = portal.request("POST", path, headers=stage.headers["writer"], json={})
    assert same.json()["scopes"] == ["write"]


@pytest.mark.django_db
def test_last_admin_stays(client: Client) -> None:
    user = admin()
    headers = {"Authorization": f"Token {token(user)[1]}"}
    path = f"/users/{user.pk}/"
    for fields in ({"role": "staff"}, {"active": False}):
        changed = client.patch(path, json.dumps(fields), content_type="application/json", headers=headers)
        assert changed.status_code == 400
    assert client.delete(path, headers=headers).status_code == 400
    assert client.get(path, headers=headers).json()["role"] == "admin"


@pytest.mark.parametrize("scheme", ["Token", "token", "TOKEN"])
def test_scheme_ignores_case(portal: Portal, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {portal.admin_token}"}
    assert portal.request("GET", "/devices/", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/devices/?token={}", "/devices/?key={}", "/devices/?authorization={}"])
def test_credential_in_the_url_is_refused(portal: Portal, path: str) -> None:
    assert portal.request("GET", path.format(portal.admin_token)).status_code in (400, 401)


@pytest.mark.parametrize(
    "path", ["/healthz", "/livez", "/livez?details", "/schema/", "/docs", "/redoc", "/portal/login/"]
)
def test_public_pages_need_no_credential(portal: Portal, path: str) -> None:
    assert portal.request("GET", path).status_code in (200, 204)


@pytest.mark.parametrize(
    "path",
    [
        "/portal/devices/",
        "/portal/devices/new/",
        "/portal/devices/owners/",
        "/portal/devices/{device}/",
        "/portal/devices/{device}/stretch/",
        "/portal/devices/{device}/readings/",
        "/portal/devices/{device}/statistics/",
        "/portal/devices/{device}/runs/",
        "/portal/devices/{device}/connect/",
        "/portal/devices/{device}/connect/state/",
        "/portal/profiles/new/",
        "/portal/devices/{device}/exclusions/",
        "/portal/analyses/",
        "/portal/analyses/{task}/",
        "/portal/analyses/stale/",
        "/portal/calculations/",
        "/portal/calculations/new/",
        "/portal/calculations/states/",
        "/portal/calculations/{calculation}/",
        "/portal/calculations/{calculation}/chart/",
        "/portal/calculations/{calculation}/compare/",
        "/portal/activity/?login={login}",
        "/admin/",
    ],
)
def test_page_without_a_session_redirects_to_the_login(portal: Portal, stage: Stage, path: str) -> None:
    """Pages need a session; a token is not enough."""
    for who in ("nobody", "owner", "admin"):
        response = portal.request("GET", path.format_map(stage.names), headers=stage.headers[who])
        assert response.status_code == 302
        assert "/login/?next=" in response.headers["Location"]
