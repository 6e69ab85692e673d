"""Every operation of the API × every kind of caller × rows that are own, foreign, deleted or missing."""

import pytest

from tests.matrix.callers import callers
from tests.matrix.cells import api_routes, differences, strange_parts, without_entry
from tests.matrix.operations import operations
from tests.matrix.stage import Stage

pytestmark = pytest.mark.django_db(databases=["default", "activity"])


def test_every_operation_has_its_line() -> None:
    assert without_entry(api_routes(), operations()) == set()


def test_every_operation(stage: Stage) -> None:
    everybody, routes = callers(stage), list(operations())
    found = differences(stage, everybody, routes) + strange_parts(stage, everybody, routes)
    assert found == [], "\n".join(found)
