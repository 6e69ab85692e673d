import pytest


@pytest.fixture(autouse=True)
def quick_hashes(settings) -> None:
    """These tests try hundreds of passwords."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def mail(settings, mailoutbox):
    settings.MAIL_IS_SET_UP = True
    return mailoutbox
