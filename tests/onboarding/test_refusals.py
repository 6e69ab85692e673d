"""The last refused post of each device: noted whoever refuses it, bounded, and for known devices only."""

import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from devices.ingestion import refusals
from devices.ingestion.checks import Fault
from devices.ingestion.intake import MOST_REFUSED, refused_sensors
from devices.ingestion.refusals import MAX_REASON, MOST_WAITING, RefusalLog, WaitingRefusal
from devices.ingestion.sensors import NEW_SENSOR
from tests.support import factories
from tests.support.portal import Person, Portal, Sender, eventually
from tests.support.senders import UNUSUAL_JSON

WRONG_KEY = "pld_00000000.bm8gc3VjaCBrZXkgYXMgdGhpcyBvbmUgaXMgdGhlcmU"
XYZ = {"x": 1, "y": 2, "z": 3}
doors = pytest.mark.parametrize("media_type", ["application/json", UNUSUAL_JSON], ids=["gate", "rest"])


def noted(portal: Portal, device: Sender) -> tuple[int, str, int] | None:
    rows = portal.query(
        "SELECT status, reason, total FROM devices_refusedpost JOIN devices_device d ON d.id = device_id"
        " WHERE d.uuid = %s",
        device.id,
    )
    return rows[0] if rows else None


def post(portal: Portal, device: Sender, body: Any, media_type: str, **options: Any) -> int:
    options = {"device_key": device.key, "path": f"/devices/{device.id}/stats/", **options}
    headers = {"Content-Type": media_type, **options.pop("headers", {})}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return portal.request("POST", options.pop("path"), data=data, headers=headers, **options).status_code


def eventually_noted(portal: Portal, device: Sender, status: int) -> str:
    found = eventually(lambda: (row := noted(portal, device)) and row[0] == status and row)
    return found[1]


class TestDoors:
    @doors
    def test_a_wrong_key(self, portal: Portal, device: Sender, media_type: str) -> None:
        assert post(portal, device, XYZ, media_type, device_key=WRONG_KEY) == 401
        reason = eventually_noted(portal, device, 401)
        assert reason == "This Device credential is unknown, expired or revoked."

    @doors
    def test_the_key_of_another_device(
        self, portal: Portal, owner: Person, device: Sender, media_type: str
    ) -> None:
        other = portal.new_device(owner)
        assert post(portal, device, XYZ, media_type, device_key=other.key) == 404
        eventually_noted(portal, device, 404)
        assert noted(portal, other) is None

    @doors
    def test_an_unknown_field(self, portal: Portal, device: Sender, media_type: str) -> None:
        assert post(portal, device, XYZ | {"temp": 4}, media_type) == 400
        assert eventually_noted(portal, device, 400) == "temp: Unknown channel; there are x, y, z."

    @doors
    def test_a_clock_three_hours_ahead(self, portal: Portal, device: Sender, media_type: str) -> None:
        stamp = (datetime.now(UTC) + timedelta(hours=3)).isoformat()
        assert post(portal, device, XYZ | {"timestamp": stamp}, media_type) == 400
        reason = eventually_noted(portal, device, 400)
        assert re.fullmatch(
            r"timestamp: Is more than 5 minutes in the future\."
            r" It is (3 h 0|2 h 59) min ahead of this server\.",
            reason,
        )

    @doors
    def test_the_first_faults_of_a_large_batch(self, portal: Portal, device: Sender, media_type: str) -> None:
        batch = [XYZ | {"temp": number} for number in range(5000)]
        path = f"/devices/{device.id}/stats/batch"
        assert post(portal, device, batch, media_type, path=path) == 400
        reason = eventually_noted(portal, device, 400)
        fault = "temp: Unknown channel; there are x, y, z."
        assert reason == f"item 0: {fault} item 1: {fault} item 2: {fault} …"

    def test_what_django_refuses_before_the_view(self, portal: Portal, device: Sender) -> None:
        path = f"/devices/{device.id}/stats/?unknown=1"
        assert post(portal, device, XYZ, "application/json", path=path) == 400
        assert eventually_noted(portal, device, 400) == "unknown: Unknown query parameter."

    def test_a_compressed_body(self, portal: Portal, device: Sender) -> None:
        body = gzip.compress(json.dumps({"x": 1}).encode())
        headers = {"Content-Encoding": "gzip"}
        assert post(portal, device, body, "application/json", headers=headers) == 400
        assert eventually_noted(portal, device, 400) == "y: Is missing. z: Is missing."

    def test_a_credential_that_is_refused_without_being_looked_up(
        self, portal: Portal, device: Sender
    ) -> None:
        def is_refused_too_often() -> bool:
            return post(portal, device, XYZ, "application/json", device_key=WRONG_KEY) == 429

        eventually(is_refused_too_often)
        assert "refused too often" in eventually_noted(portal, device, 429)

    def test_a_good_post_notes_nothing(self, portal: Portal, owner: Person, device: Sender) -> None:
        other = portal.new_device(owner)
        portal.post_reading(device, **XYZ)
        post(portal, other, {}, "application/json")
        eventually_noted(portal, other, 400)
        assert noted(portal, device) is None

    def test_no_credential_and_no_body_is_kept(self, portal: Portal, device: Sender) -> None:
        assert post(portal, device, XYZ | {device.key: 1}, "application/json") == 400
        reason = eventually_noted(portal, device, 400)
        assert reason == "(a credential): Unknown channel; there are x, y, z."

    @doors
    def test_readings_left_out_of_a_batch(self, portal: Portal, device: Sender, media_type: str) -> None:
        stamp = datetime.now(UTC).isoformat()
        batch = [XYZ | {"timestamp": stamp}, XYZ | {"timestamp": stamp, "temp": 4}]
        path = f"/devices/{device.id}/stats/batch?partial=true"
        assert post(portal, device, batch, media_type, path=path) == 201
        reason = eventually_noted(portal, device, 201)
        assert reason == "item 1: temp: Unknown channel; there are x, y, z."

    @doors
    @pytest.mark.parametrize(("query", "status"), [("", 400), ("?partial=true", 201)])
    def test_readings_of_sensors(
        self, portal: Portal, owner: Person, media_type: str, query: str, status: int
    ) -> None:
        names = [f"sensor-{uuid4()}" for _ in range(2)]
        good, faulty = (portal.new_device(owner, profile="scalar", external_id=name) for name in names)
        stamp = datetime.now(UTC).isoformat()
        batch = [
            {"sensor": names[0], "timestamp": stamp, "value": 1},
            {"sensor": names[1], "timestamp": stamp, "value": "1"},
            {"sensor": f"unknown-{uuid4()}", "timestamp": "soon", "value": 1},
        ]
        options = {"device_key": None, "token": owner.token, "path": f"/data{query}"}
        assert post(portal, good, batch, media_type, **options) == status
        reason = eventually_noted(portal, faulty, status)
        assert reason.startswith("item 1: value: Must be a number")
        assert noted(portal, good) is None

    def test_a_deleted_device_takes_its_refusal_along(self, portal: Portal, device: Sender) -> None:
        post(portal, device, {}, "application/json")
        eventually_noted(portal, device, 400)
        path = f"/devices/{device.id}/"
        assert portal.request("DELETE", path, token=portal.admin_token).status_code == 204
        assert noted(portal, device) is None

    def test_refusals_are_counted(self, portal: Portal, device: Sender) -> None:
        for _ in range(3):
            post(portal, device, {}, "application/json")
        eventually(lambda: (row := noted(portal, device)) and row[2] == 3)


@pytest.fixture
def log() -> RefusalLog:
    """A log that never writes by itself."""
    log = RefusalLog()
    log.is_writing = True
    return log


class TestBounds:
    def test_devices_beyond_the_limit_are_dropped(self, log: RefusalLog) -> None:
        for _ in range(MOST_WAITING + 5):
            log.note(uuid4(), 401, "unknown")
        assert len(log.of_credential) == MOST_WAITING

    def test_a_flood_of_bad_credentials_pushes_no_other_refusal_out(self, log: RefusalLog) -> None:
        for _ in range(MOST_WAITING + 5):
            log.note(uuid4(), 401, "unknown")
        device = uuid4()
        log.note(device, 400, "x: Is missing.")
        assert log.of_content[device].reason == "x: Is missing."

    def test_a_batch_of_very_many_sensors_leaves_room_for_others(self, log: RefusalLog) -> None:
        known = {f"s{n}": NEW_SENSOR._replace(device_id=n, uuid=uuid4()) for n in range(MOST_REFUSED + 5)}
        faults: list[Fault] = [{"index": i, "message": "No."} for i in range(len(known))]
        log.note_readings(400, refused_sensors([{"sensor": name} for name in known], faults, known))
        assert len(log.of_content) == MOST_REFUSED < MOST_WAITING

    def test_a_device_is_one_entry(self, log: RefusalLog) -> None:
        device = uuid4()
        for number in range(1000):
            log.note(device, 400, f"fault {number}")
        [refusal] = log.of_content.values()
        assert (refusal.reason, refusal.total) == ("fault 999", 1000)


@pytest.mark.django_db
class TestWriting:
    def test_the_last_one_stays_and_all_are_counted(self) -> None:
        device, now = factories.device(), timezone.now()
        refusals.write({device.uuid: WaitingRefusal(now, 401, "unknown", 3)})
        refusals.write({device.uuid: WaitingRefusal(now, 400, "x: Is missing.", 2)})
        assert refusals.last_refusal(device.pk) == (now, 400, "x: Is missing.", 5)

    def test_ids_of_no_device_are_ignored(self) -> None:
        device, now = factories.device(), timezone.now()
        refusals.write({uuid: WaitingRefusal(now, 401, "unknown") for uuid in (uuid4(), device.uuid)})
        assert refusals.last_refusal(device.pk) == (now, 401, "unknown", 1)

    def test_a_row_goes_with_its_device_and_all_go_with_all_devices(self) -> None:
        first, second = factories.device(), factories.device()
        now = timezone.now()
        refusals.write({device.uuid: WaitingRefusal(now, 401, "unknown") for device in (first, second)})
        number = first.pk
        first.delete()
        assert (refusals.last_refusal(number), bool(refusals.last_refusal(second.pk))) == (None, True)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("TRUNCATE devices_device CASCADE")
        assert refusals.last_refusal(second.pk) is None

    def test_of_both_boxes_the_later_is_written(self) -> None:
        device, now = factories.device(), timezone.now()
        earlier = {device.uuid: WaitingRefusal(now - timedelta(seconds=1), 401, "unknown", 4)}
        later = {device.uuid: WaitingRefusal(now, 400, "x: Is missing.", 2)}
        for boxes in ((earlier, later), (later, earlier)):
            merged = refusals.merge(*boxes)[device.uuid]
            assert (merged.status, merged.total) == (400, 6)
            later[device.uuid].total = 2
            earlier[device.uuid].total = 4


def problem(**members: Any) -> str:
    return json.dumps({"type": "about:blank", "status": 400, "detail": "The request has errors.", **members})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (problem(), "The request has errors."),
        (problem(errors=[{"field": "x", "message": "Is missing."}]), "x: Is missing."),
        (problem(errors=[{"field": "body", "message": "Must be an object."}]), "Must be an object."),
        (problem(errors=[{"index": 7, "message": 'x: "Is" \\ here.'}]), 'item 7: x: "Is" \\ here.'),
        (problem(errors=[{"field": name, "message": "No."} for name in "abcd"]), "a: No. b: No. c: No. …"),
        (problem(errors=[{"field": '"detail": "x"', "message": "No."}]), '"detail": "x": No.'),
        (problem(detail=f"{WRONG_KEY} is none"), "(a credential) is none"),
        (problem(detail="a\0b"), "ab"),
        (problem(detail="a" * 1000), "a" * (MAX_REASON - 1) + "…"),
        (problem(errors=[{"field": "x", "message": "Is missing."}])[:-30], "The request has errors."),
        ("<html>", ""),
        ("", ""),
    ],
)
def test_reasons_come_from_the_beginning_of_a_problem_document(text: str, reason: str) -> None:
    assert refusals.reason_in(text) == reason
