"""The datasets through the API: shapes, days, deleted posts, who may ask. On the real databases."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http import HttpResponse
from django.test import Client

from analytics.activity.events.event import COMMENT, CREATE_POST, DELETE_POST, LOGIN, LOGOUT
from analytics.activity.models import PendingEvent
from analytics.activity.storage.interface import ActivityStorage
from tests.support import factories
from tests.support.factories import NOON
from users.models import User

pytestmark = [pytest.mark.integration, pytest.mark.django_db(databases=["default", "activity"])]
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _logs(logs: ActivityStorage) -> None:
    """Run every test on every storage."""


@pytest.fixture
def grace() -> User:
    return factories.owner(login="grace")


def get(path: str, asker: User | None = None, **query: str) -> HttpResponse:
    headers = {"Authorization": f"Token {factories.token(asker or factories.colleague())[1]}"}
    return Client().get(path, query, headers=headers)


def rows(dataset: str, login: str, asker: User | None = None, **query: str) -> list[dict[str, Any]]:
    response = get(f"/api/{dataset}/", asker, login=login, **query)
    assert response.status_code == 200, response.content
    assert response.json() == {"status": "ok", "data": response.json()["data"]}
    return response.json()["data"]


def table(response: HttpResponse) -> list[list[str]]:
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in response["Content-Disposition"]
    return list(csv.reader(io.StringIO(response.content.decode())))


class TestComments:
    def test_most_comments_come_first_and_then_the_older_post(self, ada, grace):
        posts = [factories.post(grace, header=header) for header in ("First", "Second", "Third")]
        for post, times in zip(posts, (1, 3, 1), strict=True):
            for _ in range(times):
                factories.log(ada, COMMENT, of=post.pk)
        factories.log(grace, COMMENT, of=posts[0].pk)
        assert rows("comments", "ada") == [
            {
                "user_login": "ada",
                "post_header": header,
                "post_author_login": "grace",
                "total_comments": total,
            }
            for header, total in (("Second", 3), ("First", 1), ("Third", 1))
        ]

    def test_own_posts_count_too(self, ada):
        factories.log(ada, COMMENT, of=factories.post(ada).pk)
        assert [row["post_author_login"] for row in rows("comments", "ada")] == ["ada"]

    def test_two_posts_of_one_header_are_two_rows(self, ada, grace):
        for author in (grace, grace, ada):
            factories.log(ada, COMMENT, of=factories.post(author, header="Same").pk)
        found = [(row["post_header"], row["post_author_login"]) for row in rows("comments", "ada")]
        assert found == [("Same", "grace"), ("Same", "grace"), ("Same", "ada")]

    def test_a_deleted_post_has_neither_header_nor_author(self, ada, grace):
        post = factories.post(grace)
        for _ in range(2):
            factories.log(ada, COMMENT, of=post.pk)
        post.erase()
        row = {"user_login": "ada", "post_header": None, "post_author_login": None, "total_comments": 2}
        assert rows("comments", "ada") == [row]

    def test_events_of_a_blog_of_the_same_number_are_no_comments(self, ada):
        post = factories.post(ada)
        factories.log(ada, CREATE_POST, of=post.pk)
        assert rows("comments", "ada") == []

    def test_a_period_is_half_open(self, ada):
        post = factories.post(ada)
        for day in (20, 21, 22):
            factories.log(ada, COMMENT, datetime(2026, 11, day, tzinfo=UTC), of=post.pk)
        [row] = rows("comments", "ada", start="2026-11-20", end="2026-11-22")
        assert row["total_comments"] == 2


class TestGeneral:
    def test_a_row_per_active_day_ascending(self, ada):
        blog = factories.blog(ada)
        factories.log(ada, LOGIN, NOON)
        factories.log(ada, LOGIN, NOON + HOUR)
        factories.log(ada, LOGOUT, NOON + 2 * HOUR)
        factories.log(ada, CREATE_POST, NOON - 72 * HOUR, blog.pk)
        factories.log(ada, DELETE_POST, NOON - 71 * HOUR, blog.pk)
        factories.log(ada, COMMENT, NOON - 70 * HOUR, 7)
        factories.log(factories.stranger(), LOGIN, NOON - 24 * HOUR)
        assert rows("general", "ada") == [
            {"date": "2026-11-18", "logins": 0, "logouts": 0, "blog_actions": 2},
            {"date": "2026-11-21", "logins": 2, "logouts": 1, "blog_actions": 0},
        ]

    def test_a_day_of_comments_only_is_a_row_of_zeros(self, ada):
        factories.log(ada, COMMENT, of=factories.post(ada).pk)
        assert rows("general", "ada") == [
            {"date": "2026-11-21", "logins": 0, "logouts": 0, "blog_actions": 0}
        ]

    def test_days_are_of_utc_unless_set(self, ada):
        factories.log(ada, LOGIN, datetime(2026, 11, 21, 23, 59, 59, 999_999, UTC))
        factories.log(ada, LOGIN, datetime(2026, 11, 22, tzinfo=UTC))
        assert [row["date"] for row in rows("general", "ada")] == ["2026-11-21", "2026-11-22"]

    def test_bounds_are_days_half_open(self, ada):
        for day in (20, 21, 22):
            factories.log(ada, LOGIN, datetime(2026, 11, day, tzinfo=UTC))
        found = rows("general", "ada", start="2026-11-21", end="2026-11-22")
        assert [row["date"] for row in found] == ["2026-11-21"]

    @pytest.mark.parametrize(
        ("day", "first", "last"),
        [
            # The clocks go forward: 23 hours. They go back: 25. An ordinary day.
            ("2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999999Z"),
            ("2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999999Z"),
            ("2026-11-21", "2026-11-20T23:00:00Z", "2026-11-21T22:59:59.999999Z"),
        ],
    )
    def test_days_of_the_portals_zone_over_a_change_of_clocks(self, ada, settings, day, first, last):
        settings.TIME_ZONE = "Europe/Berlin"
        begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
        microsecond = timedelta(microseconds=1)
        for at in (begin - microsecond, begin, end, end + microsecond):
            factories.log(ada, LOGIN, at)
        found = {row["date"]: row["logins"] for row in rows("general", "ada")}
        date = datetime.fromisoformat(day).date()
        around = [(date + timedelta(days=days)).isoformat() for days in (-1, 0, 1)]
        assert found == dict(zip(around, (1, 2, 1), strict=True))
        [only] = rows("general", "ada", start=day, end=around[2])
        assert (only["date"], only["logins"]) == (day, 2)

    def test_an_hour_that_comes_twice_is_of_one_day(self, ada, settings):
        settings.TIME_ZONE = "America/Havana"  # from 01:00 back to 00:00
        zone = ZoneInfo("America/Havana")
        for fold in (0, 1):
            factories.log(ada, LOGIN, datetime(2026, 11, 1, 0, 30, tzinfo=zone, fold=fold).astimezone(UTC))
        assert [(row["date"], row["logins"]) for row in rows("general", "ada")] == [("2026-11-01", 2)]
        assert len(rows("general", "ada", start="2026-11-01", end="2026-11-02")) == 1


@pytest.mark.parametrize("dataset", ["comments", "general"])
class TestAsking:
    def test_without_a_login_it_is_400(self, dataset):
        for query in ({}, {"login": ""}):
            response = get(f"/api/{dataset}/", **query)
            assert response.status_code == 400
            assert [error["field"] for error in response.json()["errors"]] == ["login"]

    @pytest.mark.parametrize("login", ["nobody", "ADA", "ad", "ada ", "a\0da", "%", "\ud7ff" * 200])
    def test_an_unknown_login_has_no_rows(self, ada, dataset, login):
        factories.log(ada, COMMENT, of=1)
        assert rows(dataset, login) == []

    def test_a_log_of_an_unknown_user_is_nobodys(self, ada, dataset):
        factories.log(987_654_321, COMMENT, of=factories.post().pk)
        assert rows(dataset, "ada") == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"start": "soon"}, "start"),
            ({"end": "2026-02-30"}, "end"),
            ({"start": "2026-11-22", "end": "2026-11-21"}, "start"),
            ({"start": "2026-11-21", "end": "2026-11-21"}, "start"),
            ({"format": "xml"}, "format"),
            ({"logins": "ada"}, "logins"),
        ],
    )
    def test_bad_input_is_named(self, dataset, query, field):
        response = get(f"/api/{dataset}/", login="ada", **query)
        assert response.status_code == 400
        assert [error["field"] for error in response.json()["errors"]] == [field]

    def test_an_owner_sees_nobody_else(self, ada, grace, dataset):
        factories.log(ada, COMMENT, of=factories.post(ada).pk)
        assert len(rows(dataset, "ada", ada)) == 1
        assert rows(dataset, "ada", grace) == []

    def test_the_slash_is_optional(self, ada, dataset):
        assert get(f"/api/{dataset}", login="ada").json() == {"status": "ok", "data": []}


class TestFiles:
    def test_comments_as_csv(self, ada, grace):
        for header in ("=1+1", "Frost, and more"):
            factories.log(ada, COMMENT, of=factories.post(grace, header=header).pk)
        gone = factories.post(grace)
        factories.log(ada, COMMENT, of=gone.pk)
        gone.erase()
        assert table(get("/api/comments/", login="ada", format="csv")) == [
            ["user_login", "post_header", "post_author_login", "total_comments"],
            ["ada", "'=1+1", "grace", "1"],
            ["ada", "Frost, and more", "grace", "1"],
            ["ada", "", "", "1"],
        ]

    def test_general_as_csv(self, ada):
        factories.log(ada, LOGIN)
        expected = [["date", "logins", "logouts", "blog_actions"], ["2026-11-21", "1", "0", "0"]]
        assert table(get("/api/general/", login="ada", format="csv")) == expected

    def test_of_an_unknown_login_only_the_columns(self):
        assert len(table(get("/api/general/", login="nobody", format="csv"))) == 1


def test_queries_do_not_grow_with_the_rows(ada, django_assert_num_queries):
    for header in ("one", "two", "three"):
        factories.log(ada, COMMENT, of=factories.post(header=header).pk)
    headers = {"Authorization": f"Token {factories.token(factories.colleague())[1]}"}
    # The token, its last use, the user, the outbox, and the posts with their authors.
    with django_assert_num_queries(5):
        assert len(Client().get("/api/comments/?login=ada", headers=headers).json()["data"]) == 3


def test_a_dataset_includes_events_that_wait_in_the_outbox(ada, grace):
    for user in (ada, grace):
        PendingEvent.note(user.pk, LOGIN)
    assert [row["logins"] for row in rows("general", "ada")] == [1]
    assert [waiting.user_id for waiting in PendingEvent.objects.all()] == [grace.pk]
    assert [row["logins"] for row in rows("general", "ada")] == [1]
