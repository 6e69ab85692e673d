"""The page of the trail in a browser: what was changed is there, and its links narrow it."""

import pytest
from playwright.sync_api import expect

from tests.pages.browser import Account, Visit
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser


def test_an_admin_finds_who_changed_a_device(
    portal: Portal, visit: Visit, admin_account: Account, owner: Person, device: Sender
) -> None:
    name = f"Pump of {owner.login}"
    portal.request("PATCH", f"/devices/{device.id}/", token=owner.token, json={"name": name})
    page = visit(admin_account, viewport={"width": 390, "height": 800})
    page.goto("/portal/trail/")
    page.get_by_label("Which").fill(name)
    page.get_by_role("button", name="Show").click()
    row = page.locator(".trail tbody tr").first
    expect(row).to_contain_text(owner.login)
    expect(row.locator("ins")).to_have_text(name)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # The device's own link shows its key as well.
    row.get_by_role("link", name=name).click()
    expect(page.locator(".trail")).to_contain_text("Device key")
    with page.expect_download() as download:
        page.get_by_role("link", name="File (CSV)").click()
    assert name in download.value.path().read_text()
