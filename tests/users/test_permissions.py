"""Credentials on a real server: posts of readings, which the gate answers before Django, and what lists show.

`tests/matrix` tries every route with every caller, within Django.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from tests.support.factories import admin, token
from tests.support.portal import Person, Portal, Sender

READING = {"x": 1, "y": 2, "z": 3}
UNKNOWN = "plt_00000000.bm8gc3VjaCB0b2tlbg"


@dataclass(frozen=True)
class Stage:
    """An owner's device, reading and analysis, and everybody's credentials."""

    owner: Person
    device: Sender
    names: dict[str, Any]
    headers: dict[str, dict[str, str]]


def set_stage(portal: Portal) -> Stage:
    owner = portal.new_user()
    device = portal.new_device(owner)
    portal.post_reading(device, **READING)
    task = portal.ask(f"/devices/{device.id}/analytics/", owner.token)
    headers = {who: {"Authorization": text} for who, text in stage_credentials(portal, owner, device).items()}
    return Stage(owner, device, {"device": device.id, "task": task}, {**headers, "nobody": {}})


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


@pytest.fixture(scope="module")
def stage(portal: Portal) -> Stage:
    return set_stage(portal)


# Statuses by sender. Those of NO_CREDENTIAL get 401.
NO_CREDENTIAL = ("nobody", "expired", "revoked", "garbage", "ended key", "key as token", "token as key")
PEOPLE = dict.fromkeys(("admin", "colleague", "owner", "poster"), 201)
POSTING = PEOPLE | {"stranger": 404, "reader": 403, "writer": 403, "device": 201, "other device": 404}
OF_ANY_SENSOR = PEOPLE | {"stranger": 201, "reader": 403, "writer": 403, "device": 403, "other device": 403}


@dataclass(frozen=True)
class Route:
    path: str
    expected: dict[str, int]
    body: Any

    def __str__(self) -> str:
        return self.path


ROUTES = [
    Route("/devices/{device}/stats/", POSTING, READING),
    Route("/devices/{device}/stats/batch", POSTING, [READING | {"timestamp": "2026-01-01T00:00:00Z"}]),
    Route("/data", OF_ANY_SENSOR, []),
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
    before = portal.stored() if status >= 400 else None
    path = route.path.format_map(stage.names)
    response = portal.request("POST", path, headers=stage.headers[who], json=route.body)
    assert response.status_code == status, response.text
    if before is not None:
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
