"""A page of a list is bounded in what its rows have, and its links lead through all of them."""

import re
from typing import Any

import pytest
from django.test import Client

from analytics.analyses import api
from config import rest_defaults
from tests.support import factories
from tests.support.factories import NOON

pytestmark = pytest.mark.django_db
# Two rows of three channels, and one of one.
WEIGHT = 7


def walk(client: Client, path: str, way: str) -> list[list[Any]]:
    """The ids on each page along the links of this name, and the last page's other links."""
    pages, url = [], path
    while url:
        answer = client.get(url)
        assert answer.status_code == 200
        pages.append([row.get("id") or row["name"] for row in answer.json()])
        links = {name: link for link, name in re.findall(r'<([^>]*)>; rel="(\w+)"', answer["Link"])}
        url, last = links.get(way, ""), url
    return [*pages, [last]]


@pytest.fixture
def client() -> Client:
    return Client(headers={"Authorization": f"Token {factories.token(factories.admin())[1]}"})


@pytest.mark.parametrize("path", ["/devices/", "/profiles/"])
def test_a_page_ends_early(client: Client, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        factories.device(profile=factories.profile(f"profile-{number}"))
    factories.device(profile=factories.profile("wide", [f"channel_{number}" for number in range(9)]))
    *[whole], _ = walk(client, path, "next")
    monkeypatch.setattr(rest_defaults, "MOST_WEIGHT", WEIGHT)
    *pages, [last] = walk(client, path, "next")
    assert [row for page in pages for row in page] == whole
    assert all(len(page) <= 3 for page in pages)
    # A row that is too much by itself has a page of its own.
    assert pages[-1] == whole[-1:]
    *back, _ = walk(client, last, "prev")
    assert [row for page in reversed(back) for row in page] == whole
    assert all(len(page) <= 3 for page in back)


def test_a_chart_of_many_channels_has_fewer_points(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    device = factories.device()
    factories.readings(device, [(1, 2, 3)] * 50, NOON)
    monkeypatch.setattr(api, "MOST_POINTS_OF_CHANNELS", 30)
    series = client.get(f"/devices/{device.uuid}/series/?points=40").json()
    assert series["points"] == 10
    assert len(series["starts"]) <= 10
