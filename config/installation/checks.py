"""Names weak settings: `manage.py check` prints them, and `web` logs them when it starts."""

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

from config.environment import is_loopback

# Random text of 32 characters has more.
LEAST_DIFFERENT = 10
LEAST_PASSWORD = 12


@register(Tags.security)
def weak_settings(*_: object, **__: Any) -> list[CheckMessage]:
    """The demo's are weak on purpose."""
    found: Iterable[tuple[str, str]] = () if settings.DEMO else weaknesses()
    return [Warning(text, id=f"plumbline.{number}") for number, text in found]


def weaknesses() -> Iterator[tuple[str, str]]:
    secrets = {name: getattr(settings, name) for name in ("SECRET_KEY", "TOKEN_PEPPER")}
    for name, value in secrets.items():
        if len(set(value)) < LEAST_DIFFERENT or value.startswith("django-insecure-"):
            yield "W001", f"{name} is no random text: whoever guesses it makes sessions or tokens."
    if settings.SECRET_KEY == settings.TOKEN_PEPPER:
        yield "W002", "SECRET_KEY and TOKEN_PEPPER are the same: draw one for each."
    if "*" in settings.ALLOWED_HOSTS:
        yield "W003", "ALLOWED_HOSTS is *: links in mails go wherever a request's Host header says."
    if settings.HTTPS and not settings.TRUSTED_PROXIES:
        yield (
            "W006",
            "HTTPS needs a proxy and TRUSTED_PROXIES is 0: all people have its address, and one of them who"
            " guesses passwords locks out everybody.",
        )
    if not is_loopback(settings.REDIS_URL) and not settings.REDIS_URL.startswith("rediss://"):
        yield "W004", "REDIS_URL has no TLS: the network between must be closed to others."
    for name in ("DATABASE_URL", "ACTIVITY_URL", "READINGS_URL", "REDIS_URL"):
        parts = urlsplit(getattr(settings, name))
        password = parts.password or ""
        if password and (len(password) < LEAST_PASSWORD or password == parts.username):
            yield (
                "W005",
                f"{name} has a weak password: draw one of {LEAST_PASSWORD} characters or more.",
            )
    if not settings.SECURITY_CONTACT:
        yield "W007", "SECURITY_CONTACT is empty: who finds a weakness is not told where to report it."
