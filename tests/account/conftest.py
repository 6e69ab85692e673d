import pytest

from users.trail import notes


@pytest.fixture(autouse=True)
def quick_hashes(settings) -> None:
    """These tests try hundreds of passwords."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def uncounted() -> None:
    """Forget what earlier tests were refused: the trail gets the first of each."""
    notes.tally.take()


@pytest.fixture
def mail(settings, mailoutbox):
    settings.MAIL_IS_SET_UP = True
    return mailoutbox
