"""Devices and users over HTTP: filters, state, keys, deletion."""

from datetime import UTC, datetime, timedelta

from tests.support.portal import Person, Portal, Sender, eventually
from tests.support.rows import LONG_AGO, XYZ, post_rows


def test_device_shows_its_last_reading_and_whether_it_is_online(
    portal: Portal, owner: Person, device: Sender
) -> None:
    path = f"/devices/{device.id}/"
    assert (portal.get(path)["last_reading"], portal.get(path)["online"]) == (None, False)
    portal.post_reading(device, x=1, y=2, z=3, timestamp="2026-03-01T12:00:00Z")
    assert portal.get(path)["online"] is False
    portal.post_reading(device, x=4, y=5, z=6)
    portal.post_reading(device, x=7, y=8, z=9, timestamp="2026-03-01T12:00:01Z")
    shown = portal.get(path)
    assert (shown["last_reading"]["x"], shown["online"]) == (4.0, True)


def test_state_follows_the_interval_of_the_device(portal: Portal, owner: Person, device: Sender) -> None:
    """A device is judged by its own interval, while `online` means the last five minutes for all."""
    path = f"/devices/{device.id}/"

    def shown(**changes: object) -> tuple[str, bool, float | None]:
        if changes:
            answer = portal.request("PATCH", path, token=owner.token, json=changes)
            assert answer.status_code == 200, answer.text
            assert answer.json()["state"] == portal.get(path)["state"]
        found = portal.get(path)
        assert portal.get(f"/devices/?user={owner.id}")[0]["state"] == found["state"]
        return found["state"], found["online"], found["expected_interval_seconds"]

    assert shown() == ("new", False, None)
    now = datetime.now(UTC)
    for hours in (5, 4, 3, 2):
        moment = now - timedelta(hours=hours)
        portal.post_reading(device, x=1, y=2, z=3, timestamp=moment.isoformat())
    # An hour and a half are the limit; five times that is silence.
    assert shown() == ("late", False, None)
    assert shown(expected_interval_seconds=7200) == ("on_time", False, 7200.0)
    assert shown(expected_interval_seconds=60) == ("silent", False, 60.0)
    assert shown(active=False) == ("disabled", False, 60.0)
    assert shown(active=True, expected_interval_seconds=None) == ("late", False, None)
    portal.post_reading(device, x=1, y=2, z=3)
    assert shown() == ("on_time", True, None)


def test_expected_interval_has_bounds(portal: Portal, owner: Person, device: Sender) -> None:
    path = f"/devices/{device.id}/"
    for bad in (0, -1, 1e-7, 366 * 86400 + 1, "60", True):
        answer = portal.request("PATCH", path, token=owner.token, json={"expected_interval_seconds": bad})
        assert [error["field"] for error in answer.json()["errors"]] == ["expected_interval_seconds"], bad
    stranger = portal.new_user()
    answer = portal.request("PATCH", path, token=stranger.token, json={"expected_interval_seconds": 60})
    assert answer.status_code == 404
    assert portal.get(path)["expected_interval_seconds"] is None


def test_devices_are_filtered(portal: Portal, owner: Person) -> None:
    pump = portal.new_device(owner, name="Pump", external_id="p-1")
    sensor = portal.new_device(owner, profile="scalar", name="Gauge", active=False)
    portal.post_reading(pump, x=1, y=2, z=3)
    for query, found in (
        ("search=pUMp", pump),
        ("search=P-1", pump),
        (f"search={sensor.id}", sensor),
        ("profile=scalar", sensor),
        ("active=false", sensor),
        ("active=true", pump),
        ("online=true", pump),
        ("online=false", sensor),
        ("state=on_time", pump),
        ("state=disabled", sensor),
    ):
        listed = portal.get(f"/devices/?user={owner.id}&{query}")
        assert [device["id"] for device in listed] == [found.id], query


def test_inactive_device_may_not_post(portal: Portal, owner: Person, device: Sender) -> None:
    portal.request("PATCH", f"/devices/{device.id}/", token=owner.token, json={"active": False})
    refused = portal.request(
        "POST", f"/devices/{device.id}/stats/", device_key=device.key, json=dict.fromkeys(XYZ, 1)
    )
    assert refused.status_code == 403
    assert portal.get(f"/stats/{device.id}/") == []


def test_rotated_key_overlaps_for_as_long_as_asked(portal: Portal, owner: Person, device: Sender) -> None:
    path = f"/devices/{device.id}/keys/"
    new = portal.made(path, owner.token, {"overlap_seconds": 3600})
    posted = {"json": dict.fromkeys(XYZ, 1)}
    stats = f"/devices/{device.id}/stats/"
    assert portal.request("POST", stats, device_key=device.key, **posted).status_code == 201
    newest = portal.made(path, owner.token, {"overlap_seconds": 0})
    for old in (device.key, new["key"]):
        assert portal.request("POST", stats, device_key=old, **posted).status_code == 401
    assert portal.request("POST", stats, device_key=newest["key"], **posted).status_code == 201
    listed = portal.get(path, owner.token)
    assert {key["prefix"] for key in listed} >= {new["prefix"], newest["prefix"]}
    assert all("key" not in key for key in listed)


def test_deleted_device_is_gone_at_once_and_its_readings_soon(
    portal: Portal, owner: Person, device: Sender
) -> None:
    post_rows(portal, device, [(1, 2, 3)])
    portal.load(device, [(LONG_AGO, (i, 0, 0)) for i in range(25_000)])
    task = portal.ask(f"/devices/{device.id}/analytics/", owner.token)
    [(number,)] = portal.query("SELECT id FROM devices_device WHERE uuid = %s", device.id)
    assert portal.request("DELETE", f"/devices/{device.id}/", token=owner.token).status_code == 204
    for path in (f"/devices/{device.id}/", f"/stats/{device.id}/", f"/tasks/{task}/"):
        assert portal.request("GET", path, token=owner.token).status_code == 404
    assert portal.get("/stats/", owner.token) == []
    posted = portal.request(
        "POST", f"/devices/{device.id}/stats/", device_key=device.key, json=dict.fromkeys(XYZ, 1)
    )
    assert posted.status_code == 401
    # Beat would start it within the minute.
    portal.manage("shell", "--command", "from devices.tasks import erase_readings; erase_readings.delay()")
    left = "SELECT count(*) FROM devices_reading WHERE device_id = %s"
    eventually(lambda: portal.query(left, number) == [(0,)])


def test_user_with_devices_is_deactivated(portal: Portal, owner: Person, device: Sender) -> None:
    portal.post_reading(device, x=1, y=2, z=3)
    assert portal.request("DELETE", f"/users/{owner.id}/", token=portal.admin_token).status_code == 204
    assert portal.get(f"/users/{owner.id}/")["active"] is False
    assert len(portal.get(f"/stats/{device.id}/")) == 1
    assert portal.request("GET", "/devices/", token=owner.token).status_code == 401


def test_user_without_devices_is_erased(portal: Portal, owner: Person) -> None:
    assert portal.request("DELETE", f"/users/{owner.id}/", token=portal.admin_token).status_code == 204
    assert portal.request("GET", f"/users/{owner.id}/", token=portal.admin_token).status_code == 404
    assert portal.request("GET", "/devices/", token=owner.token).status_code == 401


def test_purge_erases_a_user_with_devices_and_readings(portal: Portal, owner: Person, device: Sender) -> None:
    portal.post_reading(device, x=1, y=2, z=3)
    path = f"/users/{owner.id}/?purge=true"
    assert portal.request("DELETE", path, token=portal.admin_token).status_code == 204
    for gone in (f"/users/{owner.id}/", f"/devices/{device.id}/", f"/stats/{device.id}/"):
        assert portal.request("GET", gone, token=portal.admin_token).status_code == 404
    assert portal.get(f"/devices/?search={device.id}") == []
