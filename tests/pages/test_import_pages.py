"""Importing a file in a browser, from the upload to the undo, with scripts and without, wide and narrow."""

import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.pages.browser import Account, Visit
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A file as a logger writes it, with one faulty row."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    rows = [f"{start + i * timedelta(minutes=1):%d.%m.%Y %H:%M};{20 + i},5;1;2;ok" for i in range(60)]
    rows[5] = rows[5].replace(";1;", ";defekt;")
    path = tmp_path / f"Logger {secrets.token_hex(3)}.csv"
    path.write_bytes("\r\n".join(["Zeitstempel;X [°C];y;z;Bemerkung", *rows, ""]).encode("utf-16"))
    return path


def upload(page: Page, path: Path) -> None:
    page.goto("/portal/import/")
    page.get_by_label("File", exact=True).set_input_files(path)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name=path.name)).to_be_visible()


def choose(page: Page, name: str) -> None:
    page.get_by_label("Search by name, id or owner").fill(name)
    page.get_by_role("button", name="Search").click()
    page.get_by_label(name).check()
    page.get_by_role("button", name="Choose").click()
    expect(page.get_by_text("Say which column")).to_have_count(0)


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.fixture
def boiler(portal: Portal, owner: Person) -> tuple[str, Sender]:
    """A device without readings, with its name."""
    name = f"Boiler {secrets.token_hex(4)}"
    return name, portal.new_device(owner, name=name)


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def page(request: pytest.FixtureRequest, visit: Visit, admin_account: Account) -> Page:
    return visit(admin_account, viewport=request.param)


def test_from_the_upload_to_the_undo(
    portal: Portal, page: Page, boiler: tuple[str, Sender], table: Path
) -> None:
    name, device = boiler
    upload(page, table)
    expect(page.get_by_text("Choose the device, or say which column names it.")).to_be_visible()
    expect(page.get_by_role("button", name="Import", exact=True)).to_be_disabled()
    choose(page, name)
    expect(page.get_by_text("Faulty among these rows: 1.")).to_be_visible()
    expect(page.locator("td.faulty")).to_contain_text("defekt")
    fits(page)
    page.get_by_role("button", name="Import", exact=True).click()
    # The script follows it to its end.
    expect(page.get_by_role("button", name="Undo this import")).to_be_visible()
    expect(page.locator("dd").first).to_have_text("59")
    expect(page.get_by_text("y: Is not a number with a decimal comma.")).to_be_visible()
    fits(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all faulty rows").click()
    corrected = table.with_name(f"corrected {table.name}")
    corrected.write_text(download.value.path().read_text(encoding="utf-8-sig").replace("defekt", "1"))
    assert count(portal, device) == 59

    second = page.url
    upload(page, corrected)
    choose(page, name)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("button", name="Undo this import")).to_be_visible()
    assert count(portal, device) == 60
    page.goto(second)
    page.get_by_role("button", name="Undo this import").click()
    expect(page.get_by_text("Undone", exact=True)).to_be_visible()
    assert count(portal, device) == 1
    page.goto("/portal/import/")
    expect(page.get_by_role("link", name=table.name, exact=True)).to_be_visible()
    fits(page)


def count(portal: Portal, device: Sender) -> int:
    [(number,)] = portal.query(
        "SELECT count(*) FROM devices_reading WHERE device_id ="
        " (SELECT id FROM devices_device WHERE uuid = %s)",
        device.id,
    )
    return number


def test_without_scripts(
    portal: Portal,
    visit_without_scripts: Visit,
    admin_account: Account,
    boiler: tuple[str, Sender],
    table: Path,
) -> None:
    name, device = boiler
    page = visit_without_scripts(admin_account)
    upload(page, table)
    choose(page, name)
    page.get_by_role("button", name="Import", exact=True).click()
    # The page reloads itself.
    expect(page.get_by_role("button", name="Undo this import")).to_be_visible()
    assert count(portal, device) == 59
