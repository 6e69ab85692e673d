import pytest

from users.trail import notes


@pytest.fixture(autouse=True)
def uncounted() -> None:
    """Forget what earlier tests were refused."""
    notes.tally.take()
