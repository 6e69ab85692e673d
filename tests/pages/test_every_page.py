"""Each page that links lead to, as an admin: it asks no other host, keeps the policy, and writes no error."""

import re
from collections import deque
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.pages.browser import Account, Visit, device_path
from tests.support.portal import Person, Portal, Sender, eventually

pytestmark = pytest.mark.browser

STARTS = ("/portal/", "/admin/", "/docs", "/redoc", "/portal/login/", "/nothing", "/portal/nothing/")
# At least these are found; `{}` stands for an id.
EXPECTED = {
    "/admin/",
    "/admin/devices/device/",
    "/admin/devices/device/{}/change/",
    "/admin/users/user/add/",
    "/docs",
    "/portal/activity/",
    "/portal/analyses/",
    "/portal/analyses/{}/",
    "/portal/calculations/",
    "/portal/calculations/{}/",
    "/portal/devices/",
    "/portal/devices/{}/",
    "/portal/devices/{}/exclusions/",
    "/portal/import/",
    "/portal/trail/",
    "/redoc",
}
ID = re.compile(r"(?<=/)([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+)(?=/|$)")
# After logging out there is little to see.
PAGES = re.compile(r"/(portal|admin)/(?!logout)(?!.*\.csv$)|/(docs|redoc)$")
MOST_PAGES = 200
DEVICE_PAGE_BYTES = 120 * 1024


@pytest.fixture
def something_of_each_kind(portal: Portal, owner: Person, device: Sender) -> None:
    task_id = portal.ask(f"/users/{owner.id}/analytics/", owner.token, bucket="day", percentiles="5,95")
    portal.wait_for_task(task_id, owner.token)
    body = {"date_start": "2026-01-01", "date_fin": "2026-03-01", "lag": 1}
    run = portal.made("/calculations/", portal.admin_token, body)["id"]
    eventually(lambda: portal.get(f"/calculations/{run}/")["status"] == "finished")
    body = {"start": "2026-11-20T08:00:00Z", "end": "2026-11-20T09:00:00Z", "reason": "Cleaning"}
    portal.made(f"/devices/{device.id}/exclusions/", portal.admin_token, body)


def kind(url: str) -> str:
    """The path of a page with `{}` for ids: pages of one kind are visited once."""
    return ID.sub("{}", urlsplit(url).path)


def links(page: Page, origin: str) -> list[str]:
    found = page.locator("a[href]:not([download])").evaluate_all(
        "all => all.map(a => a.getAttribute('href'))"
    )
    urls = [urljoin(page.url, href) for href in found]
    return [url for url in urls if url.startswith(f"{origin}/") and PAGES.match(urlsplit(url).path)]


def test_every_page(
    portal: Portal, visit: Visit, admin_account: Account, something_of_each_kind: None
) -> None:
    page = visit(admin_account)
    waiting = deque(f"{portal.url}{path}" for path in STARTS)
    visited: set[str] = set()
    while waiting and len(visited) < MOST_PAGES:
        url = waiting.popleft()
        if kind(url) in visited:
            continue
        visited.add(kind(url))
        response = page.goto(url, wait_until="load")
        assert response.status == (404 if "nothing" in url else 200), url
        waiting.extend(links(page, portal.url))
    assert not waiting or len(visited) < MOST_PAGES
    assert visited >= EXPECTED


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_swagger_ui_follows_the_colour_scheme(visit: Visit, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    page.goto("/docs")
    expect(page.get_by_text("Post one reading of a device").first).to_be_visible()
    red = "selector => Number(getComputedStyle(document.querySelector(selector)).{}.match(/\\d+/)[0])"
    ground = page.evaluate(red.format("backgroundColor"), "main")
    title = page.evaluate(red.format("color"), ".swagger-ui .info .title")
    assert (ground < 60 and title > 180) if scheme == "dark" else (ground > 200 and title < 80)


def test_redoc_searches_without_another_host(visit: Visit) -> None:
    page = visit()
    page.goto("/redoc")
    expect(page.get_by_role("heading", name="Post one reading of a device")).to_be_visible()
    page.get_by_placeholder("Search").fill("exclusion")
    expect(page.locator("[data-role='search:results']")).to_be_visible()


def test_device_page_is_light(visit: Visit, owner_account: Account, device: Sender) -> None:
    """Script and style together, before compression."""
    page = visit(owner_account)
    sizes: dict[str, int] = {}

    def weigh(route: Route) -> None:
        answer = route.fetch()
        sizes[route.request.url] = len(answer.body())
        route.fulfill(response=answer)

    page.route(re.compile(r"\.(css|js)$"), weigh)
    page.goto(device_path(device), wait_until="load")
    assert len(sizes) > 5
    assert sum(sizes.values()) <= DEVICE_PAGE_BYTES, sizes
