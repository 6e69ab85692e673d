"""Rules for all pages: content policy, narrow screens, keyboard; and the pages of admin and API."""

import pytest
from playwright.sync_api import expect

from tests.pages.browser import Account, Visit
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser


ADMIN_PAGES = (
    "",
    "activity/blog/",
    "activity/blog/add/",
    "activity/post/",
    "activity/post/add/",
    "activity/log/",
    "activity/eventtype/",
    "analytics/analysis/",
    "analytics/calculation/",
    "django_celery_results/taskresult/",
    "devices/device/",
    "devices/device/add/",
    "devices/deviceprofile/",
    "devices/deviceprofile/add/",
    "devices/devicekey/",
    "devices/devicekey/add/",
    "devices/exclusion/",
    "devices/reading/",
    "users/user/",
    "users/user/add/",
    "users/token/",
    "users/token/add/",
    "axes/accessattempt/",
    "mfa/authenticator/",
)


def test_admin_pages_keep_to_the_policy(visit: Visit, admin_account: Account) -> None:
    page = visit(admin_account)
    for path in ADMIN_PAGES:
        assert page.goto(f"/admin/{path}").status == 200
        expect(page.locator("#site-name")).to_contain_text("Plumbline")
    page.goto("/admin/")
    expect(page.get_by_label("At a glance")).to_contain_text("online now")
    page.get_by_label("Portal").get_by_role("link", name="Devices").click()
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()


def test_admins_page_of_a_device_keeps_to_the_policy(
    portal: Portal, visit: Visit, admin_account: Account, device: Sender
) -> None:
    [(number,)] = portal.query("SELECT id FROM devices_device WHERE uuid = %s", device.id)
    page = visit(admin_account)
    page.goto(f"/admin/devices/device/{number}/change/")
    page.get_by_role("link", name="show").click()
    expect(page.get_by_text("-1234.56789012345")).to_be_visible()


def test_swagger_ui_renders(visit: Visit) -> None:
    page = visit()
    page.goto("/docs")
    expect(page.get_by_text("Post one reading of a device").first).to_be_visible()


def test_redoc_renders(visit: Visit) -> None:
    page = visit()
    page.goto("/redoc")
    expect(page.get_by_role("heading", name="Post one reading of a device")).to_be_visible()


def test_pages_fit_a_narrow_screen(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    options = {"bucket": "month", "percentiles": "5,95"}
    task_id = portal.ask(f"/users/{owner.id}/analytics/", owner.token, **options)
    portal.wait_for_task(task_id, owner.token)
    page = visit(owner_account, viewport={"width": 360, "height": 740})
    analysis = f"analyses/{task_id}/"
    exclusions = f"devices/{device.id}/exclusions/"
    portal.made(
        f"/{exclusions}", portal.admin_token, {"start": "2026-01-01", "end": "2026-01-02", "reason": "-"}
    )
    for path in (
        "devices/",
        "devices/new/",
        f"devices/{device.id}/",
        f"devices/{device.id}/connect/",
        exclusions,
        "analyses/",
        analysis,
        "login/",
        "nothing/",
    ):
        page.goto(f"/portal/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_first_tab_leads_past_the_navigation(visit: Visit, owner_account: Account) -> None:
    page = visit(owner_account)
    page.goto("/portal/devices/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Bin")).to_be_focused()
