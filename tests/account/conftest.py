import secrets

import pytest


@pytest.fixture(autouse=True)
def uncounted(settings) -> None:
    """Forget attempts of earlier tests; hash passwords quickly, as these tests try hundreds.

    The cache itself is not emptied: tests in another process count in the same.
    """
    settings.CACHES = {"default": settings.CACHES["default"] | {"KEY_PREFIX": secrets.token_hex(4)}}
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def mail(settings, mailoutbox):
    settings.MAIL_IS_SET_UP = True
    return mailoutbox
