"""The pages of devices in a real browser: list, live readings, exclusions."""

import re
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, Request, expect

from tests.pages.browser import (
    Account,
    Visit,
    device_path,
    is_drawn,
    same_document,
)
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser


def test_device_list_finds_by_name_and_by_state(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    silent = portal.new_device(owner, name=f"Silent {secrets.token_hex(4)}")
    page = visit(owner_account)
    row = page.get_by_role("row").filter(has=page.locator(f'a[href="{device_path(device)}"]'))
    expect(row).to_contain_text("On time")
    expect(row).to_contain_text("x -1234.57")
    page.get_by_label("Search").fill("silent")
    page.get_by_role("button", name="Search").click()
    expect(row).to_have_count(0)
    expect(page.locator(f'a[href="{device_path(silent)}"]')).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Silent").first).to_contain_text("New")
    page.get_by_label("State").select_option("On time")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No device matches.")).to_be_visible()
    page.get_by_role("link", name="Show all devices").click()
    expect(row).to_be_visible()


def test_device_list_says_what_it_cannot_filter_by(visit: Visit, owner_account: Account) -> None:
    page = visit(owner_account)
    page.goto("/portal/devices/?profile=unknown")
    expect(page.get_by_role("alert")).to_contain_text("profile")


def test_owner_sees_own_devices_only(
    portal: Portal, visit: Visit, owner_account: Account, admin_account: Account
) -> None:
    foreign = portal.new_device(portal.new_user(), name=f"Foreign {secrets.token_hex(4)}")
    page = visit(owner_account)
    expect(page.locator("main")).not_to_contain_text("Foreign")
    assert page.goto(device_path(foreign)).status == 404
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    page.get_by_role("link", name="Go to the devices").click()
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    assert visit(admin_account).goto(device_path(foreign)).status == 200


def test_device_page_follows_new_readings(
    portal: Portal, visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.goto(device_path(device))
    rows = page.locator("[data-readings] tr")
    expect(rows).to_have_count(3)
    expect(page.get_by_text("3 readings, the latest.")).to_be_visible()
    assert is_drawn(page)
    with same_document(page):
        time = datetime(2026, 7, 1, 10, 0, 0, 123_456, tzinfo=UTC)
        # A second reading with the same stamp counts; a repeated answer does not make it a third.
        for value in (42.125, 43.0):
            portal.post_reading(device, x=value, y=2.0, z=3.0, timestamp=time.isoformat())
        now = datetime.now(UTC).isoformat()
        for value in (44.5, 45.5):
            portal.post_reading(device, x=value, y=2.0, z=3.0, timestamp=now)
        # Either of two readings with one stamp may be the last.
        expect(page.locator('[data-value="x"]')).to_have_text(re.compile(r"4[45]\.5"))
        expect(page.locator("[data-state]")).to_have_text("On time")
        expect(rows).to_have_count(7)
        expect(rows.last).to_contain_text("2026-07-01 12:00:00 +02:00")
        expect(rows.last.locator("time")).to_have_attribute(
            "title", "2026-07-01 12:00:00.123456 +02:00, Europe/Berlin"
        )
    page.reload()
    expect(rows).to_have_count(7)
    expect(rows.last).to_contain_text("2026-07-01 12:00:00 +02:00")


def test_device_without_readings_says_how_to_post_the_first(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    silent = portal.new_device(owner, profile="scalar")
    page = visit(owner_account)
    page.goto(device_path(silent))
    expect(page.get_by_text(f"/devices/{silent.id}/stats/")).to_be_visible()
    portal.post_reading(silent, value=-0.25)
    expect(page.locator("[data-readings] tr")).to_have_count(1)
    expect(page.get_by_text(f"/devices/{silent.id}/stats/")).to_have_count(0)
    assert is_drawn(page)


def test_earlier_readings_come_on_demand(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    sender = portal.new_device(owner, profile="scalar")
    first = datetime(1999, 5, 1, tzinfo=UTC)
    portal.load(sender, ((first + timedelta(minutes=minute), [float(minute)]) for minute in range(1500)))
    page = visit(owner_account)
    asked: list[Request] = []

    # Playwright takes no method of a list.
    def note(request: Request) -> None:
        asked.append(request)

    page.on("request", note)
    page.goto(device_path(sender))
    expect(page.get_by_text("1000 readings, the latest.")).to_be_visible()
    page.get_by_role("button", name="Earlier readings").click()
    expect(page.get_by_text("1500 readings, the latest.")).to_be_visible()
    expect(page.get_by_role("button", name="Earlier readings")).to_be_hidden()
    # What the page asks by itself does not keep the session, what a person asks for does.
    by_itself = ["plumbline-poll" in request.headers for request in asked if "/stats/" in request.url]
    assert (by_itself[0], by_itself.count(False)) == (True, 1)


def test_following_pauses_and_resumes(
    portal: Portal, visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.clock.install()
    page.goto(device_path(device))
    pause = page.get_by_role("button", name="Pause")
    expect(page.locator("[data-readings] tr")).to_have_count(3)
    expect(page.get_by_label("Statistics of what is shown")).to_have_attribute("aria-busy", "false")
    asked: list[str] = []
    pause.click()
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(60_000)
    assert asked == []
    hide(page, True)
    pause.click()
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request(re.compile(rf"/stats/{device.id}/\?start=")):
        hide(page, False)


def hide(page: Page, is_hidden: bool) -> None:
    """Hide or show the page, as another tab in front of it does."""
    page.evaluate(
        """isHidden => {
            Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


def test_lost_connection_is_shown_until_it_is_back(
    visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.goto(device_path(device))
    expect(page.get_by_text("3 readings, the latest.")).to_be_visible()
    page.context.set_offline(True)
    expect(page.get_by_text("The server does not answer.")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_text("The server does not answer.")).to_have_count(0)


def test_one_reading_is_excluded_from_its_row(
    portal: Portal, visit: Visit, visit_without_scripts: Visit, admin_account: Account, device: Sender
) -> None:
    """Exclude the newest with scripts, then the oldest without."""
    for page, row, left in ((visit(admin_account), 0, 2), (visit_without_scripts(admin_account), 2, 1)):
        page.goto(device_path(device))
        if left == 2:
            expect(page.get_by_text("3 readings, the latest.")).to_be_visible()
        page.locator("[data-readings] tr").nth(row).get_by_role("link", name="Exclude").click()
        page.get_by_label("Reason").fill("Spike")
        page.get_by_role("button", name="Exclude").click()
        expect(page.get_by_role("button", name="Lift").first).to_be_visible()
        page.goto(device_path(device))
        expect(page.locator("[data-readings]").get_by_role("link", name="Exclude")).to_have_count(left)
        expect(page.locator("[data-readings] .excluded")).to_have_count(3 - left)


def test_owner_sees_what_is_excluded_and_no_buttons(
    portal: Portal, visit: Visit, owner_account: Account, device: Sender
) -> None:
    period = {"start": "2026-01-01", "end": "9998-01-01", "reason": "Cleaning"}
    portal.made(f"/devices/{device.id}/exclusions/", portal.admin_token, period)
    page = visit(owner_account)
    page.goto(device_path(device))
    expect(page.locator("[data-readings] .excluded")).to_have_count(3)
    page.get_by_role("link", name="Exclusions").click()
    expect(page.get_by_role("row").filter(has_text="Cleaning")).to_contain_text("by admin")
    for name in ("Exclude", "Lift"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
