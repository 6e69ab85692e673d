"""Every page × every kind of caller × rows that are own, foreign, deleted or missing."""

import pytest

from tests.matrix.administration import admin_pages
from tests.matrix.callers import callers
from tests.matrix.cells import differences, page_routes, strange_parts, without_entry
from tests.matrix.pages import pages
from tests.matrix.stage import Stage

pytestmark = pytest.mark.django_db(databases=["default", "activity"])


def test_every_page_has_its_line() -> None:
    assert without_entry(page_routes(), [*pages(), *admin_pages()]) == set()


def test_every_page(stage: Stage) -> None:
    everybody, routes = callers(stage), list(pages())
    found = differences(stage, everybody, routes) + strange_parts(stage, everybody, routes)
    assert found == [], "\n".join(found)


def test_every_page_of_django_admin(stage: Stage) -> None:
    found = differences(stage, callers(stage), list(admin_pages()))
    assert found == [], "\n".join(found)
