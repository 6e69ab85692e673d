"""A GET that starts an analysis needs a token or a form's proof: a link on a foreign page has neither."""

import pytest
from django.test import Client

from analytics.models import Analysis
from tests.support import factories
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner() -> User:
    return factories.owner()


@pytest.fixture
def paths(owner) -> list[str]:
    return [f"/devices/{factories.device(owner).uuid}/analytics/", f"/users/{owner.pk}/analytics/"]


@pytest.fixture
def page(owner) -> Client:
    """A browser with the owner's session, whose CSRF cookie is set."""
    page = Client(enforce_csrf_checks=True)
    page.force_login(owner)
    page.get("/portal/account/")
    return page


def test_a_link_starts_nothing_with_a_session(page, paths):
    for path in paths:
        for headers in ({}, {"X-CSRFToken": "x" * 32}, {"Referer": "https://elsewhere.example/"}):
            refused = page.get(path, headers=headers)
            assert (refused.status_code, "use POST" in refused.json()["detail"]) == (403, True)
    assert not Analysis.objects.exists()


def test_a_script_of_ours_has_the_proof(page, paths):
    headers = {"X-CSRFToken": page.cookies["csrftoken"].value}
    assert [page.get(path, headers=headers).status_code for path in paths] == [202, 202]
    assert [page.post(path, {}, "application/json", headers=headers).status_code for path in paths] == [
        202,
        202,
    ]


def test_a_token_is_proof(owner, paths):
    headers = {"Authorization": f"Token {factories.token(owner, scopes=['read'])[1]}"}
    assert [Client().get(path, headers=headers).status_code for path in paths] == [202, 202]


@pytest.mark.parametrize(
    ("site", "status"),
    [("", 202), ("none", 202), ("same-origin", 202), ("cross-site", 403), ("same-site", 403)],
)
def test_in_an_open_demo_the_browser_says_where_it_came_from(settings, paths, site, status):
    settings.DEMO = True
    factories.admin()
    headers = {"Sec-Fetch-Site": site} if site else {}
    assert [Client().get(path, headers=headers).status_code for path in paths] == [status] * 2
