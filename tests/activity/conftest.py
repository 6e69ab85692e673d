import pytest

from tests.support import factories
from users.models import User


@pytest.fixture
def ada() -> User:
    return factories.owner(login="ada")
