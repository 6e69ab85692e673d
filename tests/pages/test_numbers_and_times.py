"""How pages show numbers, moments and states, in a real browser: hover, copies, and what ticks."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.notation.cases import AGES, NOW, before_now
from tests.pages.browser import Account, Visit, device_path
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser

# Takes what a copy of the selection would put into the clipboard.
COPY = """() => {
    const clipboardData = new DataTransfer();
    const event = new ClipboardEvent("copy", { clipboardData, bubbles: true, cancelable: true });
    document.dispatchEvent(event);
    return event.defaultPrevented ? clipboardData.getData("text/plain") : null;
}"""
SELECT = "element => getSelection().selectAllChildren(element)"


@pytest.fixture
def climate(portal: Portal, owner: Person) -> Sender:
    """A device with readings a minute apart that have two decimals, the last one of ten seconds ago."""
    sender = portal.new_device(owner, profile="scalar", name=f"Cellar {secrets.token_hex(4)}")
    for value, age in ((20.5, 130), (20.65, 70), (20.79, 10)):
        post(portal, sender, value, age)
    return sender


def post(portal: Portal, sender: Sender, value: float, age_seconds: float) -> None:
    time = datetime.now(UTC) - timedelta(seconds=age_seconds)
    portal.post_reading(sender, value=value, timestamp=time.isoformat())


def copied(page: Page, element: Locator) -> str | None:
    element.evaluate(SELECT)
    return page.evaluate(COPY)


def test_number_has_its_channels_decimals_and_the_exact_double_on_hover(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, climate: Sender
) -> None:
    task_id = portal.ask(f"/devices/{climate.id}/analytics/", owner.token)
    exact = portal.wait_for_task(task_id, owner.token)["result"]["value"]["avg"]
    assert len(repr(exact)) > 10
    page = visit(owner_account)
    page.goto(f"/portal/analyses/{task_id}/")
    average = page.locator('[data-stat="avg"] data')
    expect(average).to_have_text("20.65")
    expect(average).to_have_attribute("title", repr(exact))
    expect(page.locator('[data-stat="min"]')).to_have_text("20.50")
    assert copied(page, average) == repr(exact)


def test_declared_decimals_are_shown_everywhere(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    name = f"level-{secrets.token_hex(4)}"
    channel = {"name": "level", "unit": "m", "decimals": 1}
    portal.made("/profiles/", portal.admin_token, {"name": name, "channels": [channel]})
    sender = portal.new_device(owner, profile=name, name=f"Tank {secrets.token_hex(4)}")
    portal.post_reading(sender, level=12345.678)
    page = visit(owner_account)
    row = page.get_by_role("row").filter(has=page.locator(f'a[href="{device_path(sender)}"]'))
    expect(row).to_contain_text("level 12\u202f345.7 m")
    page.goto(device_path(sender))
    expect(page.locator('[data-value="level"]')).to_have_text("12\u202f345.7")
    expect(page.locator("[data-readings] data")).to_have_attribute("title", "12345.678")


def test_copied_rows_have_exact_numbers_in_cells(
    visit: Visit, owner_account: Account, climate: Sender
) -> None:
    page = visit(owner_account)
    page.goto(device_path(climate))
    expect(page.locator("[data-readings] tr")).to_have_count(3)
    lines = copied(page, page.locator("[data-readings]")).splitlines()
    assert [line.split("\t")[1] for line in lines] == ["20.79", "20.65", "20.5"]
    # Without numbers the browser copies by itself.
    assert copied(page, page.locator("h1")) is None


def test_relative_time_ticks_by_the_servers_clock(
    visit: Visit, owner_account: Account, climate: Sender
) -> None:
    page = visit(owner_account)
    # The viewer's clock is wrong by years.
    page.clock.install(time=datetime(2020, 1, 1, tzinfo=UTC))
    page.goto(device_path(climate))
    shown = page.locator('[data-part="last-reading"] time[data-ago]')
    expect(shown).to_contain_text(" s ago")
    assert shown.get_attribute("title").endswith(" UTC")
    # From here on the server, whose clock is not wound forward, says nothing.
    page.context.set_offline(True)
    page.clock.run_for(70_000)
    expect(shown).to_have_text("1 min ago")
    page.clock.run_for(60_000)
    expect(shown).to_have_text("2 min ago")


def test_script_writes_relative_times_as_the_server_does(
    visit: Visit, owner_account: Account, climate: Sender
) -> None:
    page = visit(owner_account)
    page.clock.install(time=datetime(2020, 1, 1, tzinfo=UTC))
    page.goto(device_path(climate))
    # Only what is run for passes.
    page.clock.pause_at(datetime(2020, 1, 1, 1, tzinfo=UTC))
    cases = [[before_now(seconds).isoformat(), NOW.isoformat()] for seconds, _ in AGES]
    page.evaluate(
        """cases => document.body.append(...cases.map(([time, now]) => {
            const element = document.createElement("time");
            [element.dateTime, element.dataset.ago, element.className] = [time, now, "case"];
            return element;
        }))""",
        cases,
    )
    # The one tick that sees them compares with the clock that they carry.
    page.clock.run_for(1000)
    assert page.locator("time.case").all_inner_texts() == [text for _, text in AGES]


def test_device_becomes_late_before_ones_eyes(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    sender = portal.new_device(owner, profile="scalar", name=f"Gauge {secrets.token_hex(4)}")
    page = visit(owner_account)
    # An interval of a minute and half a minute of grace.
    for age in (190, 130, 70):
        post(portal, sender, 1.0, age)
    page.goto(device_path(sender))
    state = page.locator("[data-state]")
    expect(state).to_have_text("On time")
    expect(state).to_have_text("Late", timeout=60_000)
    expect(state).to_have_attribute("title", "The next reading is overdue.")
    portal.post_reading(sender, value=1.0)
    expect(state).to_have_text("On time")


def test_each_state_is_a_word_in_the_list_and_can_be_searched(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    name = secrets.token_hex(4)
    ages = {"New": None, "On time": 5, "Late": 700, "Silent": 90_000, "Disabled": None}
    for state, age in ages.items():
        sender = portal.new_device(
            owner, profile="scalar", name=f"{name} {state}", active=state != "Disabled"
        )
        for number in range(0 if age is None else 3):
            post(portal, sender, 1.0, age + 300 * number)
    page = visit(owner_account)
    for state in ages:
        page.goto(f"/portal/devices/?search={name}")
        row = page.get_by_role("row").filter(has_text=f"{name} {state}")
        expect(row.locator(".badge")).to_have_text(state)
        page.get_by_label("State").select_option(state)
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("row").filter(has_text=name)).to_have_count(1)
        expect(row).to_be_visible()
