"""The gate and the REST view of the same path give the same answers."""

import asyncio
import json
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from django.db import connection
from django.utils import timezone

from devices.access.grants import Target
from devices.ingestion import group_commit
from devices.ingestion.flusher import NotStored
from devices.ingestion.intake import take_one
from devices.storage.postgresql import readings_table
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.bad_inputs import BAD_INPUTS, HIGHEST, LOWEST, good_body
from tests.support.portal import Portal, Sender, connected, eventually
from tests.support.senders import (
    STAMP,
    UNUSUAL_JSON,
    Answer,
    Connection,
    Load,
    all_web_processes_answer,
    batch_path,
    bring_postgres_back,
    connection_to_each,
    kill_postgres,
    new_profile,
    stats_path,
)

# What differs between any two answers.
OF_THE_MOMENT = {"date", "ratelimit-remaining", "ratelimit-reset", "x-request-id"}
FRESH = "0123456789abcdef"
SECONDS_TO_REVOKE = 5
READING = {"x": 1, "y": -2.5, "z": 1e-3}
DATED = READING | {"timestamp": STAMP}
SENSOR = {"sensor": "boiler/1", "timestamp": STAMP, "value": 61.5}


# --- the two doors compared


@dataclass(frozen=True)
class Case:
    """A request that looks ordinary, or nearly so."""

    name: str
    path: str
    body: bytes
    authorization: str | None
    method: str = "POST"
    content_type: str = "application/json"
    host: str | None = "127.0.0.1"
    headers: tuple[str, ...] = ()
    version: str = "1.1"
    # The body of the same request sent before it.
    first: bytes | None = None

    def head(self, door: str) -> bytes:
        """The REST view sees a parameter of the media type that means nothing; the gate lets it pass on."""
        content_type = self.content_type + ("; door=rest" if door == "rest" else "")
        lines = [
            f"{self.method} {self.path} HTTP/{self.version}",
            "Connection: close",
            f"Content-Length: {len(self.body)}",
            f"Content-Type: {content_type}",
            *self.headers,
        ]
        if self.host is not None:
            lines.append(f"Host: {self.host}")
        if self.authorization is not None:
            lines.append(f"Authorization: {self.authorization}")
        return ("\n".join(lines) + "\n\n").encode("latin-1")


class Fleet:
    """People, devices and credentials of every kind that may knock."""

    def __init__(self, portal: Portal, database: Any) -> None:
        self.portal = portal
        self.database = database
        self.owner, self.stranger = portal.new_user(), portal.new_user()
        self.staff = portal.new_user("staff")
        ranged = new_profile(portal, x=(LOWEST, HIGHEST), y=(None, None), z=(None, None))
        self.device = portal.new_device(self.owner, ranged)
        self.other = portal.new_device(self.owner)
        self.foreign = portal.new_device(self.stranger)
        self.inactive = portal.new_device(self.owner, active=False)
        self.sensor = portal.new_device(self.owner, profile="scalar", external_id="boiler/0")
        portal.new_device(self.owner, profile="scalar", external_id="off", active=False)
        portal.new_device(self.owner, external_id="three channels")
        self.authorizations = {
            "device key": f"Device {self.device.key}",
            "own token": f"Token {self.owner.token}",
            "staff's token": f"Token {self.staff.token}",
            "admin's token": f"Token {portal.admin_token}",
            "stranger's token": f"Token {self.stranger.token}",
            "key of another device": f"Device {self.other.key}",
            "stranger's key": f"Device {self.foreign.key}",
            "token that only reads": f"Token {portal.new_token(self.owner.id, scopes=['read', 'write'])}",
            "token that only posts": f"Token {portal.new_token(self.owner.id, scopes=['ingest'])}",
            "revoked token": f"Token {self.revoked_token()}",
            "expired token": f"Token {self.expired('users_token', portal.new_token(self.owner.id))}",
            "revoked key": f"Device {self.revoked_key()}",
            "expired key": f"Device {self.expired('devices_devicekey', self.new_key())}",
            "token of a deactivated user": f"Token {self.token_of_deactivated()}",
            "token as a key": f"Device {self.owner.token}",
            "key as a token": f"Token {self.device.key}",
            "wrong secret": f"Token {self.owner.token[:-1]}!",
            "prefix alone": f"Token {self.owner.token.partition('.')[0]}",
            "made up": "Token plt_00000000.made-up",
            "nothing behind the keyword": "Device ",
            "keyword alone": "Device",
            "bearer": f"Bearer {self.owner.token}",
            "basic": "Basic YWRtaW46YWRtaW4=",
            "no keyword": self.device.key,
            "small letters": f"device {self.device.key}",
            "capitals": f"TOKEN {self.owner.token}",
            "two spaces": f"Token  {self.owner.token}",
            "tab": f"Token\t{self.owner.token}",
            "beyond ASCII": "Token plt_é\xff",
            "empty": "",
            "none": None,
        }

    def revoked_token(self) -> str:
        token = self.portal.new_token(self.owner.id)
        self.revoke(f"/users/{self.owner.id}/tokens/{prefix(token)}/")
        return token

    def new_key(self) -> str:
        """The device's other keys stay valid for a day."""
        return self.portal.made(f"/devices/{self.device.id}/keys/", self.owner.token, {})["key"]

    def revoked_key(self) -> str:
        key = self.new_key()
        self.revoke(f"/devices/{self.device.id}/keys/{prefix(key)}/")
        return key

    def revoke(self, path: str) -> None:
        assert self.portal.request("DELETE", path, token=self.owner.token).status_code == 204

    def expired(self, table: str, text: str) -> str:
        past = "now() - interval '1 s'"
        self.portal.query(f"UPDATE {table} SET expires_at = {past} WHERE prefix = %s", prefix(text))
        return text

    def token_of_deactivated(self) -> str:
        person = self.portal.new_user()
        deactivate(self.portal, f"/users/{person.id}/")
        return person.token

    def stored(self) -> list[tuple[Any, ...]]:
        """Return the readings of all devices, without times that the server gave, and delete them."""
        with self.database.cursor() as cursor:
            cursor.execute(
                "DELETE FROM devices_reading USING devices_device d"
                " WHERE d.id = device_id AND d.owner_id = ANY(%s)"
                " RETURNING d.external_id, d.uuid::text, values, CASE WHEN time < '2021-01-01' THEN time END",
                [[self.owner.id, self.stranger.id, self.staff.id]],
            )
            return sorted(cursor.fetchall(), key=repr)


def prefix(text: str) -> str:
    return text.partition(".")[0]


def deactivate(portal: Portal, path: str) -> None:
    response = portal.request("PATCH", path, token=portal.admin_token, json={"active": False})
    assert response.status_code == 200


def cases(fleet: Fleet) -> Iterator[Case]:
    good = {
        "stats": Case(
            "good stats", stats_path(fleet.device), good_body("stats"), f"Device {fleet.device.key}"
        ),
        "batch": Case(
            "good batch", batch_path(fleet.device), good_body("batch"), f"Device {fleet.device.key}"
        ),
        "data": Case("good data", "/data", good_body("data"), f"Token {fleet.owner.token}"),
    }
    for route, case in good.items():
        yield case
        for kind, authorization in fleet.authorizations.items():
            yield replace(case, name=f"{route}: {kind}", authorization=authorization)
        yield from other_requests(route, case)
        for host in (
            "localhost",
            "127.0.0.1:80",
            "LOCALHOST:1",
            "localhost.",
            "evil.example",
            "",
            "a b",
            "é",
            None,
        ):
            yield replace(case, name=f"{route}: host {host}", host=host)
        yield replace(case, name=f"{route}: HTTP/1.0", host=None, version="1.0")
        yield from idempotent(route, case)
    # Every sixth of the bad ones: all of them are in the decoder's own test.
    for bad in BAD_INPUTS[::6]:
        yield replace(good[bad.route], name=bad.name, body=bad.body)
    yield from bodies(fleet, good)
    yield from paths(fleet, good)
    yield from partial(good)


def other_requests(route: str, case: Case) -> Iterator[Case]:
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        yield replace(case, name=f"{route}: {method}", method=method)
    for accept in ("*/*", "application/json", "text/html", "application/json; indent=2", "", "nonsense"):
        yield replace(case, name=f"{route}: accept {accept}", headers=(f"Accept: {accept}",))
    for content_type in (
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;charset=latin-1",
    ):
        yield replace(case, name=f"{route}: {content_type}", content_type=content_type)
    for header in (
        "Cookie: sessionid=1; csrftoken=2",
        "X-HTTP-Method-Override: DELETE",
        "Accept-Encoding: gzip",
        "Accept-Language: de",
    ):
        yield replace(case, name=f"{route}: {header}", headers=(header,))
    for query in (
        "?",
        "?partial=maybe",
        "?partial=",
        "?partial=true&partial=false",
        "?limit=1",
        "?partial=true&x",
        "?precision=ms",
        "?precision=us&partial=true",
        "?partial=true&precision=ns",
        "?precision=",
        "?precision=h",
        "?precision=ms&precision=ns",
    ):
        yield replace(case, name=f"{route}: {query}", path=case.path + query)


def idempotent(route: str, case: Case) -> Iterator[Case]:
    """`FRESH` is replaced by a new value for the gate and for the view."""
    key = f"Idempotency-Key: {FRESH}"
    yield replace(case, name=f"{route}: key", headers=(key,))
    yield replace(case, name=f"{route}: longest key", headers=(key + "k" * (255 - len(FRESH)),))
    yield replace(case, name=f"{route}: key too long", headers=(key + "k" * (256 - len(FRESH)),))
    yield replace(case, name=f"{route}: key of spaces within", headers=(f"{key} {FRESH}",))
    yield replace(case, name=f"{route}: key beyond ASCII", headers=(f"{key}é",))
    yield replace(case, name=f"{route}: empty key", headers=("Idempotency-Key:",))
    yield replace(case, name=f"{route}: two keys", headers=(key, f"{key}b"))
    yield replace(case, name=f"{route}: key on a bad body", headers=(key,), body=b"[1]")
    yield replace(case, name=f"{route}: key again", headers=(key,), first=case.body)
    yield replace(case, name=f"{route}: key again after a bad body", headers=(key,), first=b"[1]")
    yield replace(case, name=f"{route}: key again, another body", headers=(key,), first=case.body + b" ")


def bodies(fleet: Fleet, good: dict[str, Case]) -> Iterator[Case]:
    stats, batch, data = good.values()
    now = b'{"x": 1, "y": 2, "z": 3}'
    for kind, body in {
        "of now": now,
        "other order": b'{"z": 3, "x": 1, "timestamp": "2020-01-01", "y": 2}',
        "extreme numbers": b'{"x": -0.0, "y": 5e-324, "z": 1.7976931348623157e308}',
        "integers": b'{"x": -0, "y": 9007199254740993, "z": 1' + b"0" * 300 + b"}",
        "space around": b" \n\t" + now + b"\r\n",
        "escaped names": b'{"\\u0078": 1, "y": 2, "z": 3}',
        "name twice": b'{"x": 1, "x": 2, "y": 2, "z": 3}',
        "naive": b'{"x": 1, "y": 2, "z": 3, "timestamp": "2020-02-02T12:00:00"}',
        "nanoseconds": b'{"x": 1, "y": 2, "z": 3, "timestamp": "2020-02-02T12:00:00.123456789Z"}',
        "seconds": b'{"x": 1, "y": 2, "z": 3, "timestamp": 1732700000.123456}',
        "whole seconds": b'{"x": 1, "y": 2, "z": 3, "timestamp": -1}',
        "milliseconds for seconds": b'{"x": 1, "y": 2, "z": 3, "timestamp": 1732700000123}',
        "year 1": b'{"x": 1, "y": 2, "z": 3, "timestamp": "0001-01-01T00:00:00Z"}',
    }.items():
        yield replace(stats, name=f"stats: {kind}", body=body)
    items = json.loads(batch.body)
    many = json.dumps([items[0]] * 10_000).encode()
    for kind, body in {
        "empty": b"[]",
        "offsets": json.dumps(
            [items[0] | {"timestamp": f"2020-02-02T12:00:00{o}"} for o in ("", "+05:30", "Z")]
        ).encode(),
        "numbers and texts": json.dumps(
            [items[0] | {"timestamp": stamp} for stamp in (0, 1.5, 1732700000.123456, "2020-02-02")]
        ).encode(),
        "numbers": json.dumps([items[0] | {"timestamp": i / 1e6} for i in range(100)]).encode(),
        "600 items": json.dumps([items[0]] * 600).encode(),
        "10,000 items": many,
        "10,001 items": json.dumps([items[0]] * 10_001).encode(),
        "5 MiB": many + b" " * (5 * 1024 * 1024 - len(many)),
        "5 MiB and a byte": many + b" " * (5 * 1024 * 1024 - len(many) + 1),
    }.items():
        yield replace(batch, name=f"batch: {kind}", body=body)
    for kind, sensors in {
        "empty": [],
        "known and new": ["boiler/0", "new"],
        "any text": ["a/b", "%2F", "..", " ", "\n", "Größe", "💧", "s" * 255, "?", "#", "'; --"],
        "inactive": ["boiler/0", "off"],
        "three channels": ["boiler/0", "three channels"],
        "naive": ["naive"],
    }.items():
        stamp = STAMP.removesuffix("Z") if kind == "naive" else STAMP
        body = json.dumps([SENSOR | {"sensor": sensor, "timestamp": stamp} for sensor in sensors]).encode()
        yield replace(data, name=f"data: {kind}", body=body)
        yield replace(data, name=f"data: {kind}, partial", body=body, path="/data?partial=true")


def paths(fleet: Fleet, good: dict[str, Case]) -> Iterator[Case]:
    stats, batch, data = good.values()
    for path in (
        "/data/",
        "/data//",
        "//data",
        "/Data",
        "/d%61ta",
        "/data%2F",
        "/data%00",
        "/data;x=1",
        "/data.json",
    ):
        yield replace(data, name=path, path=path)
    token = f"Token {fleet.owner.token}"
    no_hyphens = fleet.device.id.replace("-", "")
    for kind, device in {
        "another device": fleet.other.id,
        "stranger's device": fleet.foreign.id,
        "inactive device": fleet.inactive.id,
        "unknown device": str(uuid4()),
        "capitals": fleet.device.id.upper(),
        "no hyphens": no_hyphens,
        "hyphens elsewhere": "-".join(no_hyphens[i : i + 8] for i in range(0, 32, 8)) + "-",
        "percent": f"%{ord(fleet.device.id[0]):x}{fleet.device.id[1:]}",
        "number": "1",
        "nothing": "",
    }.items():
        for case in (stats, batch):
            path = case.path.replace(fleet.device.id, device)
            yield replace(case, name=f"{path}: {kind}", path=path)
            yield replace(case, name=f"{path}: {kind}, token", path=path, authorization=token)
    for case in (stats, batch):
        for path in (
            case.path.rstrip("/"),
            case.path.rstrip("/") + "/",
            case.path.rstrip("/") + "//",
            case.path + "x",
        ):
            yield replace(case, name=path, path=path)


def partial(good: dict[str, Case]) -> Iterator[Case]:
    for route in ("batch", "data"):
        path = good[route].path
        bad = [bad for bad in BAD_INPUTS if bad.route == route and isinstance(bad.where, int)]
        for one in bad[::10]:
            yield replace(
                good[route], name=f"{one.name}, partial", path=f"{path}?partial=true", body=one.body
            )
        yield replace(good[route], name=f"{route}: good, partial", path=f"{path}?partial=true")
        yield replace(good[route], name=f"{route}: good, not partial", path=f"{path}?partial=false")
        yield replace(
            good[route], name=f"{route}: no array, partial", path=f"{path}?partial=true", body=b"{}"
        )
        yield replace(
            good[route], name=f"{route}: all bad, partial", path=f"{path}?partial=true", body=b"[1, 2]"
        )


def answer(fleet: Fleet, case: Case, door: str) -> tuple[dict[str, Any], list]:
    """Return status, headers and body without momentary values, and the readings that were stored."""
    fresh = secrets.token_hex(8)
    case = replace(case, headers=tuple(header.replace(FRESH, fresh) for header in case.headers))
    if case.first is not None:
        fleet.portal.raw(replace(case, body=case.first).head(door), case.first)
        fleet.stored()
    status, headers, body = fleet.portal.raw(case.head(door), case.body)
    # Problems have the request's id, and so have lengths.
    body = body.replace(headers["x-request-id"].encode(), b"")
    hidden = OF_THE_MOMENT | ({"content-length"} if status >= 400 else set())
    kept = {name: "" if name in hidden else value for name, value in headers.items()}
    return {"status": status, "headers": kept, "body": body}, fleet.stored()


def test_both_doors_give_the_same_answer_and_store_the_same(portal: Portal) -> None:
    statuses, differences = [], []
    with connected(portal.database_url) as database:
        fleet = Fleet(portal, database)
        for number, case in enumerate(cases(fleet)):
            doors = ("gate", "rest") if number % 2 else ("rest", "gate")
            seen = {door: answer(fleet, case, door) for door in doors}
            response, stored = seen["gate"]
            status = response["status"]
            if seen["gate"] != seen["rest"] or status >= 500 or (stored and status != 201):
                differences.append((case.name, seen))
            statuses.append(status)
    assert differences == []
    assert len(statuses) > 300
    assert statuses.count(201) > 100
    assert {200, 201, 400, 401, 403, 404, 405, 409, 413} <= set(statuses)


# --- who answers


@contextmanager
def django_held_up(portal: Portal) -> Iterator[None]:
    """Nobody can look up a user, a device or a credential; storing a reading needs none of them."""
    connection = psycopg2.connect(portal.database_url)
    try:
        with connection.cursor() as cursor:
            tables = "users_user, users_token, devices_device, devices_devicekey"
            cursor.execute(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        connection.close()


def test_ordinary_requests_are_answered_without_django(portal: Portal) -> None:
    owner = portal.new_user()
    device, unseen = portal.new_device(owner), portal.new_device(owner)
    with_key, with_token = {"device_key": device.key}, {"token": owner.token}
    requests: list[tuple[str, Any, dict]] = [
        (stats_path(device), READING, with_key),
        (stats_path(device), DATED, with_key),
        (stats_path(device).rstrip("/"), DATED, with_token),
        (stats_path(device), DATED, with_key | {"content_type": "application/json; charset=utf-8"}),
        (batch_path(device), [DATED] * 3, with_key),
        (batch_path(device) + "/", [DATED] * 500, with_token),
        (batch_path(device) + "?partial=true", [DATED, None], with_key),
        ("/data", [SENSOR] * 3, with_token),
        ("/data/", [], with_token),
        ("/data?partial=true", [SENSOR, None], with_token),
    ]
    with Connection(portal, timeout=SECONDS_TO_REVOKE) as connection:
        # From here on the process knows these credentials, for some seconds.
        assert {connection.post(path, body, **options).status for path, body, options in requests} == {201}
        with django_held_up(portal):
            for path, body, options in requests:
                key = secrets.token_hex(8)
                for _ in range(2):
                    assert connection.post(path, body, key=key, **options).status == 201
            connection.link.sock.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.post(stats_path(unseen), DATED, device_key=unseen.key)
    [(count,)] = portal.query(
        "SELECT count(*) FROM devices_reading JOIN devices_device d ON d.id = device_id WHERE d.owner_id = %s"
        " AND time < '2021-01-01'",
        owner.id,
    )
    # The one that timed out may be stored by now.
    assert count - 2 * (3 + 3 + 500 + 1 + 3 + 1) in (0, 1)


def test_the_view_needs_no_thread_for_a_device_that_is_known(portal: Portal) -> None:
    owner = portal.new_user()
    device = portal.new_device(owner)

    def post(connection: Connection, path: str, body: Any, **options: str) -> Answer:
        return connection.post(path, body, device_key=device.key, content_type=UNUSUAL_JSON, **options)

    with Connection(portal, timeout=10) as connection, ExitStack() as others:
        assert post(connection, stats_path(device), DATED).status == 201
        with django_held_up(portal):
            # More than both processes have threads: each waits for the user of this token.
            for _ in range(40):
                waiting = others.enter_context(Connection(portal))
                waiting.link.request("GET", "/devices/", headers={"Authorization": f"Token {owner.token}"})
            first = post(connection, stats_path(device), DATED, key="only-once")
            assert first.status == 201
            assert post(connection, batch_path(device), [DATED] * 3).status == 201
            refused = post(connection, batch_path(device), [DATED, None])
            assert refused.json()["errors"] == [{"index": 1, "message": "Must be an object."}]
        # What the receipt of a repeated key is the view knows when it may wait.
        assert post(connection, stats_path(device), DATED, key="only-once").json() == first.json()
        assert post(connection, stats_path(device), READING, key="only-once").status == 409
    [(count,)] = portal.query(
        "SELECT count(*) FROM devices_reading JOIN devices_device d ON d.id = device_id WHERE d.uuid = %s",
        device.id,
    )
    assert count == 5


# --- revocation


@dataclass(frozen=True)
class Holder:
    """A sender whose permission ends: its request, the end, the refusal, and the earliest time of that."""

    path: str
    body: Any
    options: dict[str, Any]
    end: Callable[[], object]
    status: int
    seconds: float = 0


def holders(portal: Portal) -> Iterator[Holder]:
    def key_of(device: Sender) -> dict[str, str]:
        return {"device_key": device.key}

    owner, leaver = portal.new_user(), portal.new_user()
    token = portal.new_token(owner.id)
    devices = [portal.new_device(owner) for _ in range(5)]
    revoked, replaced, rotated, inactive, erased = devices
    sensor = portal.new_device(owner, "scalar", external_id="s")

    def ask(method: str, path: str, **body: Any) -> Callable[[], object]:
        return lambda: checked(portal.request(method, path, token=portal.admin_token, json=body or None))

    def single(device: Sender) -> tuple[str, Any, dict]:
        return stats_path(device), READING, key_of(device)

    keys = "/devices/{}/keys/{}"
    yield Holder(*single(revoked), ask("DELETE", keys.format(revoked.id, f"{prefix(revoked.key)}/")), 401)
    yield Holder(*single(replaced), ask("POST", keys.format(replaced.id, ""), overlap_seconds=0), 401)
    yield Holder(
        *single(rotated), ask("POST", keys.format(rotated.id, ""), overlap_seconds=2), 401, seconds=2
    )
    yield Holder(*single(inactive), ask("PATCH", f"/devices/{inactive.id}/", active=False), 403)
    yield Holder(*single(erased), ask("DELETE", f"/devices/{erased.id}/"), 401)
    revoke = ask("DELETE", f"/users/{owner.id}/tokens/{prefix(token)}/")
    yield Holder("/data", [SENSOR], {"token": token}, revoke, 401)
    deactivate_leaver = ask("PATCH", f"/users/{leaver.id}/", active=False)
    yield Holder("/data", [SENSOR], {"token": leaver.token}, deactivate_leaver, 401)
    deactivate_sensor = ask("PATCH", f"/devices/{sensor.id}/", active=False)
    yield Holder("/data", [SENSOR | {"sensor": "s"}], {"token": owner.token}, deactivate_sensor, 400)


def checked(response: Any) -> None:
    assert response.ok, response.text


def test_what_is_revoked_is_refused_by_every_process_within_five_seconds(portal: Portal) -> None:
    """A replaced key is refused only after the overlap."""
    everybody = list(holders(portal))
    with connection_to_each(portal) as connections:
        waiting = [(holder, connection) for holder in everybody for connection in connections]
        for holder, connection in waiting:
            assert connection.post(holder.path, holder.body, **holder.options).status == 201
        for holder in everybody:
            holder.end()
        ended = time.monotonic()

        def all_refused() -> bool:
            for holder, connection in list(waiting):
                status = connection.post(holder.path, holder.body, **holder.options).status
                seconds = time.monotonic() - ended
                assert status in (201, holder.status)
                assert seconds < SECONDS_TO_REVOKE + holder.seconds
                if status != 201:
                    assert seconds > holder.seconds - 1
                    waiting.remove((holder, connection))
            return not waiting

        eventually(all_refused)
        for holder in everybody:
            for connection in connections:
                assert connection.post(holder.path, holder.body, **holder.options).status == holder.status


def test_both_keys_are_good_during_the_overlap_and_the_new_one_after_it(portal: Portal) -> None:
    device = portal.new_device(portal.new_user())
    path = f"/devices/{device.id}/keys/"
    new = Sender(device.id, portal.made(path, portal.admin_token, {"overlap_seconds": 3600})["key"])
    newest = Sender(device.id, portal.made(path, portal.admin_token, {"overlap_seconds": 0})["key"])
    with connection_to_each(portal) as connections:
        for connection in connections:
            statuses = [
                connection.post(stats_path(device), READING, device_key=key).status
                for key in (device.key, new.key, newest.key)
            ]
            assert statuses == [401, 401, 201]


# --- stops, restarts, departures


def test_a_server_that_is_asked_to_stop_answers_what_it_took(portal: Portal) -> None:
    load = Load(portal, careless=8, careful=0)
    try:
        with load.running():
            eventually(lambda: load.statuses[201] > 500)
            web = portal.child("web").process
            web.terminate()
            web.wait(30)
    finally:
        portal.start("web")
        eventually(lambda: all_web_processes_answer(portal))
    tally = load.tally()
    assert (tally.lost, tally.doubled, tally.refused_but_stored) == (0, 0, 0), tally
    assert set(tally.statuses) == {201, 0}


def test_while_postgresql_is_away_it_is_503_and_the_first_request_after_its_return_succeeds(
    portal: Portal,
) -> None:
    owner = portal.new_user()
    device = portal.new_device(owner)
    with_key, with_token = {"device_key": device.key}, {"token": owner.token}
    years = iter(range(2001, 2020))

    def requests() -> list[tuple[str, str, Any, dict]]:
        # Each time of a month of which there was no reading yet.
        month = READING | {"timestamp": f"{next(years)}-01-01"}
        return [
            ("POST", stats_path(device), month, with_key),
            ("POST", stats_path(device), DATED, with_key),
            ("POST", batch_path(device), [DATED] * 2, with_key | {"key": secrets.token_hex(8)}),
            ("POST", "/data", [SENSOR | {"sensor": secrets.token_hex(8)}], with_token),
            ("POST", "/data", [SENSOR], with_token),
            ("POST", stats_path(device), DATED, with_key | {"content_type": UNUSUAL_JSON}),
            ("GET", "/statistics/boiler%2F1", None, with_token),
        ]

    def answers() -> list[Answer]:
        """Send all requests to each process in turn."""
        with connection_to_each(portal) as connections:
            return [
                connection.send(method, path, body, **options)
                for connection in connections
                for method, path, body, options in requests()
            ]

    assert {answer.status for answer in answers()} == {200, 201}
    kill_postgres(portal)
    try:
        for answer in answers():
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.headers["content-type"] == "application/problem+json"
    finally:
        bring_postgres_back(portal)
    assert {answer.status for answer in answers()} == {200, 201}
    # Nobody asked while it was away, so every connection to it is an old one.
    kill_postgres(portal)
    bring_postgres_back(portal)
    assert {answer.status for answer in answers()} == {200, 201}
    eventually(portal.is_ready)


@pytest.mark.parametrize("content_type", ["application/json", UNUSUAL_JSON])
def test_a_body_that_breaks_off_is_not_stored_though_it_reads_well(portal: Portal, content_type: str) -> None:
    device = portal.new_device(portal.new_user())
    body = json.dumps(READING).encode()
    lines = (
        f"POST {stats_path(device)} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Device {device.key}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body) + 1}",
    )
    with socket.create_connection(("127.0.0.1", portal.port), timeout=30) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode() + body)
        connection.shutdown(socket.SHUT_WR)
        assert b" 201 " not in connection.recv(65536)
    # The next one is stored; what came before it would be by now.
    portal.post_reading(device, x=7, y=7, z=7)
    [reading] = portal.get(f"/stats/{device.id}/")
    assert reading["x"] == 7


# --- the group commit


@contextmanager
def readings_held_up() -> Iterator[None]:
    """Nobody can store a reading."""
    with psycopg2.connect(**connection.get_connection_params()) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE devices_reading IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.django_db(transaction=True)
def test_a_full_queue_refuses_at_once_and_what_waits_is_stored(monkeypatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_WAITING_BYTES", 1000)
    target = Target.of(factories.device())
    taken = take_one(target, json.dumps(DATED).encode(), timezone.now())
    size = len(taken.rows.payload)

    async def fill() -> list:
        queue = group_commit.GroupCommit(asyncio.get_running_loop())
        with readings_held_up():
            first = asyncio.ensure_future(queue.store(taken, None))
            while not queue.tasks:
                await asyncio.sleep(0)
            waiting = [asyncio.ensure_future(queue.store(taken, None)) for _ in range(1000 // size)]
            await asyncio.sleep(0)
            with pytest.raises(NotStored):
                await queue.store(taken, None)
        answers = await asyncio.gather(first, *waiting)
        await queue.close()
        return answers

    answers = asyncio.run(fill())
    assert answers == [{"status": "ok"}] * (1 + 1000 // size)
    assert readings_table.count([target.device_id], Period()) == len(answers)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("commit_seconds", "groups"), [(0.0, 1), (1.0, 2)])
def test_a_second_group_is_written_at_the_same_time_only_while_commits_are_slow(
    commit_seconds, groups
) -> None:
    taken = take_one(Target.of(factories.device()), json.dumps(DATED).encode(), timezone.now())

    async def count_groups() -> int:
        queue = group_commit.GroupCommit(asyncio.get_running_loop())
        queue.commit_seconds = commit_seconds
        with readings_held_up():
            stored = []
            for _ in range(4):
                stored.append(asyncio.ensure_future(queue.store(taken, None)))
                for _ in range(10):
                    await asyncio.sleep(0)
            found = len(queue.tasks)
        await asyncio.gather(*stored)
        await queue.close()
        return found

    assert asyncio.run(count_groups()) == groups
