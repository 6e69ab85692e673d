"""Settings that would start but should not be used: refused, or named by a check and in the log of `web`."""

import os
import subprocess
import sys

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command

from config.environment import former_secrets, redis_url
from config.installation.checks import weak_settings
from tests.product.test_settings import COMPLETE

STRONG = {
    "SECRET_KEY": "kX2v-9QmT4wz_LbN7cRfY1sJ0dHgA5eU",
    "TOKEN_PEPPER": "aD8r-3PnW6uy_KxM2vTgZ9qE4bLcS7hF",
    "ALLOWED_HOSTS": ["plumbline.example"],
    "DATABASE_URL": "postgresql://plumbline:e5f0c1a9b7d2@postgres/plumbline",
    "REDIS_URL": "rediss://:e5f0c1a9b7d2@redis:6379",
    "HTTPS": True,
    "TRUSTED_PROXIES": 1,
    "SECURITY_CONTACT": ["mailto:security@plumbline.example"],
}


class TestRedis:
    @pytest.mark.parametrize(
        "url",
        [
            *("redis://localhost", "redis://127.0.0.1:6380/0", "redis://[::1]", "unix:///run/redis.sock"),
            *("redis://:secret@redis:6379", "rediss://user:secret@redis"),
            "rediss://redis?ssl_certfile=/certificate.pem",
        ],
    )
    def test_one_on_this_computer_or_with_a_password_is_taken(self, monkeypatch, url):
        monkeypatch.setenv("REDIS_URL", url)
        assert redis_url("REDIS_URL") == url

    @pytest.mark.parametrize(
        "url", ["redis://redis:6379", "rediss://redis", "redis://user@10.0.0.5", "redis://[x"]
    )
    def test_one_elsewhere_without_a_password_is_refused_by_name(self, monkeypatch, url):
        monkeypatch.setenv("REDIS_URL", url)
        with pytest.raises(ImproperlyConfigured, match="REDIS_URL"):
            redis_url("REDIS_URL")
        monkeypatch.setenv("PLUMBLINE_DEMO", "1")
        if "[x" not in url:
            assert redis_url("REDIS_URL") == url


class TestNamed:
    @pytest.fixture(autouse=True)
    def strong(self, settings) -> None:
        for name, value in STRONG.items():
            setattr(settings, name, value)

    def named(self) -> list[str]:
        return [warning.id for warning in weak_settings()]

    def test_strong_ones_are_not(self):
        assert self.named() == []

    @pytest.mark.parametrize(
        ("name", "value", "number"),
        [
            ("SECRET_KEY", "s" * 40, "W001"),
            ("SECRET_KEY", "django-insecure-kX2v-9QmT4wz_LbN7cRfY1sJ0dHgA5eU", "W001"),
            ("TOKEN_PEPPER", "changeme" * 5, "W001"),
            ("TOKEN_PEPPER", STRONG["SECRET_KEY"], "W002"),
            ("ALLOWED_HOSTS", ["*"], "W003"),
            ("REDIS_URL", "redis://:e5f0c1a9b7d2@redis:6379", "W004"),
            ("REDIS_URL", "rediss://:redis@redis:6379", "W005"),
            ("DATABASE_URL", "postgresql://plumbline:plumbline@postgres/plumbline", "W005"),
            ("TRUSTED_PROXIES", 0, "W006"),
            ("SECURITY_CONTACT", [], "W007"),
        ],
    )
    def test_weak_ones_are_and_the_demos_are_not(self, settings, name, value, number):
        setattr(settings, name, value)
        assert self.named() == [f"plumbline.{number}"]
        assert value == 0 or str(value) not in str(weak_settings())
        settings.DEMO = True
        assert self.named() == []


def test_former_secrets_are_listed_and_short_ones_refused(monkeypatch):
    monkeypatch.setenv("SECRET_KEY_FALLBACKS", f"{'a' * 32}, {'b' * 32}")
    assert former_secrets("SECRET_KEY_FALLBACKS") == ["a" * 32, "b" * 32]
    monkeypatch.setenv("SECRET_KEY_FALLBACKS", "short")
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY_FALLBACKS"):
        former_secrets("SECRET_KEY_FALLBACKS")


@pytest.mark.parametrize(("https", "prefix"), [("1", "__Host-"), ("0", "")])
def test_cookies_are_of_this_host_alone_under_tls(https, prefix):
    """A browser takes such a cookie only over TLS, from the host itself and for all its paths."""
    code = "from config import settings; print(settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME)"
    env = COMPLETE | {"HTTPS": https, "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=django_settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [f"{prefix}sessionid", f"{prefix}csrftoken"]


def test_the_web_server_logs_them_when_it_starts(monkeypatch, caplog, settings):
    settings.ALLOWED_HOSTS = ["*"]
    monkeypatch.setattr("uvicorn.run", lambda *_, **__: None)
    monkeypatch.setattr("devices.access.credential_changes.share", lambda: None)
    call_command("web")
    assert "plumbline.W003 ALLOWED_HOSTS is *" in caplog.text
