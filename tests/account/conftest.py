import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def uncounted(settings) -> None:
    """Forget attempts of earlier tests; hash passwords quickly, as these tests try hundreds."""
    cache.clear()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def mail(settings, mailoutbox):
    settings.MAIL_IS_SET_UP = True
    return mailoutbox
