"""Grants are looked up once and cached until somebody changes what they depend on."""

import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.access import credential_cache, credential_changes, grants
from devices.access.credential_cache import CredentialCache
from devices.access.grants import Grant, GrantKey
from devices.ingestion.sensors import OwnSensors
from devices.models import Device, DeviceKey
from tests.support import factories
from tests.support.concurrency import another_connection
from users.models import Token, User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def cache(monkeypatch) -> CredentialCache:
    """A cache that is checked against the database at each use."""
    monkeypatch.setattr(credential_cache, "CHECK_SECONDS", 0.0)
    fresh = CredentialCache()
    monkeypatch.setattr(grants, "cache", fresh)
    return fresh


@pytest.fixture
def device() -> Device:
    return factories.device()


def by_key(device: Device, **fields) -> GrantKey:
    _key, text = DeviceKey.issue(device=device, **fields)
    return f"Device {text}".encode(), device.uuid


def by_token(user: User, uuid: UUID | None = None) -> GrantKey:
    _token, text = Token.issue(user=user)
    return f"Token {text}".encode(), uuid


def query(statement: str, *parameters: object) -> None:
    """Change the database behind the portal's back."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def cached_now(question: GrantKey) -> Grant | None:
    grants.cache.confirm()
    return grants.cache.get(question)


def test_cached_grants_need_no_more_look_ups(device) -> None:
    questions = [by_key(device), by_token(device.owner, device.uuid), by_token(device.owner)]
    first = grants.look_up_grants(questions)
    assert len(first) == 3
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert grants.look_up_grants(questions) == first
    assert len(captured) == 1
    assert "devices_accesschange" in captured[0]["sql"]


CHANGES: dict[str, Callable[[Device], object]] = {
    "inactive": lambda d: query("UPDATE devices_device SET is_active = false WHERE id = %s", d.pk),
    "another zone": lambda d: query("UPDATE devices_device SET time_zone = 'Asia/Tokyo' WHERE id = %s", d.pk),
    "erased": lambda d: d.erase(),
    "revoked": lambda d: d.keys.get().revoke(timezone.now()),
    "ending": lambda d: d.rotate_key(overlap=timedelta(seconds=1)),
    "key deleted": lambda d: d.keys.all().delete(),
    "future allowed": lambda _: query("UPDATE devices_deviceprofile SET allows_future = true"),
    "narrower": lambda d: query("UPDATE devices_channel SET minimum = 0 WHERE profile_id = %s", d.profile_id),
    "one channel more": lambda d: d.profile.channels.create(position=99, name="late"),
    "keys truncated": lambda _: query("TRUNCATE devices_devicekey"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_is_changed_about_a_device_is_noticed(device, change) -> None:
    question = by_key(device)
    assert grants.find_grant(question) is not None
    change(device)
    assert cached_now(question) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda user: query("UPDATE users_user SET is_active = false WHERE id = %s", user.pk),
        lambda user: query("UPDATE users_user SET role = 'staff' WHERE id = %s", user.pk),
        lambda user: query("UPDATE users_token SET scopes = '{read}' WHERE user_id = %s", user.pk),
        lambda user: user.tokens.all().delete(),
    ],
)
def test_whatever_is_changed_about_a_user_is_noticed(device, change) -> None:
    questions = [by_token(device.owner), by_token(device.owner, device.uuid)]
    assert len(grants.look_up_grants(questions)) == 2
    change(device.owner)
    assert [cached_now(question) for question in questions] == [None, None]


def test_others_stay_cached(device) -> None:
    other = factories.device()
    question, others = by_key(device), by_key(other)
    grants.look_up_grants([question, others])
    device.keys.get().revoke(timezone.now())
    assert cached_now(question) is None
    assert cached_now(others) is not None


def test_what_matters_to_nobody_is_no_change(device) -> None:
    question = by_key(device)
    grants.look_up_grants([question])
    query("UPDATE devices_device SET name = 'other' WHERE id = %s", device.pk)
    query("UPDATE users_user SET last_login = now()")
    query("UPDATE devices_devicekey SET last_used_at = now()")
    factories.device()
    assert cached_now(question) is not None


def test_a_sensor_that_got_another_name_is_not_found_by_its_old_one() -> None:
    sensor = factories.device(external_id="boiler/1")
    own = OwnSensors(sensor.owner_id)
    assert set(own.find({"boiler/1"})) == {"boiler/1"}
    query("UPDATE devices_device SET external_id = 'boiler/2' WHERE id = %s", sensor.pk)
    assert own.find({"boiler/1"}) == {}


def test_a_credential_that_ends_is_cached_until_then(device) -> None:
    question = by_key(device, expires_at=timezone.now() + timedelta(seconds=0.5))
    assert grants.find_grant(question) is not None
    threading.Event().wait(0.6)
    assert grants.cache.get(question) is None
    assert grants.find_grant(question) is None


def test_a_look_up_that_a_change_overtook_is_not_cached(device, cache) -> None:
    question = by_key(device)
    cache.confirm()
    generation = cache.begin()
    entries = grants.entries_of([question], timezone.now())
    device.keys.get().revoke(timezone.now())
    cache.confirm()
    cache.put(question, entries[question], generation)
    assert cache.get(question) is None


def test_a_change_counts_when_it_is_committed_not_when_it_is_made(device) -> None:
    question = by_key(device)
    grants.look_up_grants([question])
    with another_connection() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE devices_device SET is_active = false WHERE id = %s", [device.pk])
        # Numbers are given in the order of beginning: this one is later, and seen first.
        query("UPDATE devices_device SET is_active = false WHERE id = %s", factories.device().pk)
        assert cached_now(question) is not None
        cursor.execute("COMMIT")
    assert cached_now(question) is None


def test_on_its_own_host_a_change_is_doubted_at_once(device, monkeypatch) -> None:
    monkeypatch.setattr(credential_cache, "CHECK_SECONDS", 60.0)
    question = by_key(device)
    grants.look_up_grants([question])
    credential_changes.note_change()
    assert grants.cache.get(question) is None
    assert cached_now(question) is not None


def test_a_process_that_asked_long_ago_forgets_all(device, monkeypatch) -> None:
    question = by_key(device)
    grants.look_up_grants([question])
    credential_changes.forget_old()
    monkeypatch.setattr(credential_cache, "CHANGES_LOGGED_SECONDS", 0.0)
    assert cached_now(question) is None


def test_so_many_changes_are_as_good_as_all(device, monkeypatch) -> None:
    monkeypatch.setattr(credential_changes, "MAX_READ", 2)
    question = by_key(device)
    grants.look_up_grants([question])
    for _ in range(2):
        query("UPDATE devices_device SET is_active = false WHERE id = %s", factories.device().pk)
    assert cached_now(question) is None


def test_only_old_entries_of_the_log_are_dropped(device) -> None:
    query("TRUNCATE devices_accesschange")
    device.keys.all().delete()
    by_key(device)
    device.keys.all().delete()
    assert credential_changes.forget_old() == 0
    query("UPDATE devices_accesschange SET found_at = now() - interval '2 hours'")
    assert credential_changes.forget_old() == 1


def test_what_was_made_long_before_its_commit_is_kept_until_all_could_see_it(device) -> None:
    question = by_key(device)
    grants.look_up_grants([question])
    device.keys.get().revoke(timezone.now())
    query("UPDATE devices_accesschange SET at = now() - interval '2 hours'")
    credential_changes.forget_old()
    assert cached_now(question) is None


def test_a_credential_that_somebody_is_changing_holds_up_nobody(device) -> None:
    question, others = by_key(device), by_key(factories.device())
    with another_connection() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE devices_devicekey SET expires_at = now() WHERE device_id = %s", [device.pk])
        query("SET statement_timeout = '5s'")
        try:
            assert len(grants.look_up_grants([question, others])) == 2
        finally:
            query("RESET statement_timeout")
        cursor.execute("COMMIT")
    assert cached_now(question) is None


def test_when_it_was_used_is_written_to_the_minute(device, monkeypatch) -> None:
    question = by_key(device)
    grants.look_up_grants([question])
    first = device.keys.get().last_used_at
    assert first is not None
    device.keys.update(last_used_at=first - timedelta(minutes=2))
    grants.look_up_grants([question])
    assert device.keys.get().last_used_at < first
    monkeypatch.setattr(credential_cache, "USE_NOTED_SECONDS", 0.0)
    grants.look_up_grants([question])
    assert device.keys.get().last_used_at > first


def test_a_change_in_an_open_transaction_is_seen_though_a_later_one_has_ended(device) -> None:
    with transaction.atomic():
        query("UPDATE devices_device SET name = 'Pump' WHERE id = %s", device.pk)
        with another_connection() as cursor:
            cursor.execute("SELECT pg_current_xact_id()")
        seen = credential_changes.changes_since("").snapshot
        query("UPDATE devices_device SET is_active = false WHERE id = %s", device.pk)
        assert credential_changes.changes_since(seen).changed == {("device", device.pk)}
