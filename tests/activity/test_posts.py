"""Blogs, posts and events in bulk through the API: what is stored, and who may do what."""

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

from analytics.activity import storage
from analytics.activity.events import delivery, intake
from analytics.activity.events.event import CREATE_POST, DELETE_POST
from analytics.activity.models import Blog, PendingEvent, Post
from devices.models import DeviceKey
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.concurrency import at_the_same_time
from users.models import User

pytestmark = [pytest.mark.integration, pytest.mark.django_db(databases=["default", "activity"])]
LOGIN = {"event": "login", "at": "2026-11-21T09:31:00Z"}


@pytest.fixture(autouse=True)
def _event_types() -> None:
    factories.event_types()


@pytest.fixture
def staff() -> User:
    return factories.colleague()


def call(asker: User, method: str, path: str, body: Any = None) -> HttpResponse:
    headers = {"Authorization": f"Token {factories.token(asker)[1]}"}
    content = b"" if body is None else json.dumps(body).encode()
    return Client().generic(method, path, content, "application/json", headers=headers)


def made(asker: User, path: str, body: Any) -> Any:
    response = call(asker, "POST", path, body)
    assert response.status_code == 201, response.content
    return response.json()


def refused(response: HttpResponse, *fields: str) -> None:
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == list(fields)


def counts(user: User) -> dict[str, int]:
    delivery.deliver()
    return storage.current().counts(user.pk, Period())


class TestBlogs:
    def test_made_read_changed_and_deleted(self, ada):
        fields = {"name": "Field notes", "description": "", "owner": "ada"}
        blog = made(ada, "/api/blogs/", fields)
        assert fields.items() <= blog.items()
        assert blog.keys() - fields.keys() == {"id", "created_at"}
        path = f"/api/blogs/{blog['id']}/"
        assert call(ada, "GET", path).json() == blog
        assert call(ada, "PATCH", path, {"name": "Notes"}).json() == blog | {"name": "Notes"}
        assert [row["name"] for row in call(ada, "GET", "/api/blogs").json()] == ["Notes"]
        assert call(ada, "DELETE", path).status_code == 204
        assert call(ada, "GET", path).status_code == 404

    def test_bad_input_is_named(self, ada):
        good = {"name": "Notes", "description": "", "owner": "ada"}
        refused(call(ada, "POST", "/api/blogs/", {}), "name", "description", "owner")
        for change in (
            {"name": ""},
            {"name": "x" * 201},
            {"name": 5},
            {"name": "a\0"},
            {"description": None},
        ):
            refused(call(ada, "POST", "/api/blogs/", good | change), *change)
        for owner in ("nobody", "ADA", 5, None, ""):
            refused(call(ada, "POST", "/api/blogs/", good | {"owner": owner}), "owner")
        refused(call(ada, "POST", "/api/blogs/", good | {"colour": "red"}), "colour")
        assert not Blog.objects.exists()

    def test_deleting_one_deletes_its_posts_with_an_event_of_each(self, ada):
        blog = factories.blog(ada)
        for _ in range(3):
            factories.post(ada, blog=blog)
        assert call(ada, "DELETE", f"/api/blogs/{blog.pk}").status_code == 204
        assert counts(ada) == {DELETE_POST: 3}
        assert not Post.objects.exists()


class TestPosts:
    def test_each_event_is_one_of_the_author_and_the_blog(self, ada, staff):
        blog = factories.blog(ada)
        fields = {"blog": blog.pk, "author": "ada", "header": "Frost", "text": "It was cold."}
        post = made(staff, "/api/posts/", fields)
        assert fields.items() <= post.items()
        [pending] = PendingEvent.objects.all()
        assert (pending.user_id, pending.name, pending.object_id) == (ada.pk, CREATE_POST, blog.pk)
        path = f"/api/posts/{post['id']}"
        assert call(ada, "GET", path).json() == post
        assert call(ada, "PATCH", path, {"text": ""}).json() == post | {"text": ""}
        assert call(staff, "DELETE", path).status_code == 204
        assert counts(ada) == {CREATE_POST: 1, DELETE_POST: 1}
        assert counts(staff) == {}

    def test_bad_input_is_named_and_leaves_no_event(self, ada):
        refused(call(ada, "POST", "/api/posts/", {}), "blog", "author", "header", "text")
        good = {"blog": factories.blog(ada).pk, "author": "ada", "header": "Frost", "text": ""}
        for blog in (0, -1, 2**70, 987_654, "1", True, None):
            refused(call(ada, "POST", "/api/posts/", good | {"blog": blog}), "blog")
        for author in ("nobody", "a\0"):
            refused(call(ada, "POST", "/api/posts/", good | {"author": author}), "author")
            refused(
                call(ada, "POST", "/api/blogs/", {"name": "x", "description": "", "owner": author}), "owner"
            )
        assert not PendingEvent.objects.exists()

    def test_blog_and_author_are_fixed(self, ada):
        post = factories.post(ada)
        path = f"/api/posts/{post.pk}"
        refused(call(ada, "PATCH", path, {"author": "ada"}), "author")
        refused(call(ada, "PATCH", path, {"blog": post.blog_id}), "blog")

    def test_lists_are_filtered(self, ada, staff):
        mine, other = factories.post(ada), factories.post()
        for query in (f"blog={mine.blog_id}", "author=ada"):
            assert [row["id"] for row in call(staff, "GET", f"/api/posts/?{query}").json()] == [mine.pk]
        assert len(call(staff, "GET", "/api/posts/").json()) == 2
        assert [row["id"] for row in call(staff, "GET", f"/api/blogs/?owner={other.author}").json()] == [
            other.blog_id
        ]
        assert call(staff, "GET", "/api/posts/?blog=1_0").status_code == 400

    @pytest.mark.django_db(transaction=True, databases=["default", "activity"])
    def test_two_who_delete_the_same_post_make_one_event(self, ada):
        post = factories.post(ada)
        at_the_same_time(post.erase, times=4)
        assert counts(ada) == {DELETE_POST: 1}


class TestPermissions:
    def test_an_owner_is_nobody_else(self, ada):
        stranger = factories.stranger()
        refused(
            call(ada, "POST", "/api/blogs/", {"name": "N", "description": "", "owner": stranger.login}),
            "owner",
        )
        theirs, mine = factories.blog(stranger), factories.blog(ada)
        good = {"blog": mine.pk, "author": "ada", "header": "Frost", "text": ""}
        refused(call(ada, "POST", "/api/posts/", good | {"author": stranger.login}), "author")
        refused(call(ada, "POST", "/api/posts/", good | {"blog": theirs.pk}), "blog")
        refused(call(ada, "PATCH", f"/api/blogs/{mine.pk}", {"owner": stranger.login}), "owner")

    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    def test_rows_of_others_are_404(self, ada, method):
        post = factories.post(factories.stranger())
        for path in (f"/api/posts/{post.pk}", f"/api/blogs/{post.blog_id}", "/api/posts/987654321"):
            assert call(ada, method, path, {} if method == "PATCH" else None).status_code == 404
        for path in ("/api/posts/", "/api/blogs/"):
            assert call(ada, "GET", path).json() == []
        assert Post.objects.filter(pk=post.pk).exists()

    def test_a_user_with_a_blog_is_deactivated_and_with_purge_erased(self, ada):
        admin = factories.admin()
        factories.post(ada)
        assert call(admin, "DELETE", f"/users/{ada.pk}/").status_code == 204
        assert call(admin, "GET", f"/users/{ada.pk}/").json()["active"] is False
        assert call(admin, "DELETE", f"/users/{ada.pk}/?purge=true").status_code == 204
        assert not Blog.objects.exists()
        assert not Post.objects.exists()
        assert not User.objects.filter(pk=ada.pk).exists()


class TestEventsInBulk:
    def test_good_ones_are_stored_and_bad_ones_named(self, ada, staff):
        events = [LOGIN | {"login": "ada"}, LOGIN | {"login": "nobody"}, LOGIN | {"login": "ada"}, 5]
        receipt = made(staff, "/api/activity/", events)
        assert receipt == {
            "accepted": 2,
            "rejected": [
                {"index": 1, "message": "login: There is no such user."},
                {"index": 3, "message": "Must be an object."},
            ],
        }
        assert counts(ada) == {"login": 2}

    def test_objects_must_exist(self, ada, staff):
        post = factories.post(ada)
        gone = factories.post(ada)
        gone.delete()
        of = (
            (post.pk, "comment"),
            (post.blog_id, "create_post"),
            (gone.pk, "comment"),
            (987_654, "delete_post"),
        )
        events = [LOGIN | {"login": "ada", "event": event, "object_id": number} for number, event in of]
        receipt = made(staff, "/api/activity/", events)
        assert (receipt["accepted"], [bad["index"] for bad in receipt["rejected"]]) == (2, [2, 3])
        assert counts(ada) == {"comment": 1, "create_post": 1}

    def test_the_same_id_of_a_sender_is_stored_once_and_of_another_again(self, ada, staff):
        event = LOGIN | {"login": "ada", "id": "a-1", "event": "comment", "object_id": factories.post(ada).pk}
        for _ in range(2):
            assert made(staff, "/api/activity/", [event, event])["accepted"] == 2
        assert counts(ada) == {"comment": 1}
        made(ada, "/api/activity/", [event])
        assert counts(ada) == {"comment": 2}

    @pytest.mark.django_db(transaction=True, databases=["default", "activity"])
    def test_concurrent_senders_of_one_id_store_it_once(self, ada, staff):
        events = [LOGIN | {"login": "ada", "id": str(number)} for number in range(50)]
        at_the_same_time(lambda: made(staff, "/api/activity/", events), times=4)
        assert counts(ada) == {"login": 50}

    def test_an_owner_brings_only_their_own(self, ada):
        stranger = factories.stranger()
        own, theirs = factories.post(ada), factories.post(stranger)
        comment = LOGIN | {"event": "comment"}
        events = [
            comment | {"login": "ada", "object_id": own.pk},
            comment | {"login": stranger.login, "object_id": own.pk},
            comment | {"login": "ada", "object_id": theirs.pk},
        ]
        assert [bad["index"] for bad in made(ada, "/api/activity/", events)["rejected"]] == [1, 2]

    @pytest.mark.parametrize("name", ["login", "logout"])
    def test_nobody_makes_up_their_own_log_ins(self, ada, staff, name):
        """The portal writes them itself; staff bring those of other systems."""
        event = LOGIN | {"login": "ada", "event": name}
        [refused] = made(ada, "/api/activity/", [event])["rejected"]
        assert refused == {"index": 0, "message": f"event: {intake.BY_PORTAL}"}
        assert counts(ada) == {}
        assert made(staff, "/api/activity/", [event])["accepted"] == 1

    @pytest.mark.parametrize("body", [{}, "text", None, 5])
    def test_a_body_that_is_no_array_is_400(self, staff, body):
        refused(call(staff, "POST", "/api/activity/", body if body is not None else {}), "body")

    def test_nothing_is_fine(self, staff):
        assert made(staff, "/api/activity/", []) == {"accepted": 0, "rejected": []}

    def test_too_many_are_413(self, staff):
        assert call(staff, "POST", "/api/activity/", [5] * 10_001).status_code == 413
        assert call(staff, "POST", "/api/activity/", [LOGIN | {"id": "x" * 5_300_000}]).status_code == 413

    def test_queries_do_not_grow_with_the_items(self, ada, staff, django_assert_num_queries):
        headers = {"Authorization": f"Token {factories.token(staff)[1]}"}
        events = [LOGIN | {"login": "ada"}] * 500
        # The token, that it was used; users, blogs, posts.
        with django_assert_num_queries(3):
            Client().post("/api/activity/", json.dumps(events), "application/json", headers=headers)

    def test_a_devices_key_is_for_readings_only(self):
        text = DeviceKey.issue(device=factories.device())[1]
        for path in ("/api/activity/", "/api/blogs/"):
            response = Client().post(
                path, "[]", "application/json", headers={"Authorization": f"Device {text}"}
            )
            assert response.status_code == 403


class TestLists:
    """A list of 200 long posts was 381 MB."""

    LONG = "é" * 1_000_000

    def test_of_a_long_text_a_list_has_the_beginning(self, ada):
        blog = factories.blog(ada, description=self.LONG)
        factories.post(ada, blog=blog, text=self.LONG)
        factories.post(ada, blog=blog, text="short")
        long, short = call(ada, "GET", "/api/posts/").json()
        assert (long["text"], long["text_length"]) == (self.LONG[:1000], 1_000_000)
        assert (short["text"], short["text_length"]) == ("short", 5)
        assert call(ada, "GET", f"/api/posts/{long['id']}/").json()["text"] == self.LONG
        [row] = call(ada, "GET", "/api/blogs/").json()
        assert (row["description"], row["description_length"]) == (self.LONG[:1000], 1_000_000)

    def test_a_page_of_long_texts_is_small(self, ada):
        blog = factories.blog(ada)
        Post.objects.bulk_create(
            Post(blog=blog, author=ada, header="Frost", text=self.LONG[:100_000]) for _ in range(200)
        )
        answer = call(ada, "GET", "/api/posts/?limit=200")
        assert len(answer.json()) == 200
        assert len(answer.content) < 1_000_000
