"""The trail on the real servers: threads of web, tasks of the worker, posts of readings."""

import secrets

import psycopg2.errors
import pytest

from tests.support.database import execute
from tests.support.portal import Person, Portal, Sender, eventually

ENTRY = "SELECT source, actor, address::text, request_id, times FROM trail_entry WHERE {} ORDER BY at, id"


def entries(portal: Portal, condition: str, *parameters: object) -> list[tuple]:
    return portal.query(ENTRY.format(condition), *parameters)


def device_number(portal: Portal, device: Sender) -> int:
    [(number,)] = portal.query("SELECT id FROM devices_device WHERE uuid = %s", device.id)
    return number


def test_a_request_is_named_with_its_id(portal: Portal, owner: Person) -> None:
    answer = portal.request("POST", "/devices/", token=owner.token, json={"user_id": owner.id})
    number = device_number(portal, Sender(answer.json()["id"], ""))
    [(source, actor, address, request_id, _)] = entries(portal, "thing = %s", f"device:{number}")
    assert (source, actor) == ("POST /devices/", owner.login)
    assert address == "127.0.0.1/32"
    assert request_id == answer.headers["X-Request-ID"]


def test_readings_leave_no_entry_and_new_sensors_name_their_owner(portal: Portal, owner: Person) -> None:
    device = portal.new_device(owner)
    before = portal.query("SELECT count(*) FROM trail_entry")
    for _ in range(3):
        portal.post_reading(device, x=1, y=2, z=3)
    assert portal.query("SELECT count(*) FROM trail_entry") == before
    readings = [{"sensor": "s-1", "timestamp": "2026-11-20T08:00:00Z", "value": 1}]
    assert portal.request("POST", "/data", token=owner.token, json=readings).status_code == 201
    [(source, actor, *_)] = entries(portal, "label = 's-1' AND parent = %s", f"user:{owner.id}")
    assert (source, actor) == ("POST /data", owner.login)


def test_a_wrong_key_posted_again_and_again_is_few_entries(portal: Portal, device: Sender) -> None:
    prefix = f"pld_{secrets.token_hex(4)}"
    path, reading = f"/devices/{device.id}/stats/", {"x": 1, "y": 2, "z": 3}

    def entries_after(posts: int) -> list[tuple]:
        for _ in range(posts):
            answer = portal.request("POST", path, device_key=f"{prefix}.{'x' * 43}", json=reading)
            assert answer.status_code in (401, 429)
        return entries(portal, "action = 'refused' AND label = %s", prefix)

    entries_after(50)
    # Wrong keys of other tests may have filled this minute.
    found = eventually(lambda: entries_after(1))
    # Each process of the server writes one, and later how many came behind it.
    assert len(found) <= 4


def test_the_role_of_the_portal_cannot_touch_an_old_entry(portal: Portal) -> None:
    """The trigger alone would let it delete what is older than 30 days."""
    # As each later start of the containers does: the script gives rights to all tables that are there.
    portal.make_roles()
    values = "(now() - interval '40 days', 'cleared', 'device') RETURNING id"
    [(number,)] = portal.query(f"INSERT INTO trail_entry (at, action, kind) VALUES {values}")
    for statement in (
        "SET plumbline.forgetting = 'on'; DELETE FROM trail_entry WHERE id = {id}",
        "UPDATE trail_entry SET actor = 'nobody' WHERE id = {id}",
        "TRUNCATE trail_entry",
        "ALTER TABLE trail_entry DISABLE TRIGGER ALL",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege, match=r"denied|must be owner"):
            execute(portal.env["DATABASE_URL"], statement.format(id=number))
    assert portal.query("SELECT actor FROM trail_entry WHERE id = %s", number) == [("",)]


def test_the_role_of_the_portal_owns_nothing(portal: Portal) -> None:
    url = portal.env["DATABASE_URL"]
    powers = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    assert execute(url, f"SELECT {powers} FROM pg_roles WHERE rolname = current_user") == [(False,) * 5]
    assert execute(url, "SELECT relname FROM pg_class WHERE relowner = current_user::regrole") == []
    assert execute(url, "SELECT pg_has_role(current_user, 'plumbline_owner', 'MEMBER')") == [(False,)]


def test_a_task_and_a_command_are_named(portal: Portal, owner: Person) -> None:
    device = portal.new_device(owner)
    thing = f"device:{device_number(portal, device)}"
    portal.query("UPDATE devices_device SET binned_at = '2020-01-01' WHERE uuid = %s", device.id)
    portal.manage("shell", "-c", "from devices.tasks import erase_readings; erase_readings.delay()")
    [(source, *_)] = eventually(lambda: entries(portal, "thing = %s AND action = 'deleted'", thing))
    assert source == "task devices.tasks.erase_readings"
    token = portal.manage("create_token", owner.login).partition(".")[0]
    [(source, *_)] = entries(portal, "label = %s AND action = 'created'", token)
    assert source == "manage.py create_token"
