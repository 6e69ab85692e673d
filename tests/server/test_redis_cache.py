"""Answers with values cached in Redis are the same when Redis was flushed, is away or hangs."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.test import Client

from analytics.analyses.serializers import TASK
from devices.models import Device
from tests.support import factories
from tests.support.portal import Person, Portal, Sender
from users import redis_cache

pytestmark = pytest.mark.django_db
cache = caches["redis"]


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()
    redis_cache.paused_until = 0.0


@pytest.fixture
def away(settings) -> None:
    """A Redis that refuses connections."""
    redis = settings.CACHES["redis"] | {"LOCATION": "unix:///nowhere/redis.sock"}
    settings.CACHES = settings.CACHES | {"redis": redis}


def listed() -> tuple[int, int]:
    """Number of devices in the list, and its total."""
    staff = factories.colleague()
    response = Client().get("/devices/", headers={"Authorization": f"Token {factories.token(staff)[1]}"})
    return len(response.json()), int(response["X-Total-Count"])


class TestCached:
    def test_a_value_is_made_once(self) -> None:
        made: list[int] = []

        def make() -> dict:
            made.append(1)
            return {"text": "é", "number": 0.1, "none": None}

        first, second = (redis_cache.cached("a", 60, make) for _ in range(2))
        assert first == second == {"text": "é", "number": 0.1, "none": None}
        assert len(made) == 1

    def test_after_a_flush_it_is_made_again(self) -> None:
        assert redis_cache.cached("a", 60, lambda: 1) == 1
        cache.clear()
        assert redis_cache.cached("a", 60, lambda: 2) == 2

    def test_without_redis_it_is_made_each_time(self, away) -> None:
        assert [redis_cache.cached("a", 60, lambda n=n: n) for n in (1, 2)] == [1, 2]

    def test_a_redis_that_failed_is_left_alone_for_a_while(self, away, caplog) -> None:
        for _ in range(3):
            redis_cache.cached("a", 60, lambda: 1)
        assert len(caplog.records) == 1
        assert redis_cache.paused_until > time.monotonic()

    def test_it_is_stored_as_json(self) -> None:
        redis_cache.remember("a", ["é", 1], 60)
        stored = cache._cache.get_client(None).get(cache.make_key("a"))
        assert json.loads(stored) == ["é", 1]


class TestCounts:
    def test_a_small_total_has_a_row_at_once(self) -> None:
        factories.device()
        assert listed() == (1, 1)
        factories.device()
        assert listed() == (2, 2)

    def test_a_large_total_may_be_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_cache, "LARGE_COUNT", 2)
        for _ in range(2):
            factories.device()
        assert redis_cache.cached_count(Device.objects.all()) == 2
        factories.device()
        assert redis_cache.cached_count(Device.objects.all()) == 2
        # What another person may see, or another filter, is another count.
        assert redis_cache.cached_count(Device.objects.filter(is_active=True)) == 3
        for strange in ("many", -1, 1.5, None, [7]):
            redis = cache._cache.get_client(None)
            for key in redis.scan_iter():
                redis.set(key, json.dumps(strange))
            assert redis_cache.cached_count(Device.objects.all()) == 3

    def test_no_rows_by_the_query_itself(self) -> None:
        assert redis_cache.cached_count(Device.objects.none()) == 0

    def test_without_redis_lists_have_their_totals(self, away) -> None:
        factories.device()
        assert listed() == (1, 1)


def test_the_openapi_document_is_cached_and_the_same_without_redis(settings) -> None:
    made = Client().get("/schema/").json()
    assert cache._cache.get_client(None).keys("*openapi-*")  # type: ignore[attr-defined]
    assert Client().get("/schema/").json() == made
    cache.clear()
    assert Client().get("/schema/").json() == made


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "1e999", '"text"', "[1e308, [1, 2, 99999999999]]", "[-1, [400]]"]
)
def test_what_somebody_else_wrote_is_a_miss(text: str) -> None:
    """Not an error 500, whoever can write to Redis."""
    device = factories.device()
    factories.readings(device, [(1, 2, 3)] * 20)
    for path in ("/schema/", f"/devices/{device.uuid}/"):
        made = ask(path)
        for key in cache._cache.get_client(None).keys("*"):  # type: ignore[attr-defined]
            cache._cache.get_client(None).set(key, text)  # type: ignore[attr-defined]
        assert ask(path) == made


def ask(path: str) -> Any:
    return (
        Client()
        .get(path, headers={"Authorization": f"Token {factories.token(factories.colleague())[1]}"})
        .json()
    )


def test_lists_and_documents_answer_while_redis_hangs(portal: Portal, owner: Person, device: Sender) -> None:
    with portal.frozen("redis"):
        assert [each["id"] for each in portal.get("/devices/", owner.token)] == [device.id]
        assert portal.get("/schema/")["openapi"].startswith("3.1.")
    portal.wait_until_ready()


@pytest.mark.parametrize("query", [{"bucket": "hour"}, {}], ids=["buckets", "fleet"])
def test_a_large_result_is_the_same_while_redis_hangs(
    portal: Portal, owner: Person, device: Sender, query: dict[str, str]
) -> None:
    portal.post_reading(device, x=0.1, y=1e-7, z=-3)
    target = f"/devices/{device.id}" if query else f"/users/{owner.id}"
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    task_id = portal.ask(f"{target}/analytics/", owner.token, end=end, **query)
    made = portal.wait_for_task(task_id, owner.token)
    assert made["status"] == "SUCCESS"
    assert set(made) == set(TASK) | {"progress", "stale"}
    assert portal.get(f"/tasks/{task_id}/", owner.token) == made
    with portal.frozen("redis"):
        assert portal.get(f"/tasks/{task_id}/", owner.token) == made
    portal.post_reading(device, x=5, y=5, z=5)
    assert portal.get(f"/tasks/{task_id}/", owner.token) == made | {"stale": True}
    stranger = portal.new_user()
    assert portal.request("GET", f"/tasks/{task_id}/", token=stranger.token).status_code == 404
