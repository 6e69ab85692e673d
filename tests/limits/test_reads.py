"""Requests are bounded: at once by a person, in time by the database."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.http import StreamingHttpResponse
from django.test import Client, RequestFactory

from config.asgi import statements
from config.asgi.shares import Shares
from config.limits import reads
from config.problems import problem_response
from config.views import database_is_away
from tests.support import factories
from tests.support.database import connected
from tests.support.portal import Person, Portal
from users.limits import LimitReached

REQUESTS = 30


@contextmanager
def locked(portal: Portal, table: str) -> Iterator[None]:
    """Let every statement on the table wait."""
    with connected(portal.database_url) as other, other.cursor() as cursor:
        cursor.execute(f"BEGIN; LOCK TABLE {table}")
        yield
        cursor.execute("ROLLBACK")


def test_reads_of_one_credential_wait_for_each_other_and_leave_threads_to_others(
    portal: Portal, owner: Person
) -> None:
    stranger = portal.new_user()
    with locked(portal, "analytics_calculation"), ThreadPoolExecutor(REQUESTS) as threads:
        answers = [
            threads.submit(portal.request, "GET", "/calculations/", token=owner.token)
            for _ in range(REQUESTS)
        ]
        for _ in range(4):
            assert portal.get("/devices/", stranger.token) == []
    assert {answer.result().status_code for answer in answers} <= {200, 503}


def test_slow_reads_of_one_person_leave_threads_to_others(portal: Portal, owner: Person) -> None:
    stranger = portal.new_user()
    tokens = [portal.new_token(owner.id) for _ in range(REQUESTS)]
    with locked(portal, "analytics_calculation"), ThreadPoolExecutor(REQUESTS) as threads:
        answers = [threads.submit(portal.request, "GET", "/calculations/", token=token) for token in tokens]
        for _ in range(4):
            assert portal.get("/devices/", stranger.token) == []
        assert portal.request("GET", "/healthz").status_code == 204
        found = [answer.result() for answer in answers]
    counts = Counter(answer.status_code for answer in found)
    assert counts.keys() == {429, 503}
    assert counts[503] <= 2 * settings.READS_AT_ONCE
    refused = next(answer for answer in found if answer.status_code == 429)
    assert "READS_AT_ONCE" in refused.json()["detail"]
    assert refused.headers["Retry-After"] == "1"
    # Those that got a thread waited for the lock no longer than they may.
    waited = next(answer for answer in found if answer.status_code == 503)
    assert "LOCK_SECONDS" in waited.json()["detail"]
    assert waited.headers["Retry-After"] == "5"
    assert portal.get("/calculations/", owner.token) == []


def test_slow_posts_of_one_person_leave_threads_to_others(portal: Portal, owner: Person) -> None:
    """They ask for the same analysis, and so wait for each other."""
    stranger, device = portal.new_user(), portal.new_device(owner)
    tokens = [portal.new_token(owner.id, scopes=["read"]) for _ in range(REQUESTS)]
    path = f"/users/{owner.id}/analytics"
    with locked(portal, "analytics_analysis"), ThreadPoolExecutor(REQUESTS) as threads:
        answers = [threads.submit(portal.request, "POST", path, token=token, json={}) for token in tokens]
        for _ in range(4):
            assert portal.get("/devices/", stranger.token) == []
        assert portal.request("GET", "/healthz").status_code == 204
        portal.post_reading(device, x=1, y=2, z=3)
        counts = Counter(answer.result().status_code for answer in answers)
    assert counts.keys() == {429, 503}
    assert counts[503] <= 2 * settings.READS_AT_ONCE


class TestHolding:
    @pytest.fixture(autouse=True)
    def _one(self, settings: Any) -> Iterator[None]:
        settings.READS_AT_ONCE = 1
        yield
        assert not reads.held

    def get(self, user: Any, **fields: Any) -> Any:
        request = RequestFactory().get("/")
        request.__dict__.update(fields)
        reads.hold(request, user)
        return request

    @pytest.mark.django_db
    def test_a_read_is_released_however_it_ends(self) -> None:
        owner = factories.owner()
        token = {"Authorization": f"Token {factories.token(owner)[1]}"}
        browser = Client()
        browser.force_login(owner)
        for _ in range(2):
            assert Client().get("/devices/", headers=token).status_code == 200
            assert Client().get("/devices/?nonsense=1", headers=token).status_code == 400
            assert (
                Client().get(f"/devices/{'0' * 8}-0000-4000-8000-{'0' * 12}/", headers=token).status_code
                == 404
            )
            assert browser.get("/portal/devices/").status_code == 200
            assert browser.get("/portal/calculations/new/?kernel=none").status_code == 404
        assert not reads.held

    @pytest.mark.django_db
    def test_a_page_says_so(self) -> None:
        owner = factories.owner()
        browser = Client()
        browser.force_login(owner)
        held = self.get(owner)
        answer = browser.get("/portal/devices/", headers={"Accept": "text/html"})
        assert (answer.status_code, answer["Retry-After"]) == (429, "1")
        assert "READS_AT_ONCE" in answer.content.decode()
        # Another person is not refused, and what changes something is counted as well.
        reads.release(self.get(factories.stranger()), answer)
        with pytest.raises(LimitReached):
            reads.hold(RequestFactory().post("/"), owner)
        reads.release(held, answer)

    @pytest.mark.django_db
    def test_a_streamed_answer_is_held_until_it_is_sent(self) -> None:
        owner = factories.owner()
        response = StreamingHttpResponse(iter([b"a"]))
        reads.release(self.get(owner), response)
        with pytest.raises(LimitReached):
            self.get(owner)
        response.close()


@pytest.mark.django_db
class TestTimeouts:
    @pytest.fixture(autouse=True)
    def _brief(self, settings: Any) -> None:
        """Until the test's transaction is rolled back."""
        settings.STATEMENT_SECONDS, settings.LOCK_SECONDS = 1, 7
        statements.set_timeouts(connection)

    def test_a_statement_that_takes_too_long_is_a_503_by_name(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == ("7s",)
            with pytest.raises(OperationalError) as caught, transaction.atomic():
                cursor.execute("SELECT pg_sleep(30)")
        answer = problem_response(caught.value, {})
        assert answer is not None
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
        assert b"more than 1 s (STATEMENT_SECONDS)" in answer.content
        request = RequestFactory().get("/portal/devices/", headers={"Accept": "text/html"})
        page = database_is_away(request, caught.value)
        assert (page.status_code, page["Retry-After"]) == (503, "5")
        assert "STATEMENT_SECONDS" in page.content.decode()


def test_strangers_have_one_share_and_readings_none() -> None:
    shares = Shares()

    def share(path: str, *headers: tuple[bytes, bytes], method: str = "GET") -> Any:
        return shares.of({"path": path, "method": method, "headers": list(headers)})

    strangers = share("/schema/")
    assert share("/devices/", (b"host", b"here")) is strangers
    assert share("/devices/", (b"authorization", b"Token a")) is not strangers
    assert isinstance(share("/data", method="POST"), nullcontext)
