"""The pages in a real browser. Every test fails on a script's error, a breach of the content policy, a failed
request, or a request to another host."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.utils.html import strip_tags
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Response,
    expect,
    sync_playwright,
)

from devices.templatetags import figures
from tests.statistics.test_figures import NUMBERS, STAMPS
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser

Visit = Callable[..., Page]

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
# Playwright's own switch leaves out what stands in <noscript>.
NO_SCRIPTS = "--blink-settings=scriptEnabled=false"
WAIT_MS = 15_000
# What Chromium itself says about an answer of 400 or more; answers are judged by their status.
NOT_LOADED = "Failed to load resource"
STATS = ("count", "min", "median", "avg", "max", "sum")
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
    "password_change/",
)


@dataclass(frozen=True)
class Account:
    login: str
    password: str


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Not for the whole run: while it lives, Django takes this thread for an asynchronous one."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=WAIT_MS)
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with launch(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def scriptless_browser(playwright: Playwright) -> Iterator[Browser]:
    with launch(playwright, NO_SCRIPTS) as browser:
        yield browser


def launch(playwright: Playwright, *flags: str) -> Browser:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail("The browser tests need Chromium: install it, or set CHROMIUM to its path.")
    return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])


@pytest.fixture(scope="module")
def owner(portal: Portal) -> Person:
    return portal.new_user()


@pytest.fixture(scope="module")
def owner_account(portal: Portal, owner: Person) -> Account:
    return account_of(portal, owner)


@pytest.fixture(scope="module")
def admin_account(portal: Portal) -> Account:
    return Account(portal.admin_login, portal.admin_password)


def account_of(portal: Portal, person: Person) -> Account:
    """The person, with a password from now on."""
    password = secrets.token_urlsafe(16)
    lines = (
        "from users.models import User",
        f"user = User.objects.get(pk={person.id})",
        f"user.set_password({password!r})",
        "user.save()",
    )
    portal.manage("shell", "-v", "0", "-c", "\n".join(lines))
    return Account(person.login, password)


@pytest.fixture
def device(portal: Portal, owner: Person) -> Sender:
    """A device of the owner with three readings, the last of them just now."""
    sender = portal.new_device(owner, name=f"Pump {secrets.token_hex(4)}", time_zone="Europe/Berlin")
    for x, ago in ((0.1, 7200), (0.2, 60), (-1234.56789012345, 1)):
        time = datetime.now(UTC) - timedelta(seconds=ago)
        portal.post_reading(sender, x=x, y=1.0, z=1e-7, timestamp=time.isoformat())
    return sender


@pytest.fixture
def visit(portal: Portal, browser: Browser) -> Iterator[Visit]:
    with sessions(portal, browser) as visit:
        yield visit


@pytest.fixture
def visit_without_scripts(portal: Portal, scriptless_browser: Browser) -> Iterator[Visit]:
    with sessions(portal, scriptless_browser) as visit:
        yield visit


@contextmanager
def sessions(portal: Portal, browser: Browser) -> Iterator[Visit]:
    """A function that opens a session, logged in if given an account; nothing may go wrong in it."""
    faults: list[str] = []
    with ExitStack() as stack:

        def visit(account: Account | None = None, **options: Any) -> Page:
            context = stack.enter_context(browser.new_context(base_url=portal.url, **options))
            context.set_default_timeout(WAIT_MS)
            watch(context, portal.url, faults)
            page = context.new_page()
            if account is not None:
                log_in(page, account)
            return page

        yield visit
    assert faults == []


def watch(context: BrowserContext, origin: str, faults: list[str]) -> None:
    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(NOT_LOADED):
            faults.append(f"{message.page and message.page.url}: {message.text}")

    def on_response(response: Response) -> None:
        # 400: input that the page then explains.
        if response.status > 400 and not response.request.is_navigation_request():
            faults.append(f"{response.status} {response.url}")

    context.on("console", on_console)
    context.on("response", on_response)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("request", lambda r: None if is_inside(r.url, origin) else faults.append(f"outside: {r.url}"))


def is_inside(url: str, origin: str) -> bool:
    return url.startswith((f"{origin}/", f"blob:{origin}/", "data:"))


def log_in(page: Page, account: Account) -> None:
    page.goto("/portal/login/")
    page.get_by_label("Login").fill(account.login)
    page.get_by_label("Password").fill(account.password)
    with page.expect_response("**/portal/login/**"):
        page.get_by_role("button", name="Log in").click()


def device_path(device: Sender) -> str:
    return f"/portal/devices/{device.id}/"


@contextmanager
def same_document(page: Page) -> Iterator[None]:
    """The page is neither left nor reloaded meanwhile."""
    page.evaluate("window.wasHere = true")
    yield
    assert page.evaluate("window.wasHere")


def shown_statistics(page: Page) -> list[dict[str, float | str | None]]:
    """The rows of the page's table of statistics, its numbers as they are shown; None for a dash."""
    return page.locator(".statistics tbody tr:has([data-stat])").evaluate_all(
        """rows => rows.map(row => Object.fromEntries([...row.querySelectorAll("[data-stat]")].map(cell => [
            cell.dataset.stat,
            cell.querySelector("data") ? Number(cell.textContent)
                : cell.textContent.replace("—", "") || null])))"""
    )


def expected_statistics(*results: dict[str, Any]) -> list[dict[str, float | str | None]]:
    """What the page must show for API results, one after another."""
    return [
        {"channel": channel, "unit": None} | {stat: summary[stat] for stat in STATS}
        for result in results
        for channel, summary in result.items()
        if isinstance(summary, dict) and "median" in summary
    ]


# --- Logging in and out


def test_one_logs_in_by_form_and_out_again(visit: Visit, owner_account: Account) -> None:
    page = visit()
    page.goto("/portal/")
    expect(page).to_have_url(re.compile(r"/portal/login/\?next="))
    log_in(page, owner_account)
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    expect(page.locator(".account")).to_contain_text(owner_account.login)
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    page.goto("/portal/devices/")
    expect(page.get_by_label("Password")).to_be_visible()


def test_wrong_password_is_told(visit: Visit, owner_account: Account) -> None:
    page = visit(Account(owner_account.login, "not it"))
    expect(page.get_by_role("alert")).to_contain_text("correct login and password")
    expect(page.get_by_label("Login")).to_have_value(owner_account.login)


# --- Activity


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
            # The same in each test: stored once.
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


# --- Devices


def test_device_list_finds_by_name_and_by_state(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    silent = portal.new_device(owner, name=f"Silent {secrets.token_hex(4)}")
    page = visit(owner_account)
    row = page.get_by_role("row").filter(has=page.locator(f'a[href="{device_path(device)}"]'))
    expect(row).to_contain_text("Online")
    expect(row).to_contain_text("x -1234.56789012345")
    page.get_by_label("Search").fill("silent")
    page.get_by_role("button", name="Search").click()
    expect(row).to_have_count(0)
    expect(page.locator(f'a[href="{device_path(silent)}"]')).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Silent").first).to_contain_text("Offline")
    page.get_by_label("Readings").select_option("Online")
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
    expect(page.get_by_text("3 readings")).to_be_visible()
    assert is_drawn(page)
    with same_document(page):
        time = datetime(2026, 7, 1, 10, 0, 0, 123_456, tzinfo=UTC)
        # A second of the same stamp is a second reading; one that was there already is no third.
        for value in (42.125, 43.0):
            portal.post_reading(device, x=value, y=2.0, z=3.0, timestamp=time.isoformat())
        now = datetime.now(UTC).isoformat()
        for value in (44.5, 45.5):
            portal.post_reading(device, x=value, y=2.0, z=3.0, timestamp=now)
        # Of two with one stamp either may stand for the last.
        expect(page.locator('[data-value="x"]')).to_have_text(re.compile(r"4[45]\.5"))
        expect(page.get_by_text("Online")).to_be_visible()
        expect(rows).to_have_count(7)
        expect(rows.last).to_contain_text("2026-07-01 12:00:00.123456 +02:00")
    page.reload()
    expect(rows).to_have_count(7)
    expect(rows.last).to_contain_text("2026-07-01 12:00:00.123456 +02:00")


def is_drawn(page: Page) -> bool:
    """Whether any pixel of the chart has a colour."""
    return page.locator("[data-chart] canvas").first.evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(byte => byte > 0)"
    )


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
    page.goto(device_path(sender))
    expect(page.get_by_text("1000 readings")).to_be_visible()
    page.get_by_role("button", name="Earlier readings").click()
    expect(page.get_by_text("1500 readings")).to_be_visible()
    expect(page.get_by_role("button", name="Earlier readings")).to_be_hidden()


def test_following_pauses_and_resumes(
    portal: Portal, visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.clock.install()
    page.goto(device_path(device))
    pause = page.get_by_role("button", name="Pause")
    expect(page.locator("[data-readings] tr")).to_have_count(3)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    pause.click()
    page.clock.run_for(60_000)
    assert asked == []
    hide(page, True)
    pause.click()
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_request(re.compile(rf"/stats/{device.id}/\?start=")):
        hide(page, False)


def hide(page: Page, is_hidden: bool) -> None:
    """As if another tab came before this one."""
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
    expect(page.get_by_text("3 readings")).to_be_visible()
    page.context.set_offline(True)
    expect(page.get_by_text("The server does not answer.")).to_be_visible()
    page.context.set_offline(False)
    expect(page.get_by_text("The server does not answer.")).to_have_count(0)


# --- Analyses


def test_analysis_result_arrives_without_reloading(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.goto(device_path(device))
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
    page.goto(device_path(sender))
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
        page.goto(device_path(device))
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
    expect(page.locator("noscript")).to_be_visible()
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
    expect(page.get_by_text("3 readings")).to_be_visible()
    page.get_by_role("button", name="The chart’s period").click()
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
    for path in ("/portal/analyses/", device_path(device)):
        lists.goto(path)
        marked = lists.locator(f'[data-analysis="{task_id}"]').get_by_text("Stale", exact=True)
        expect(marked).to_be_visible()
    result.get_by_role("button", name="Request again").click()
    expect(result.get_by_text("3 excluded")).to_be_visible()
    assert shown_statistics(result)[0]["count"] == 0
    expect(badge).to_be_hidden()

    page.get_by_role("button", name="Lift").click()
    expect(row).to_contain_text("Lifted")
    page.goto(device_path(device))
    expect(page.locator("[data-readings] .excluded")).to_have_count(0)
    with same_document(result):
        expect(badge).to_be_visible()


def test_one_reading_is_excluded_from_its_row(
    portal: Portal, visit: Visit, visit_without_scripts: Visit, admin_account: Account, device: Sender
) -> None:
    """The newest with scripts, then the oldest without."""
    for page, row, left in ((visit(admin_account), 0, 2), (visit_without_scripts(admin_account), 2, 1)):
        page.goto(device_path(device))
        if left == 2:
            expect(page.get_by_text("3 readings")).to_be_visible()
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
    expect(page.get_by_role("row").filter(has_text="Cleaning")).to_contain_text("by admin")
    expect(page.locator("[data-readings] .excluded")).to_have_count(3)
    for name in ("Exclude", "Lift"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


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
    live = page.locator("[data-part], [data-bucket-table]").all_inner_texts()
    page.reload()
    expect(page.locator("[data-bucket-chart] canvas").first).to_be_visible()
    assert page.locator("[data-part], [data-bucket-table]").all_inner_texts() == live
    with page.expect_download() as download:
        page.get_by_role("link", name="All as CSV").click()
    assert download.value.suggested_filename.endswith(".csv")


def test_percentiles_and_buckets_are_asked_for_on_the_page(
    visit: Visit, visit_without_scripts: Visit, owner_account: Account, device: Sender
) -> None:
    for page in (visit(owner_account), visit_without_scripts(owner_account)):
        page.goto(device_path(device))
        page.get_by_label("Percentiles").fill("5, 200")
        page.get_by_role("button", name="All readings").click()
        expect(page.get_by_text("Must be numbers from 0 to 100")).to_be_visible()
        page.get_by_label("Percentiles").fill("5, 95")
        page.get_by_label("Buckets").select_option("By the day")
        page.get_by_role("button", name="All readings").click()
        expect(page.get_by_role("columnheader", name="95 %").first).to_be_visible()


def test_chart_shows_a_period_of_any_length(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    sender = portal.new_device(owner, profile="scalar")
    first = datetime(1999, 5, 1, tzinfo=UTC)
    portal.load(sender, ((first + timedelta(seconds=second), [second % 60]) for second in range(20_000)))
    page = visit(owner_account)
    page.goto(device_path(sender))
    expect(page.get_by_text("1000 readings")).to_be_visible()
    with page.expect_response(re.compile("/series/")) as answer:
        page.get_by_label("Period of the chart").select_option("All readings")
    assert sum(answer.value.json()["count"]) == 20_000
    expect(page.get_by_text("20000 readings: minimum, mean and maximum.")).to_be_visible()
    assert is_drawn(page)
    page.get_by_label("Period of the chart").select_option("Last hour")
    expect(page.get_by_text("No reading in this period.")).to_be_visible()
    page.get_by_label("Period of the chart").select_option("Latest readings, live")
    expect(page.get_by_text("1000 readings")).to_be_visible()


def shown_period(page: Page) -> dict[str, float]:
    """What the axis of the device's chart spans, in seconds."""
    return page.evaluate(
        """() => {
            const detail = {};
            document.dispatchEvent(new CustomEvent("shown-period", { detail }));
            return detail;
        }"""
    )


def drawn_columns(page: Page) -> list[int]:
    """Of the chart's columns of pixels those with the colour of the first series."""
    return page.locator("[data-chart] canvas").first.evaluate(
        """canvas => {
            const { width, height } = canvas;
            const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            const found = new Set();
            for (let i = 0; i < pixels.length; i += 4) {
                const [red, green, blue, alpha] = pixels.slice(i, i + 4);
                if (alpha > 60 && green - red > 60 && blue - red > 60) found.add((i / 4) % width);
            }
            return [...found].sort((a, b) => a - b);
        }"""
    )


def test_chart_of_one_reading_spans_its_period(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    sender = portal.new_device(owner, profile="scalar")
    portal.post_reading(sender, value=4.5)
    page = visit(owner_account)
    page.goto(device_path(sender))
    expect(page.get_by_text(re.compile("^1 reading\\. "))).to_be_visible()
    span = shown_period(page)
    assert span["max"] - span["min"] == 60
    assert drawn_columns(page)
    with page.expect_response(re.compile("/series/")) as answer:
        page.get_by_label("Period of the chart").select_option("Last hour")
    expect(page.get_by_text("1 reading: minimum, mean and maximum.")).to_be_visible()
    bounds = [datetime.fromisoformat(answer.value.json()[name]).timestamp() for name in ("start", "end")]
    span = shown_period(page)
    assert [span["min"], span["max"]] == pytest.approx(bounds, abs=0.01)
    assert drawn_columns(page)


@pytest.mark.parametrize("period", ["All readings", "Latest readings, live"])
def test_chart_leaves_gaps_and_shows_what_stands_alone(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, period: str
) -> None:
    sender = portal.new_device(owner, profile="scalar")
    first = datetime(1999, 5, 1, tzinfo=UTC)
    times = [*(first + timedelta(seconds=second) for second in range(900)), first + timedelta(weeks=18)]
    portal.load(sender, ((time, [5.0]) for time in times))
    page = visit(owner_account)
    page.goto(device_path(sender))
    expect(page.get_by_text(re.compile("^901 readings\\. "))).to_be_visible()
    if period == "All readings":
        page.get_by_label("Period of the chart").select_option(period)
        expect(page.get_by_text("901 readings: minimum, mean and maximum.")).to_be_visible()
    columns = drawn_columns(page)
    # Dots of a few pixels, and nothing between; of all readings the axis goes on up to now.
    assert 4 <= len(columns) <= 20
    assert columns[-1] - columns[0] > (500 if period.startswith("Latest") else 5)
    assert max(after - before for before, after in pairwise(columns)) > 3


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


# --- All pages


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


def test_redoc_renders(browser: Browser, portal: Portal) -> None:
    """Its maker's logo, the one thing that it wants from elsewhere, is refused by the policy."""
    faults: list[str] = []
    with browser.new_context(base_url=portal.url) as context:
        watch(context, portal.url, faults)
        page = context.new_page()
        page.goto("/redoc")
        expect(page.get_by_role("heading", name="Post one reading of a device")).to_be_visible(
            timeout=WAIT_MS
        )
    assert [fault for fault in faults if "cdn.redoc.ly/redoc/logo-mini.svg" not in fault] == []


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
        f"devices/{device.id}/",
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
    expect(page.get_by_label("Search")).to_be_focused()


def test_charts_write_numbers_and_stamps_as_the_server_does(
    visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.goto(device_path(device))
    for value, *_ in NUMBERS:
        script = "text => chartText.number(JSON.parse(text))"
        assert page.evaluate(script, json.dumps(value)) == strip_tags(figures.number(value))
    for time, zone, *_ in STAMPS:
        stamp = time.isoformat().replace("+00:00", "Z")
        script = "([stamp, zone]) => chartText.stamp(stamp, zone)"
        assert page.evaluate(script, [stamp, str(zone)]) == strip_tags(figures.stamp(time, zone))
