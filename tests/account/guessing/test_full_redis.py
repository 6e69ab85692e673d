"""A Redis that is full, or holds what somebody else wrote: what protects accounts is not in it."""

import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from django.conf import settings as django_settings
from django.core.cache import caches
from django.test import Client

from config.celery import app
from tests.account.people import code_of, logged_in, person, set_up_app, try_password
from tests.account.test_second_factor import STEP, is_in
from tests.support.concurrency import own_connection
from users import redis_cache
from users.account.lockout import PAIR_FAILURES


@pytest.fixture
def full() -> Iterator[None]:
    """No write succeeds any more, as in a Redis of `maxmemory` with `noeviction`."""
    with redis.Redis.from_url(django_settings.REDIS_URL) as server:
        server.config_set("maxmemory-policy", "noeviction")
        server.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            server.set("x", 1)
        yield
        server.config_set("maxmemory", 0)
    redis_cache.paused_until = 0.0


@pytest.mark.django_db
class TestFull:
    def test_wrong_passwords_are_counted(self, full):
        ada = person()
        for _ in range(PAIR_FAILURES):
            try_password(ada.login, "wrong")
        assert try_password(ada.login).status_code == 429

    def test_wrong_codes_are_counted(self, full):
        user = person()
        secret = set_up_app(logged_in(user))
        client = Client()
        try_password(user.login, client=client)
        for number in range(5):
            client.post(STEP, {"code": f"{number:06}"})
        client.post(STEP, {"code": code_of(secret)})
        assert not is_in(client)

    def test_pages_do_without_it(self, full):
        assert is_in(logged_in(person()))


class Dangerous:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("/nowhere/at/all",)


class TestForeignValues:
    def test_no_pickle_is_read(self):
        cache = caches["redis"]
        with redis.Redis.from_url(django_settings.CACHE_URL) as server:
            server.set(cache.make_key("a"), pickle.dumps(Dangerous()))
        assert redis_cache.recall("a") is None
        assert redis_cache.recall_many(["a"]) == {}
        assert redis_cache.cached("a", 60, lambda: "made") == "made"
        cache.delete("a")

    def test_tasks_and_results_are_json(self):
        assert {app.conf.task_serializer, app.conf.result_serializer} == {"json"}
        assert list(app.conf.accept_content) == list(app.conf.result_accept_content) == ["json"]
        assert "PickleSerializer" not in django_settings.SESSION_SERIALIZER


@pytest.mark.django_db(transaction=True)
class TestAttemptCache:
    """django-allauth's cache, in PostgreSQL."""

    def test_a_value_lives_as_long_as_it_should(self):
        cache = caches["default"]
        assert cache.get("a", 7) == 7
        cache.set("a", [1.5, 2], 60)
        assert cache.get("a") == [1.5, 2]
        assert not cache.add("a", 1)
        cache.set("a", 1, 0)
        assert cache.get("a") is None
        assert cache.add("a", 2, None)
        assert cache.get("a") == 2
        assert cache.delete("a")
        assert not cache.delete("a")

    def test_of_many_who_add_the_same_one_succeeds(self):
        caches["default"].set("a", 0, -1)
        with ThreadPoolExecutor(6) as threads:
            added = list(threads.map(own_connection(lambda _: caches["default"].add("a", 1, 60)), range(6)))
        assert sorted(added) == [False] * 5 + [True]
