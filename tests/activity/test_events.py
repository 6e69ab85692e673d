"""Parts of activity that are only arithmetic: shapes of events, their ids, files, the chart."""

import csv
import io
import json
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from analytics import csv_rows
from analytics.activity import views
from analytics.activity.events import intake
from analytics.activity.events.event import EVENT_KINDS, event_id
from analytics.activity.events.intake import EventIntake, PostedEvent
from devices.ingestion.checks import InvalidItems
from devices.ingestion.decoding import BatchTooLong, decode_loosely

pytestmark = pytest.mark.unit
EVENT = {"login": "ada", "event": "login", "at": "2026-11-21T09:31:00Z"}


class Known(intake.KnownObjects):
    """Ada is user 7, and there are a blog 3 and a post 12."""

    def __init__(self) -> None:
        super().__init__(asker=None)

    def look_up(self, items: Any) -> None:
        self.users = {"ada": 7}
        self.objects = {"blog": {3}, "post": {12}}


def take(*items: Any) -> EventIntake:
    """Decode the items from JSON, strictly if they are well formed, and check them."""
    body = json.dumps(items).encode()
    try:
        decoded = intake.BATCH_DECODER.decode(body)
    except msgspec.DecodeError as error:
        decoded = decode_loosely(body, error)
    return intake.take_event_items(decoded, Known(), "user:1", [uuid4() for _ in decoded])


def refusal(item: Any) -> str:
    taken = take(EVENT, item, EVENT)
    [rejected] = taken.receipt["rejected"]
    assert (rejected["index"], taken.receipt["accepted"], len(taken.events)) == (1, 2, 2)
    return rejected["message"]


@pytest.mark.parametrize(
    "item",
    [
        EVENT,
        EVENT | {"event": "logout", "object_id": None, "id": None},
        EVENT | {"event": "comment", "object_id": 12, "id": "a-1"},
        EVENT | {"event": "create_post", "object_id": 3, "id": 17},
        EVENT | {"event": "delete_post", "object_id": 3},
    ],
)
def test_good_events_are_taken(item):
    # Alone, and beside one for which the whole batch is read loosely.
    for taken in (take(item), take(item, 5)):
        [event] = taken.events
        assert (event.user_id, event.name, event.object_id) == (7, item["event"], item.get("object_id"))
        assert event.at == datetime(2026, 11, 21, 9, 31, tzinfo=UTC)
        assert "assumed_timezone" not in taken.receipt


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"login": "Ada"}, "login: There is no such user."),
        ({"login": "a\0da"}, "login: There is no such user."),
        ({"login": "\ud800"}, "login: There is no such user."),
        ({"login": 7}, "login: Must be a string."),
        ({"login": None}, "login: Must be a string."),
        ({"event": "sleep"}, "event: Must be one of login, logout, create_post, delete_post, comment."),
        ({"event": "Login"}, "event: Must be one of login, logout, create_post, delete_post, comment."),
        ({"object_id": 3}, "object_id: A login has no object."),
        ({"event": "comment"}, "object_id: There is no such post."),
        ({"event": "comment", "object_id": 3}, "object_id: There is no such post."),
        ({"event": "comment", "object_id": 2**70}, "object_id: There is no such post."),
        ({"event": "comment", "object_id": -12}, "object_id: There is no such post."),
        ({"event": "create_post", "object_id": 12}, "object_id: There is no such blog."),
        ({"event": "comment", "object_id": "12"}, "object_id: Must be a whole number."),
        ({"event": "comment", "object_id": 12.5}, "object_id: Must be a whole number."),
        ({"event": "comment", "object_id": True}, "object_id: Must be a whole number."),
        ({"id": ""}, f"id: {intake.INVALID_ID}"),
        ({"id": "x" * 256}, f"id: {intake.INVALID_ID}"),
        ({"id": "a\0"}, f"id: {intake.INVALID_ID}"),
        ({"id": 2**53}, f"id: {intake.INVALID_ID}"),
        ({"id": 1.5}, "id: Must be a string or a whole number."),
        ({"id": False}, "id: Must be a string or a whole number."),
        ({"id": ["a"]}, "id: Must be a string or a whole number."),
        ({"at": 1700000000}, "at: Must be a string."),
        ({"at": "yesterday"}, "at: Must be an ISO 8601 date and time, such as 2026-11-21T09:30:00Z."),
        ({"at": "1969-12-31T23:59:59Z"}, "at: Must lie between 1970 and 2200."),
        ({"at": "2200-01-01T00:00:00Z"}, "at: Must lie between 1970 and 2200."),
        ({"colour": "red"}, "colour: Unknown key."),
        ({"login": "x", "at": "y"}, "login: There is no such user. at: Must be an ISO 8601"),
    ],
)
def test_a_bad_event_is_refused_by_its_index_and_says_why(change, message):
    assert refusal(EVENT | change).startswith(message)


@pytest.mark.parametrize("name", EVENT)
def test_a_missing_key_is_named(name):
    assert refusal({key: value for key, value in EVENT.items() if key != name}) == f"{name}: Is missing."


@pytest.mark.parametrize("item", [None, 5, "login", [], [EVENT]])
def test_an_item_that_is_no_object_is_refused(item):
    assert refusal(item) == "Must be an object."


def test_a_number_that_is_no_number_is_refused():
    items = decode_loosely(
        json.dumps([EVENT | {"object_id": float("nan"), "id": float("inf")}]).encode(), ValueError()
    )
    taken = intake.take_event_items(items, Known(), "user:1", [uuid4()])
    assert taken.receipt["rejected"][0]["message"].startswith(
        "object_id: Must be a whole number. id: Must be"
    )


def test_a_stamp_without_an_offset_is_read_in_utc_and_the_receipt_says_so():
    taken = take(EVENT | {"at": "2026-11-21T09:31:00"})
    assert taken.events[0].at == datetime(2026, 11, 21, 9, 31, tzinfo=UTC)
    assert taken.receipt["assumed_timezone"] == "UTC"


def test_nothing_is_taken_from_nothing():
    assert take() == EventIntake([], {"accepted": 0, "rejected": []})


def test_ids_are_the_senders_own():
    assert event_id("user:1", "a") == event_id("user:1", "a")
    assert len({event_id("user:1", "a"), event_id("user:1", "b"), event_id("user:2", "a")}) == 3
    first, again, other = take(EVENT | {"id": 5}, EVENT | {"id": "5"}, EVENT).events
    assert first.id == again.id != other.id


def test_a_body_that_is_no_array_is_refused():
    for body in (b"{}", b"", b"nonsense", b'"text"', b"\xff", b"[" * 100_000):
        with pytest.raises(InvalidItems):
            intake.take_events(body, None)


def test_too_many_items_are_refused():
    with pytest.raises(BatchTooLong):
        intake.take_events(b"[" + b"5," * 10_000 + b"5]", None)


def test_every_kind_has_a_number_of_its_own():
    assert len({kind.number for kind in EVENT_KINDS.values()}) == len(EVENT_KINDS)
    assert PostedEvent.__struct_fields__ == intake.REQUIRED_KEYS + intake.OPTIONAL_KEYS


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        *((text, f"'{text}") for text in ("=1", "+1", "-1", "@a", "\tx", "\rx")),
        *(("a=1", "a=1"), ("", ""), (None, ""), (5, "5"), (-5, "-5"), (date(2026, 11, 21), "2026-11-21")),
    ],
)
def test_cells_of_a_file_are_no_formulas(cell, text):
    file = "".join(csv_rows.lines(["cell", "other"], [{"cell": cell, "other": 1}]))
    [_, row] = csv.reader(io.StringIO(file, newline=""))
    assert row == [text, "1"]


def test_the_chart_has_the_idle_days_between():
    days = [
        {"date": date(2026, 2, 28), "logins": 1, "logouts": 0, "blog_actions": 5},
        {"date": date(2026, 3, 2), "logins": 2, "logouts": 1, "blog_actions": 0},
    ]
    chart = views.chart(days)
    assert [datetime.fromtimestamp(day, UTC).isoformat() for day in chart["days"]] == [
        f"2026-{day}T00:00:00+00:00" for day in ("02-28", "03-01", "03-02")
    ]
    assert [series["values"] for series in chart["series"]] == [[1, 0, 2], [0, 0, 1], [5, 0, 0]]


def test_the_chart_of_a_long_time_has_its_last_days():
    days = [{"date": date(year, 1, 1), "logins": 1, "logouts": 0, "blog_actions": 0} for year in (1970, 2199)]
    chart = views.chart(days)
    assert len(chart["days"]) == views.MAX_CHART_DAYS
    assert chart["series"][0]["values"][-1] == 1
    assert views.chart([]) is None
