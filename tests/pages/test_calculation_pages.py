"""The pages of calculations in a real browser, with scripts and without."""

import csv
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.pages.browser import Account, Visit, account_of, is_drawn, same_document
from tests.support.portal import Person, Portal, eventually

pytestmark = pytest.mark.browser
QUARTER = {"date_start": "2026-01-01", "date_fin": "2026-03-31", "lag": 1}
ROWS = 90


@pytest.fixture(autouse=True)
def _nothing_left_open(portal: Portal) -> Iterator[None]:
    yield
    portal.query(
        "UPDATE analytics_calculation SET status = 'cancelled' WHERE status IN ('queued', 'running')"
    )


def ask(portal: Portal, person: Person, **fields: Any) -> str:
    return portal.made("/calculations/", person.token, QUARTER | fields)["id"]


def finished(portal: Portal, person: Person, **fields: Any) -> str:
    run_id = ask(portal, person, **fields)
    path = f"/calculations/{run_id}/"
    eventually(lambda: portal.get(path, person.token)["status"] not in ("queued", "running"))
    return run_id


def cancel(portal: Portal, person: Person, *run_ids: str) -> None:
    for run_id in run_ids:
        portal.request("POST", f"/calculations/{run_id}/cancel/", token=person.token)


def open_page(page: Page, run_id: str) -> None:
    page.goto(f"/portal/calculations/{run_id}/")


def row(page: Page, name: str) -> Any:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def test_list_follows_open_calculations_without_reloading(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    page = visit(owner_account)
    # The page must be there while the first one runs, on a busy machine, too.
    first = ask(portal, owner, name="First", pause=12)
    second = ask(portal, owner, name="Second", pause=600)
    third = ask(portal, owner, name="Third")
    page.goto("/portal/calculations/")
    with same_document(page):
        expect(row(page, "First")).to_contain_text("Running")
        expect(row(page, "Second")).to_contain_text("next")
        expect(row(page, "Third")).to_contain_text("number 2 in the queue")
        expect(row(page, "First").get_by_role("progressbar")).to_be_visible()
        expect(row(page, "First")).to_contain_text("Finished")
        expect(row(page, "First").get_by_role("progressbar")).to_be_hidden()
        expect(row(page, "Second")).to_contain_text("Running")
        expect(row(page, "Third")).to_contain_text("next")
        cancel(portal, owner, second)
        expect(row(page, "Second")).to_contain_text("Cancelled")
        expect(row(page, "Third")).to_contain_text("Finished")
    expect(row(page, "First")).to_contain_text(f"by {owner.login}")
    page.get_by_label("Status").select_option("Cancelled")
    page.get_by_role("button", name="Show").click()
    expect(row(page, "Second")).to_be_visible()
    expect(row(page, "First")).to_have_count(0)
    page.get_by_label("Kernel").select_option("Forecast of a channel")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No calculation yet.")).to_be_visible()
    assert first != third


def test_new_calculation_from_the_kernels_form_to_its_files(
    visit: Visit, owner: Person, owner_account: Account
) -> None:
    page = visit(owner_account)
    page.goto("/portal/calculations/")
    page.get_by_role("link", name="New: Oil well").click()
    page.get_by_label("Name").fill("Well 7")
    page.get_by_label("First day").fill("2026-01-01")
    page.get_by_label("Last day").fill("2026-03-31")
    page.get_by_label("Lag, days").fill("1")
    page.get_by_label("Seed").fill("42")
    with page.expect_navigation():
        page.get_by_role("button", name="Calculate").click()
    expect(page.get_by_role("heading", name="Well 7")).to_be_visible()
    expect(page.get_by_role("status").first).to_contain_text("Finished")
    expect(page.locator("main")).to_contain_text("Oil well, version 1")
    expect(page.locator("main")).to_contain_text("all hold: liquid is not negative")
    expect(page.get_by_text("Drag to zoom in")).to_be_visible()
    assert is_drawn(page)
    table = page.locator("table.readings tbody tr")
    expect(table).to_have_count(50)
    page.get_by_role("link", name="Next").click()
    expect(table).to_have_count(ROWS - 50)
    expect(table.last).to_contain_text("2026-03-31")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    with open(download.value.path(), newline="") as file:  # noqa: PTH123
        rows = list(csv.DictReader(file))
    assert len(rows) == ROWS
    assert list(rows[0]) == ["date", "liquid", "oil", "water", "wct"]


def test_open_calculation_shows_its_inputs_and_can_be_cancelled(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    running = ask(portal, owner, pause=600)
    waiting = ask(portal, owner, pause=600, name="Waits")
    page = visit(owner_account)
    open_page(page, waiting)
    expect(page.get_by_role("status").first).to_contain_text("Queued")
    expect(page.locator("main")).to_contain_text("next")
    expect(page.locator("main")).to_contain_text("2026-03-31")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status").first).to_contain_text("Cancelled")
    open_page(page, running)
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.locator("main")).to_contain_text("to go")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status").first).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_open_calculation_fills_in(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    page = visit(owner_account)
    open_page(page, ask(portal, owner, pause=2))
    expect(page.get_by_role("status").first).to_contain_text("Running")
    expect(page.get_by_role("status").first).to_contain_text("Finished")
    expect(page.get_by_text("Drag to zoom in")).to_be_visible()


def test_run_again_with_and_without_changes_and_compare(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    first = finished(portal, owner, name="Base", seed=3)
    page = visit(owner_account)
    open_page(page, first)
    with page.expect_navigation():
        page.get_by_role("button", name="Run again", exact=True).click()
    assert first not in page.url
    expect(page.get_by_role("status").first).to_contain_text("Finished")
    expect(page.get_by_text("Run again from")).to_be_visible()
    page.get_by_label("Compare with").select_option(first)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text(f"Both have the same {ROWS} rows.")).to_be_visible()
    open_page(page, first)
    page.get_by_role("link", name="Run again with changes").click()
    expect(page.get_by_label("Seed")).to_have_value("3")
    page.get_by_label("Name").fill("Changed")
    page.get_by_label("Last day").fill("2026-04-10")
    with page.expect_navigation():
        page.get_by_role("button", name="Calculate").click()
    expect(page.get_by_role("status").first).to_contain_text("Finished")
    page.get_by_label("Compare with").select_option(first)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("10 are in A only")).to_be_visible()
    expect(page.get_by_text("Drag to zoom in")).to_be_visible()
    assert is_drawn(page)
    differing = page.get_by_role("row").filter(has_text="Last day")
    expect(differing).to_contain_text("2026-04-10")
    expect(differing).to_contain_text("2026-03-31")
    expect(page.locator(".differences tbody tr")).to_have_count(50)


@pytest.mark.parametrize("has_scripts", [True, False])
def test_bad_input_is_told_beside_its_field(
    visit: Visit, visit_without_scripts: Visit, owner_account: Account, has_scripts: bool
) -> None:
    page = (visit if has_scripts else visit_without_scripts)(owner_account)
    page.goto("/portal/calculations/new/")
    page.get_by_label("First day").fill("2026-02-02")
    page.get_by_label("Last day").fill("2026-02-01")
    page.get_by_label("Lag, days").fill("1")
    page.get_by_role("button", name="Calculate").click()
    expect(page.get_by_text("Must not be before date_start.")).to_be_visible()
    expect(page.get_by_label("First day")).to_have_value("2026-02-02")


def test_everything_works_without_scripts(
    portal: Portal, visit_without_scripts: Visit, owner: Person, owner_account: Account
) -> None:
    page = visit_without_scripts(owner_account)
    page.get_by_role("link", name="Calculations").click()
    page.get_by_role("link", name="New: Oil well").click()
    page.get_by_label("First day").fill("2026-01-01")
    page.get_by_label("Last day").fill("2026-01-10")
    page.get_by_label("Lag, days").fill("2")
    page.get_by_role("button", name="Calculate").click()
    expect(page.get_by_role("status").first).to_contain_text("Finished")
    expect(page.locator("table.readings tbody tr")).to_have_count(5)
    page.get_by_role("button", name="Run again", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("Finished")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Inputs")).to_be_visible()


def test_forecast_of_an_own_device_with_its_band(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    device = portal.new_device(owner, profile="scalar", name="Greenhouse")
    now = datetime.now(UTC)
    hours = [
        {"timestamp": (now - timedelta(hours=ago)).isoformat(), "value": 20 + (ago % 24) / 4 + (ago % 7) / 50}
        for ago in range(1, 24 * 7)
    ]
    path = f"/devices/{device.id}/stats/batch"
    assert portal.request("POST", path, token=owner.token, json=hours).status_code == 201
    page = visit(owner_account)
    page.goto("/portal/calculations/new/?kernel=forecast")
    page.get_by_label("Device").select_option("Greenhouse: value")
    page.get_by_label("Channel").select_option("value")
    page.get_by_label("Days ahead").fill("2")
    with page.expect_navigation():
        page.get_by_role("button", name="Calculate").click()
    expect(page.get_by_role("status").first).to_contain_text("Finished", timeout=60_000)
    expect(page.locator("table.readings tbody tr")).to_have_count(48)
    expect(page.locator("dl.facts").get_by_text("Greenhouse", exact=True)).to_be_visible()
    expect(page.get_by_text("Drag to zoom in")).to_be_visible()
    assert is_drawn(page)
    markers = page.locator("[data-chart] .u-series .u-marker").evaluate_all(
        "all => all.map(each => each.style.borderColor).filter(Boolean)"
    )
    assert len(set(markers)) == 3


def test_forecast_form_asks_for_a_channel_of_the_device(
    portal: Portal, visit: Visit, visit_without_scripts: Visit
) -> None:
    person = portal.new_user()
    portal.new_device(person, name="Mast")
    portal.new_device(person, profile="scalar", name="Lone")
    account = account_of(portal, person)
    form = "/portal/calculations/new/?kernel=forecast"
    page = visit(account)
    page.goto(form)
    channel = page.get_by_label("Channel")
    page.get_by_label("Device").select_option("Mast: x, y, z")
    expect(channel).to_have_value("")
    expect(channel.locator("option")).to_have_text(["Choose a channel", "x", "y", "z"])
    page.get_by_label("Device").select_option("Lone: value")
    expect(channel).to_have_value("value")
    expect(channel.locator("option")).to_have_text(["Choose a channel", "value"])
    page = visit_without_scripts(account)
    page.goto(form)
    expect(page.get_by_label("Channel")).to_have_value("")
    expect(page.get_by_label("Channel").locator("option")).to_have_count(5)
    # The browser itself enforces required fields.
    page.get_by_role("button", name="Calculate").click()
    assert page.url.endswith(form)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_label("Device").select_option("Mast: x, y, z")
    page.get_by_label("Channel").select_option("y")
    page.get_by_role("button", name="Calculate").click()
    expect(page.get_by_role("status").first).to_be_visible()


def test_comparison_without_common_rows_has_no_largest_difference(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    early = finished(portal, owner, date_fin="2026-01-10")
    late = finished(portal, owner, date_start="2026-03-01")
    page = visit(owner_account)
    page.goto(f"/portal/calculations/{early}/compare/?with={late}")
    expect(page.get_by_text("Largest difference of each column: liquid —, oil —")).to_be_visible()
    expect(page.get_by_text("Drag to zoom in")).to_be_visible()
    markers = page.locator("[data-chart] .u-series .u-marker").evaluate_all(
        "all => all.map(each => each.style.borderStyle)"
    )
    assert [style for style in markers if style] == ["solid"] * 4 + ["dashed"] * 4


def test_a_hundred_thousand_rows_hold_no_page_up(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    run_id = finished(portal, owner, name="Large", date_fin="2299-10-16")
    page = visit(owner_account)
    open_page(page, run_id)
    expect(page.locator("table.readings tbody tr")).to_have_count(50)
    expect(page.get_by_text(re.compile(r"Drawn from \d{3,4} of 100\u202f000 rows"))).to_be_visible()
    page.goto(f"/portal/calculations/{run_id}/?page=2000")
    expect(page.locator("table.readings tbody tr").last).to_contain_text("2299-10-16")


def test_failed_calculation_says_why(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    run_id = finished(portal, owner)
    failed = "UPDATE analytics_calculation SET status = 'failed', error = %s WHERE id = %s"
    portal.query(failed, "ValueError: <b>no</b>", run_id)
    page = visit(owner_account)
    open_page(page, run_id)
    expect(page.get_by_role("alert")).to_have_text("ValueError: <b>no</b>")


def test_pages_of_others_are_not_found(portal: Portal, visit: Visit, owner_account: Account) -> None:
    foreign = finished(portal, portal.new_user())
    page = visit(owner_account)
    for path in ("", "chart/", f"compare/?with={foreign}"):
        assert page.goto(f"/portal/calculations/{foreign}/{path}").status == 404
    assert page.goto(f"/portal/calculations/new/?like={foreign}").status == 404
    for nonsense in ("new/?kernel=nonsense", "new/?like=nonsense"):
        assert page.goto(f"/portal/calculations/{nonsense}").status == 404


def test_what_cannot_be_compared_says_why(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    done, waiting = finished(portal, owner, name="Done"), ask(portal, owner, name="Waiting", pause=600)
    page = visit(owner_account)
    page.goto(f"/portal/calculations/{done}/compare/?with={waiting}")
    assert page.url.endswith(f"/{done}/")
    expect(page.get_by_text(re.compile("can’t be compared: Waiting is (queued|running)"))).to_be_visible()
    cancel(portal, owner, waiting)
    portal.query(
        "UPDATE analytics_calculation SET status = 'finished', kernel = 'forecast' WHERE id = %s", waiting
    )
    page.goto(f"/portal/calculations/{done}/compare/?with={waiting}")
    expect(page.get_by_text("Done uses the kernel well, Waiting uses forecast.")).to_be_visible()


def test_pages_fit_a_narrow_screen(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    one, other = finished(portal, owner, name="Narrow"), finished(portal, owner)
    page = visit(owner_account, viewport={"width": 360, "height": 740})
    for path in ("", "new/", "new/?kernel=forecast", f"{one}/", f"{one}/compare/?with={other}"):
        page.goto(f"/portal/calculations/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_staff_cancel_in_the_admin(
    portal: Portal, visit: Visit, owner: Person, admin_account: Account
) -> None:
    run_id = ask(portal, owner, pause=600)
    page = visit(admin_account)
    page.goto("/admin/analytics/calculation/")
    page.locator(f'input[value="{run_id}"]').check()
    page.get_by_label("Action:").select_option("Cancel")
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_text("Cancelled: 1.")).to_be_visible()
    assert portal.get(f"/calculations/{run_id}/")["status"] == "cancelled"
