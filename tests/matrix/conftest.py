import logging
from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from tests.matrix.stage import Stage


@pytest.fixture
def stage(db: None, settings: LazySettings) -> Iterator[Stage]:
    """A stage on which staff need a second factor."""
    settings.STAFF_NEED_SECOND_FACTOR = True
    # Everybody has one address here.
    settings.ACCOUNT_RATE_LIMITS = False
    # Refusals are logged, which takes as long as the refusals.
    logging.disable(logging.ERROR)
    yield Stage()
    logging.disable(logging.NOTSET)
