"""Settings of a device in a real browser: changed, its key revoked, deleted and brought back, erased."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.pages.browser import Account, Visit, device_path
from tests.support.portal import Portal, Sender

pytestmark = pytest.mark.browser


def open_settings(page: Page, device: Sender) -> None:
    page.goto(device_path(device))
    page.get_by_label("Of this device").get_by_role("link", name="Settings").click()


def delete(page: Page, device: Sender) -> str:
    """Delete the device from its settings; return its name."""
    open_settings(page, device)
    name = page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("link", name="Delete this device…").click()
    page.get_by_label("Its name, to confirm").fill(name)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Bin")).to_be_visible()
    return name


def test_settings_are_changed_and_faults_told(visit: Visit, owner_account: Account, device: Sender) -> None:
    page = visit(owner_account)
    open_settings(page, device)
    page.get_by_label("Name", exact=True).fill("Pump of the tower")
    page.get_by_label("Expected interval, seconds").fill("60")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings are saved.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pump of the tower")
    page.get_by_label("Time zone").fill("Mars/Base")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("main")).to_contain_text("is not an IANA time zone")
    expect(page.get_by_label("Time zone")).to_have_value("Mars/Base")


def test_a_revoked_key_no_longer_posts(
    portal: Portal, visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    open_settings(page, device)
    page.locator("summary", has_text="Revoke").last.click()
    page.get_by_role("button", name="Revoke for good").click()
    expect(page.get_by_text("no longer works")).to_be_visible()
    answer = portal.request(
        "POST", f"/devices/{device.id}/stats/", json={"x": 1, "y": 2, "z": 3}, device_key=device.key
    )
    assert answer.status_code == 401


def test_a_device_is_deleted_and_brought_back(visit: Visit, owner_account: Account, device: Sender) -> None:
    page = visit(owner_account)
    open_settings(page, device)
    page.get_by_role("link", name="Delete this device…").click()
    expect(page.locator("main")).to_contain_text(re.compile(r"3 readings go with it, from .+ to .+\."))
    page.get_by_label("Its name, to confirm").fill("Another")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Its name is")).to_be_visible()
    name = delete(page, device)
    assert page.goto(device_path(device)).status == 404
    page.goto("/portal/devices/bin/")
    page.get_by_role("button", name=f"Bring back {name}").click()
    expect(page.get_by_text("is back.")).to_be_visible()
    page.get_by_label("Of this device").get_by_role("link", name="Readings").click()
    expect(page.locator("tbody tr")).to_have_count(3)


def test_it_is_erased_for_good_and_its_progress_followed(
    visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    name = delete(page, device)
    page.get_by_text("Erase now").first.click()
    page.get_by_role("button", name="Erase it and its readings for good").click()
    erasures = page.get_by_label("Being erased")
    expect(erasures).to_contain_text(name)
    # Without a reload: maintenance runs every minute.
    expect(erasures).to_contain_text("3 readings deleted", timeout=180_000)
