"""The pages of analyses in a real browser: requests, results without reloading, staleness, buckets."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.pages.browser import (
    Account,
    Visit,
    device_path,
    same_document,
    statistics_path,
)
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser


# The legend of the chart of buckets follows the mouse.
PAGE_PARTS = '[data-part]:not([data-part="buckets"]), [data-bucket-table]'
STATS = ("count", "min", "median", "avg", "max", "sum")


def shown_statistics(page: Page) -> list[dict[str, float | str | None]]:
    """Rows of the page's table of statistics, with exact numbers and None for a dash."""
    return page.locator(".statistics tbody tr:has([data-stat])").evaluate_all(
        """rows => rows.map(row => Object.fromEntries([...row.querySelectorAll("[data-stat]")].map(cell => [
            cell.dataset.stat,
            cell.querySelector("data") ? Number(cell.querySelector("data").value)
                : cell.textContent.replace("—", "") || null])))"""
    )


def expected_statistics(*results: dict[str, Any]) -> list[dict[str, float | str | None]]:
    """Rows that the page must show for these API results."""
    return [
        {"channel": channel, "unit": None} | {stat: summary[stat] for stat in STATS}
        for result in results
        for channel, summary in result.items()
        if isinstance(summary, dict) and "median" in summary
    ]


def test_analysis_result_arrives_without_reloading(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.goto(statistics_path(device))
    with same_document(page):
        page.get_by_role("button", name="All readings").click()
        expect(page.locator("[data-runs] [data-status]")).to_have_text("Finished")
    expected = expected_statistics(portal.result(f"/devices/{device.id}/analytics/", owner.token))
    assert shown_statistics(page) == expected
    page.get_by_role("link", name="This analysis on its own page").click()
    expect(page.get_by_role("link", name="Analyses").last).to_be_visible()
    assert shown_statistics(page) == expected


def test_typed_period_is_read_in_the_devices_zone(
    visit: Visit, portal: Portal, owner: Person, owner_account: Account
) -> None:
    sender = portal.new_device(owner, profile="scalar", time_zone="Asia/Tokyo")
    for hour, value in ((0, 1.0), (1, 2.0), (2, 4.0)):
        portal.post_reading(sender, value=value, timestamp=f"2026-07-01T{hour:02}:00:00Z")
    page = visit(owner_account)
    page.goto(statistics_path(sender))
    expect(page.get_by_text("Times are read in Asia/Tokyo, the device's time zone.")).to_be_visible()
    page.get_by_label("From").fill("2026-07-01T10:00:00")
    page.get_by_label("To, not included").fill("2026-07-01T11:00:00")
    page.get_by_role("button", name="Analyse").click()
    expect(page.locator("[data-runs] [data-status]")).to_have_text("Finished")
    [row] = shown_statistics(page)
    assert (row["count"], row["sum"]) == (1, 2)
    shown = page.locator('[data-runs] [data-part="period"]')
    expect(shown).to_have_text("2026-07-01 10:00:00 +09:00 → 2026-07-01 11:00:00 +09:00")


def test_period_that_ends_before_it_starts_is_told(
    visit: Visit, visit_without_scripts: Visit, owner_account: Account, device: Sender
) -> None:
    for page in (visit(owner_account), visit_without_scripts(owner_account)):
        page.goto(statistics_path(device))
        page.get_by_label("From").fill("2026-07-02T00:00:00")
        page.get_by_label("To, not included").fill("2026-07-01T00:00:00")
        page.get_by_role("button", name="Analyse").click()
        expect(page.get_by_text("Must be before end.")).to_be_visible()
        expect(page.get_by_label("From")).to_have_value(re.compile("^2026-07-02T00:00"))


def test_everything_works_without_scripts(
    portal: Portal, visit_without_scripts: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    page = visit_without_scripts(owner_account)
    page.locator(f'a[href="{device_path(device)}"]').click()
    expect(page.locator("[data-readings] tr")).to_have_count(3)
    for place, text in (("Chart", "The chart needs JavaScript."), ("Statistics", "Statistics of this range")):
        expect(page.get_by_label(place, exact=False).locator("noscript p")).to_contain_text(text)
    page.get_by_role("link", name="Statistics", exact=True).click()
    with portal.frozen("worker"):
        page.get_by_role("button", name="Last hour").click()
        expect(page.get_by_role("status")).to_have_text("Queued")
    expect(page.get_by_role("status")).to_have_text("Finished")
    sums = page.locator('[data-stat="sum"] data')
    assert float(sums.first.get_attribute("value")) == -1234.56789012345 + 0.2
    page.get_by_role("link", name="Analyses").first.click()
    page.get_by_label("All devices of").select_option(label=owner.login)
    page.get_by_role("button", name="All readings").click()
    expect(page.get_by_role("status")).to_have_text("Finished")
    expect(page.get_by_text("All devices together")).to_be_visible()


def test_page_of_an_open_analysis_fills_in(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    with portal.frozen("worker"):
        task_id = portal.ask(f"/users/{owner.id}/analytics/", owner.token)
        page.goto(f"/portal/analyses/{task_id}/")
        expect(page.get_by_role("status")).to_have_text("Queued")
        expect(page.get_by_role("progressbar")).to_be_visible()
    with same_document(page):
        expect(page.get_by_role("status")).to_have_text("Finished")
        expect(page.get_by_role("progressbar")).to_be_hidden()
    result = portal.wait_for_task(task_id, owner.token)["result"]
    expected = expected_statistics(result["aggregate"], *result["devices"].values())
    assert shown_statistics(page) == expected
    titles = page.locator("th[scope=rowgroup]").all_inner_texts()
    page.reload()
    assert page.locator("th[scope=rowgroup]").all_inner_texts() == titles
    assert shown_statistics(page) == expected


def test_failed_analysis_says_why(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    task_id = portal.ask(f"/devices/{device.id}/analytics/", owner.token, end="2026-07-01")
    portal.wait_for_task(task_id, owner.token)
    failed = "UPDATE analytics_analysis SET status = 'failed', error = %s WHERE id = %s"
    portal.query(failed, "ValueError: <b>no</b>", task_id)
    page = visit(owner_account)
    page.goto(f"/portal/analyses/{task_id}/")
    expect(page.get_by_role("alert")).to_have_text("ValueError: <b>no</b>")


def test_period_is_excluded_and_lifted_and_results_turn_stale(
    portal: Portal, visit: Visit, owner: Person, admin_account: Account, device: Sender
) -> None:
    task_id = portal.ask(f"/devices/{device.id}/analytics/", owner.token)
    portal.wait_for_task(task_id, owner.token)
    result = visit(admin_account)
    result.goto(f"/portal/analyses/{task_id}/")
    badge = result.get_by_text("Stale", exact=True)
    expect(badge).to_be_hidden()

    page = visit(admin_account)
    page.goto(device_path(device))
    expect(page.get_by_text("3 readings, the latest.")).to_be_visible()
    page.get_by_role("link", name="Exclude this stretch").click()
    page.get_by_label("Reason").fill("Cleaning")
    page.get_by_role("button", name="Exclude").click()
    row = page.get_by_role("row").filter(has_text="Cleaning")
    expect(row).to_contain_text(f"by {admin_account.login}")
    page.goto(device_path(device))
    expect(page.locator("[data-readings] .excluded")).to_have_count(3)
    expect(page.locator("[data-readings] .badge").first).to_have_text("Excluded")

    with same_document(result):
        expect(badge).to_be_visible()
    lists = visit(admin_account)
    for path in ("/portal/analyses/", statistics_path(device)):
        lists.goto(path)
        marked = lists.locator(f'[data-analysis="{task_id}"]').get_by_text("Stale", exact=True)
        expect(marked).to_be_visible()
    result.get_by_role("button", name="Request again").click()
    expect(result.get_by_text("3 excluded")).to_be_visible()
    assert shown_statistics(result)[0]["count"] == 0
    expect(badge).to_be_hidden()
    beside = result.get_by_role("region", name="Beside the result before")
    expect(beside.get_by_role("row").filter(has_text="Count").first).to_have_text(re.compile(r"0\s*3\s*-3"))

    page.get_by_role("link", name="Exclusions").click()
    page.get_by_role("button", name="Lift").click()
    expect(row).to_contain_text("Lifted")
    page.goto(device_path(device))
    expect(page.locator("[data-readings] .excluded")).to_have_count(0)
    with same_document(result):
        expect(badge).to_be_visible()


def test_buckets_are_drawn_and_listed_while_the_page_is_open(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    body = {"bucket": "day", "percentiles": [5], "start": "2026-01-01", "end": "2026-01-04"}
    with portal.frozen("worker"):
        asked = portal.request("POST", f"/devices/{device.id}/analytics/", token=owner.token, json=body)
        page.goto(f"/portal/analyses/{asked.json()['task_id']}/")
        expect(page.get_by_role("status")).to_have_text("Queued")
    with same_document(page):
        expect(page.locator("[data-bucket-table] th[scope=rowgroup]")).to_have_count(3)
        expect(page.get_by_role("link", name="All as CSV")).to_be_visible()
        expect(page.locator("[data-bucket-chart] canvas").first).to_be_visible()
    live = page.locator(PAGE_PARTS).all_inner_texts()
    page.reload()
    expect(page.locator("[data-bucket-chart] canvas").first).to_be_visible()
    assert page.locator(PAGE_PARTS).all_inner_texts() == live
    with page.expect_download() as download:
        page.get_by_role("link", name="All as CSV").click()
    assert download.value.suggested_filename.endswith(".csv")


def test_percentiles_and_buckets_are_asked_for_on_the_page(
    visit: Visit, visit_without_scripts: Visit, owner_account: Account, device: Sender
) -> None:
    for page in (visit(owner_account), visit_without_scripts(owner_account)):
        page.goto(statistics_path(device))
        page.get_by_label("Percentiles").fill("5, 200")
        page.get_by_role("button", name="All readings").click()
        expect(page.get_by_text("Must be numbers from 0 to 100")).to_be_visible()
        page.get_by_label("Percentiles").fill("5, 95")
        page.get_by_label("Buckets").select_option("By the day")
        page.get_by_role("button", name="All readings").click()
        expect(page.get_by_role("columnheader", name="95 %").first).to_be_visible()


def test_many_buckets_come_by_the_hundred(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    body = {"bucket": "hour", "start": "2026-01-01T00:00:00Z", "end": "2026-01-05T05:20:24Z"}
    page = visit(owner_account)
    with portal.frozen("worker"):
        asked = portal.request("POST", f"/devices/{device.id}/analytics/", token=owner.token, json=body)
        page.goto(f"/portal/analyses/{asked.json()['task_id']}/")
        expect(page.get_by_role("status")).to_have_text("Queued")
    heads = page.locator("[data-bucket-table] th[scope=rowgroup]")
    expect(heads).to_have_count(100)
    page.get_by_role("link", name="Next").click()
    expect(heads).to_have_count(2)
    expect(heads.last).to_contain_text("0.3 h")
