import pytest
from django.core.cache import cache
from django.test import Client

from tests.support import factories
from users.backends import MAX_FAILURES
from users.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough password"


@pytest.fixture
def ada() -> User:
    cache.clear()
    user = factories.owner()
    user.set_password(PASSWORD)
    user.save()
    return user


def is_let_in(login: str, password: str, *, page: str = "/portal/login/", address: str = "127.0.0.1") -> bool:
    answer = Client(REMOTE_ADDR=address).post(page, {"username": login, "password": password})
    return answer.status_code == 302


@pytest.mark.parametrize("page", ["/portal/login/", "/admin/login/"])
def test_right_password_is_refused_after_too_many_wrong_ones(ada, page):
    for _ in range(MAX_FAILURES):
        assert not is_let_in(ada.login, "wrong", page=page)
    assert not is_let_in(ada.login.upper(), PASSWORD)


def test_other_addresses_are_not_throttled(ada):
    for _ in range(MAX_FAILURES):
        is_let_in(ada.login, "wrong")
    assert is_let_in(ada.login, PASSWORD, address="127.0.0.2")


def test_fewer_wrong_passwords_do_no_harm(ada):
    for _ in range(MAX_FAILURES - 1):
        is_let_in(ada.login, "wrong")
    assert is_let_in(ada.login, PASSWORD)


def test_log_in_works_without_redis(ada, settings):
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "unix:///nowhere.sock"}}
    assert not is_let_in(ada.login, "wrong")
    assert is_let_in(ada.login, PASSWORD)
