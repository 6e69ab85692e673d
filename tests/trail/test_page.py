"""The page of the trail and its file: who sees what, filters, places in the list."""

import csv
import io
from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import StreamingHttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics.trail_pages.views import PAGE_SIZE
from tests.account.people import logged_in, person
from tests.support import factories
from users.models import Role
from users.trail.kinds import FOR_ADMINS
from users.trail.models import Entry

pytestmark = pytest.mark.django_db
PAGE, FILE = "/portal/trail/", "/portal/trail.csv"


def entry(**fields) -> Entry:
    values = {"at": timezone.now(), "action": "changed", "kind": "device", "thing": "device:7"}
    return Entry.objects.create(**values | fields)


def labels(client: Client, **asked: object) -> list[str]:
    """The labels of a page."""
    answer = client.get(PAGE, asked)
    assert answer.status_code == 200, answer.content
    return [shown.label for shown, _ in answer.context["rows"]]


def rows_in(file: StreamingHttpResponse) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(file.streaming_content).decode())))


@pytest.fixture
def admin() -> Client:
    return logged_in(person(Role.ADMIN))


@pytest.mark.parametrize("path", [PAGE, FILE])
def test_it_does_not_exist_for_an_owner_and_asks_strangers_to_log_in(path):
    assert logged_in(person()).get(path).status_code == 404
    assert Client().get(path).status_code == 302
    assert not Entry.objects.visible_to(AnonymousUser()).exists()


def test_staff_see_devices_and_not_the_accounts_of_others():
    entry(label="pump")
    entry(kind="token", thing="token:7", label="plt_00000000")
    staff = logged_in(person(Role.STAFF))
    assert "pump" in labels(staff)
    assert not {shown.kind for shown, _ in staff.get(PAGE).context["rows"]} & set(FOR_ADMINS)
    assert "plt_00000000" not in b"".join(staff.get(FILE).streaming_content).decode()
    # Not by asking for them either.
    assert staff.get(PAGE, {"kind": "token"}).status_code == 400
    assert labels(staff, who="", thing="token:7") == []


def test_each_filter_narrows_the_list(admin):
    now = timezone.now()
    made = {"actor": "Trail-Ada", "address": "203.0.113.77", "credential": "plt_0000000a"}
    entry(label="Yoke", at=now - timedelta(days=9), **made)
    device = "device:800000000"
    entry(label="b", action="deleted", thing=device, at=now - timedelta(days=5))
    entry(label="c", kind="device_key", thing="device_key:9", parent=device, at=now - timedelta(days=3))
    days = {name: f"{now - timedelta(days=ago):%Y-%m-%d}" for name, ago in (("start", 7), ("end", 4))}
    assert labels(admin, who="trail-ada") == labels(admin, who="203.0.113.77") == ["Yoke"]
    assert labels(admin, who="plt_0000000a") == labels(admin, thing="yok") == ["Yoke"]
    assert labels(admin, thing=device) == ["c", "b"]
    assert labels(admin, thing=device, kind="device_key") == ["c"]
    assert labels(admin, thing=device, action="deleted") == ["b"]
    assert labels(admin, thing=device, **days) == ["b"]
    assert labels(admin, who="nobody") == []


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "planet"},
        {"action": "sleep"},
        {"start": "yesterday"},
        {"start": "2026-11-02", "end": "2026-11-01"},
        {"start": "0001-01-01", "end": "9999-12-31"},
        {"who": "a\0b"},
        {"after": "here"},
        {"after": "9999999999999999-1"},
    ],
)
def test_a_wrong_filter_is_no_server_error(admin, asked):
    assert admin.get(PAGE, asked).status_code in (200, 400)
    assert admin.get(FILE, asked).status_code in (200, 400)


def test_pages_go_on_where_the_last_one_ended(admin):
    same = timezone.now()
    for number in range(PAGE_SIZE + 5):
        entry(label=str(number), actor="trail-ada", at=same)
    first = admin.get(PAGE, {"who": "trail-ada"})
    older = first.context["older"]
    assert f"?who=trail-ada&amp;after={older}" in first.content.decode()
    # What is added meanwhile moves nothing.
    entry(label="new", actor="trail-ada")
    seen = [shown.label for shown, _ in first.context["rows"]] + labels(admin, who="trail-ada", after=older)
    assert seen == [str(number) for number in reversed(range(PAGE_SIZE + 5))]


def test_queries_do_not_grow_with_the_rows(admin):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert admin.get(PAGE, {"who": "trail-ada"}).status_code == 200
        return len(captured)

    entry(actor="trail-ada", after={"owner_id": factories.owner().pk})
    one = queries()
    for _ in range(9):
        entry(actor="trail-ada", after={"owner_id": factories.owner().pk})
    assert queries() == one


def test_users_are_named_in_before_and_after(admin):
    giver, taker = factories.owner(), factories.owner()
    device = factories.device(giver, name="Pump of Mary")
    device.owner = taker
    device.save()
    page = admin.get(PAGE, {"thing": "Pump of Mary", "action": "changed"}).content.decode()
    assert f"<del>{giver.login}</del> → <ins>{taker.login}</ins>" in page


def test_the_file_has_what_the_page_shows_safe_for_spreadsheets(admin):
    counted = {"times": 3, "until": timezone.now()}
    entry(label="=1+1", actor="trail-ada", before={"name": "@x"}, after={"name": "y"}, **counted)
    entry(label="other", actor="trail-grace")
    answer = admin.get(FILE, {"who": "trail-ada"})
    assert answer.streaming
    assert answer["Content-Disposition"].startswith('attachment; filename="trail-')
    [row] = rows_in(answer)
    assert (row["name"], row["who"], row["times"]) == ("'=1+1", "trail-ada", "3")
    assert (row["before"], row["after"]) == ('{"name": "@x"}', '{"name": "y"}')


def test_the_file_is_read_in_batches(admin, monkeypatch):
    monkeypatch.setattr("analytics.trail_pages.views.FILE_BATCH", 2)
    for number in range(5):
        entry(label=str(number), actor="trail-ada")
    rows = rows_in(admin.get(FILE, {"who": "trail-ada"}))
    assert [row["name"] for row in rows] == ["4", "3", "2", "1", "0"]


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_it_can_only_be_read(admin, method):
    assert getattr(admin, method)(PAGE).status_code == 405
