"""Lists of readings, devices and users: pages lose and repeat nothing, over HTTP."""

from datetime import timedelta
from typing import Any

from tests.support.portal import Person, Portal, Sender
from tests.support.rows import LONG_AGO, post_rows, stamp


def pages(portal: Portal, path: str, token: str, **params: Any) -> list[list[dict]]:
    """Every page, by the `next` of the `Link` header."""
    response = portal.request("GET", path, token=token, params=params)
    found = []
    while True:
        assert response.status_code == 200, response.text
        found.append(response.json())
        if "next" not in response.links:
            return found
        # A loop without end must fail; other tests may have created hundreds of users.
        assert len(found) < 2000
        response = portal.request("GET", response.links["next"]["url"], token=token)


def test_pages_of_readings_lose_and_repeat_nothing(portal: Portal, owner: Person) -> None:
    """Two devices, two partitions, and hundreds of readings of one and the same stamp."""
    devices = [portal.new_device(owner), portal.new_device(owner)]
    for device in devices:
        portal.load(device, [(LONG_AGO, (i, 0, 0)) for i in range(200)])
        portal.load(device, [(LONG_AGO + timedelta(seconds=i), (1000 + i, 0, 0)) for i in range(50)])
        post_rows(portal, device, [(2000 + i, 0, 0) for i in range(5)])
    everything = {*range(200), *range(1000, 1050), *range(2000, 2005)}
    for device in devices:
        one = pages(portal, f"/stats/{device.id}", owner.token, limit=32)
        assert [len(page) for page in one] == [32] * 7 + [31]
        assert sorted(reading["x"] for page in one for reading in page) == sorted(everything)
    both = [reading for page in pages(portal, "/stats/", owner.token, limit=99) for reading in page]
    seen = {(reading["device_id"], reading["x"]) for reading in both}
    assert len(both) == len(seen) == 2 * len(everything)
    times = [reading["timestamp"] for reading in both]
    assert times == sorted(times, reverse=True)


def test_readings_that_come_in_meanwhile_do_not_shift_the_pages(portal: Portal, owner: Person) -> None:
    device = portal.new_device(owner)
    portal.load(device, [(LONG_AGO, (i, 0, 0)) for i in range(20)])
    first = portal.request("GET", f"/stats/{device.id}/", token=owner.token, params={"limit": 10})
    post_rows(portal, device, [(-1, 0, 0), (-2, 0, 0)])
    rest = portal.get(first.links["next"]["url"], owner.token)
    assert sorted(reading["x"] for reading in first.json() + rest) == list(range(20))


def test_page_that_is_just_full_is_the_last(portal: Portal, owner: Person, device: Sender) -> None:
    portal.load(device, [(LONG_AGO, (i, 0, 0)) for i in range(10)])
    assert len(pages(portal, f"/stats/{device.id}/", owner.token, limit=5)) == 2
    response = portal.request("GET", f"/stats/{device.id}/", token=owner.token, params={"limit": 10})
    assert set(response.links) == {"first"}


def test_pages_keep_the_period(portal: Portal, owner: Person, device: Sender) -> None:
    portal.load(device, [(LONG_AGO + timedelta(seconds=i), (i, 0, 0)) for i in range(30)])
    bounds = {
        "start": stamp(LONG_AGO + timedelta(seconds=10)),
        "end": stamp(LONG_AGO + timedelta(seconds=20)),
    }
    found = pages(portal, f"/stats/{device.id}/", owner.token, limit=4, **bounds)
    assert [reading["x"] for page in found for reading in page] == list(range(19, 9, -1))


def test_devices_and_users_are_paged_with_links_and_a_count(portal: Portal, owner: Person) -> None:
    ids = [portal.new_device(owner).id for _ in range(5)]
    path = f"/devices/?user={owner.id}&limit=2"
    response = portal.request("GET", path, token=owner.token)
    assert response.headers["X-Total-Count"] == "5"
    assert {"first", "next"} <= set(response.links)
    found = pages(portal, path, owner.token)
    assert [device["id"] for page in found for device in page] == ids
    second = portal.request("GET", response.links["next"]["url"], token=owner.token)
    back = portal.request("GET", second.links["prev"]["url"], token=owner.token)
    assert back.json() == response.json()
    portal.new_user()
    users = [user["id"] for page in pages(portal, "/users/", portal.admin_token, limit=1) for user in page]
    assert len(users) == len(set(users)) >= 3
