"""The pages of activity in a real browser."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.pages.browser import (
    Account,
    Visit,
    is_drawn,
)
from tests.support.portal import Person, Portal

pytestmark = pytest.mark.browser


@pytest.fixture
def active(portal: Portal, owner: Person) -> Person:
    """The owner: two days of log-ins, comments on a post and on one that was deleted."""
    fields = {"name": "Notes", "description": "", "owner": owner.login}
    blog = portal.made("/api/blogs/", owner.token, fields)["id"]
    fields = {"blog": blog, "author": owner.login, "header": "Frost & <fog>", "text": ""}
    kept, gone = (portal.made("/api/posts/", owner.token, fields)["id"] for _ in range(2))
    events = [
        *(("login", f"2026-05-0{day}T08:00:00Z", None) for day in (1, 1, 4)),
        *(("comment", "2026-05-01T09:00:00Z", post) for post in (kept, gone, gone)),
    ]
    receipt = portal.made(
        "/api/activity/",
        portal.admin_token,
        [
            # The same id in each test: stored once.
            {"login": owner.login, "event": event, "at": at, "id": f"{number}-{post}", "object_id": post}
            for number, (event, at, post) in enumerate(events)
        ],
    )
    assert receipt["accepted"] == len(events)
    portal.request("DELETE", f"/api/posts/{gone}", token=owner.token)
    return owner


MAY = "start=2026-05-01&end=2026-06-01"


def test_staff_see_the_activity_of_a_person(visit: Visit, admin_account: Account, active: Person) -> None:
    page = visit(admin_account)
    page.get_by_role("link", name="Activity").click()
    page.get_by_label("Login").fill(active.login)
    page.get_by_label("From").fill("2026-05-01")
    page.get_by_label("To, not included").fill("2026-06-01")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("heading", name=f"Activity of {active.login}")).to_be_visible()
    days = page.locator("[aria-labelledby=days-title] .list tbody tr")
    expect(days).to_have_count(2)
    expect(days.first).to_contain_text("2026-05-04")
    expect(days.last.locator("td").first).to_have_text("2")
    posts = page.locator("[aria-labelledby=commented-title] .list tbody")
    expect(posts).to_contain_text("Frost & <fog>")
    expect(posts).to_contain_text("deleted")
    assert is_drawn(page)
    with page.expect_download() as download:
        page.locator("[aria-labelledby=days-title]").get_by_role("link", name="CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines == ["date,logins,logouts,blog_actions", "2026-05-01,2,0,0", "2026-05-04,1,0,0"]
    page.get_by_role("button", name="7 days").click()
    expect(page.get_by_label("Login")).to_have_value(active.login)
    expect(page.get_by_text("2026-05-04")).to_have_count(0)
    expect(page.get_by_label("From")).not_to_have_value("2026-05-01")
    expect(page.get_by_label("To, not included")).to_have_value("")
    page.goto("/portal/activity/?login=nobody")
    expect(page.get_by_text("There is no such user.")).to_be_visible()


def test_an_owner_sees_the_own_activity_and_nobody_elses(
    portal: Portal, visit: Visit, owner_account: Account, active: Person
) -> None:
    page = visit(owner_account)
    page.goto(f"/portal/activity/?{MAY}")
    expect(page.get_by_role("heading", name=f"Activity of {active.login}")).to_be_visible()
    expect(page.get_by_label("Login")).to_have_count(0)
    expect(page.locator("[aria-labelledby=days-title] .list tbody tr")).to_have_count(2)
    for login in (portal.admin_login, "nobody"):
        assert page.goto(f"/portal/activity/?login={login}").status == 404


def test_activity_works_without_scripts(
    visit_without_scripts: Visit, owner_account: Account, active: Person
) -> None:
    page = visit_without_scripts(owner_account)
    page.goto(f"/portal/activity/?{MAY}")
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.get_by_text("Drag to zoom")).to_be_hidden()
    expect(page.locator("[aria-labelledby=days-title] .list tbody tr")).to_have_count(2)
    page.get_by_role("button", name="Everything").click()
    expect(page.get_by_text("2026-05-04")).to_be_visible()
