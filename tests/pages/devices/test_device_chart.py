"""The chart of a device in a real browser: address, zoom, comparison, and the statistics beside it."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.notation.cases import NUMBERS, STAMPS
from tests.pages.browser import Account, Visit, device_path, is_drawn, same_document
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser

FIRST = datetime(1999, 5, 1, tzinfo=UTC)
# 1,000 seconds of readings from FIRST, as an address has them.
LOADED = "?from=1999-05-01T00:00:00Z&to=1999-05-01T00:16:40Z"


@pytest.fixture(scope="module")
def sender(portal: Portal, owner: Person) -> Sender:
    """A reading a second for 1,000 seconds: 0, 1, 2, …"""
    sender = portal.new_device(owner, profile="scalar")
    portal.load(sender, ((FIRST + timedelta(seconds=second), [float(second)]) for second in range(1000)))
    return sender


def figure(page: Page, name: str) -> Locator:
    """A figure of the first channel in the statistics beside the chart."""
    return page.locator(f'.stretch [data-stat="{name}"] data').first


def shown_range(page: Page) -> tuple[float, float]:
    """Seconds since 1970 of the range in the address."""
    query = parse_qs(urlsplit(page.url).query)
    start, end = (datetime.fromisoformat(query[name][0]).timestamp() for name in ("from", "to"))
    return start, end


def drag(page: Page, start: float, end: float, *, down: float = 0) -> None:
    """Drag over the plot, from one part of its width to another; `down` leads out of it."""
    box = page.locator("[data-chart] .u-over").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * start, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * end, box["y"] + 20, steps=4)
    page.mouse.move(box["x"] + box["width"] * end, box["y"] + 20 + down, steps=4)
    page.mouse.up()


def test_the_address_says_what_is_shown(visit: Visit, owner_account: Account, sender: Sender) -> None:
    page = visit(owner_account)
    page.goto(device_path(sender) + LOADED)
    expect(page.get_by_text("1000 readings: minimum, mean and maximum.")).to_be_visible()
    expect(figure(page, "count")).to_have_text("1000")
    expect(figure(page, "median")).to_have_text("499.5")
    assert is_drawn(page)
    colleague = visit(owner_account)
    colleague.goto(page.url)
    expect(figure(colleague, "sum")).to_have_text("499\u202f500")


@pytest.mark.parametrize("down", [0, -150])
def test_a_drag_zooms_and_back_undoes_it(
    visit: Visit, owner_account: Account, sender: Sender, down: float
) -> None:
    page = visit(owner_account)
    page.goto(device_path(sender) + LOADED)
    expect(figure(page, "count")).to_have_text("1000")
    with same_document(page):
        drag(page, 0.25, 0.75, down=down)
        expect(figure(page, "count")).to_have_text(re.compile(r"^(49\d|50\d|51\d)$"))
        start, end = shown_range(page)
        assert (start - FIRST.timestamp(), end - FIRST.timestamp()) == pytest.approx((250, 750), abs=10)
        zoomed = page.url
        count = figure(page, "count").inner_text()
        page.go_back()
        expect(figure(page, "count")).to_have_text("1000")
        page.go_forward()
        expect(figure(page, "count")).to_have_text(count)
    page.reload()
    expect(figure(page, "count")).to_have_text(count)
    assert page.url == zoomed


def test_keys_zoom_move_and_read_out(visit: Visit, owner_account: Account, sender: Sender) -> None:
    page = visit(owner_account)
    page.goto(device_path(sender) + LOADED)
    expect(figure(page, "count")).to_have_text("1000")
    chart = page.get_by_role("application")
    chart.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("[data-read-out]")).to_have_text(re.compile("^1999-05-01 00:00:.*: value "))
    page.keyboard.press("+")
    expect(figure(page, "count")).to_have_text("500")
    page.keyboard.press("Shift+ArrowRight")
    expect(figure(page, "min")).to_have_text("375")
    page.keyboard.press("-")
    expect(figure(page, "min")).to_have_text("125")


def test_wheel_and_double_click_zoom(visit: Visit, owner_account: Account, sender: Sender) -> None:
    page = visit(owner_account)
    page.goto(device_path(sender) + LOADED)
    expect(figure(page, "count")).to_have_text("1000")
    plot = page.locator("[data-chart] .u-over").first
    plot.hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    expect(figure(page, "count")).to_have_text(re.compile(r"^8\d\d$"))
    plot.dblclick()
    expect(figure(page, "count")).to_have_text("1000")


def touch(page: Page) -> Callable[..., None]:
    """A function that dispatches a touch of Chromium: its type, and places as parts of the plot's width."""
    session = page.context.new_cdp_session(page)
    box = page.locator("[data-chart] .u-over").first.bounding_box()

    def dispatch(kind: str, *parts: float) -> None:
        points = [
            {"x": box["x"] + box["width"] * part, "y": box["y"] + 40, "id": number}
            for number, part in enumerate(parts)
        ]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    return dispatch


def test_fingers_zoom_and_move(visit: Visit, owner_account: Account, sender: Sender) -> None:
    page = visit(owner_account, has_touch=True, viewport={"width": 400, "height": 900})
    page.goto(device_path(sender) + LOADED)
    expect(figure(page, "count")).to_have_text("1000")
    page.locator("[data-chart] .u-over").first.scroll_into_view_if_needed()
    finger = touch(page)
    finger("touchStart", 0.4, 0.6)
    finger("touchMove", 0.3, 0.7)
    finger("touchEnd")
    expect(figure(page, "count")).to_have_text(re.compile(r"^(49\d|50\d|51\d)$"))
    finger = touch(page)
    finger("touchStart", 0.8)
    finger("touchMove", 0.3)
    finger("touchEnd")
    expect(figure(page, "min")).to_have_text(re.compile(r"^(49\d|50\d|51\d)$"))


def test_moving_ranges_move(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.goto(device_path(device) + "?from=now-24h&to=now")
    expect(figure(page, "count")).to_have_text("3")
    with same_document(page):
        portal.post_reading(device, x=1, y=2, z=3)
        expect(figure(page, "count")).to_have_text("4")
    assert page.url.endswith("?from=now-24h&to=now")


def test_the_latest_readings_have_their_statistics(
    portal: Portal, visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.goto(device_path(device))
    expect(figure(page, "count")).to_have_text("3")
    portal.post_reading(device, x=1, y=2, z=3)
    expect(figure(page, "count")).to_have_text("4")
    page.get_by_role("link", name="24 h").click()
    expect(page.get_by_text("4 readings: minimum, mean and maximum.")).to_be_visible()
    page.get_by_role("link", name="Earlier by one length").click()
    expect(page.get_by_text("No reading in this range.")).to_be_visible()
    page.get_by_role("link", name="Live").click()
    expect(page.get_by_text("4 readings, the latest.")).to_be_visible()


def test_the_period_before_is_beside(visit: Visit, owner_account: Account, sender: Sender) -> None:
    page = visit(owner_account)
    page.goto(device_path(sender) + "?from=1999-05-01T00:05:00Z&to=1999-05-01T00:10:00Z&compare=before")
    row = page.locator(".stretch tr").filter(has_text="Median")
    expect(row).to_have_text(re.compile(r"Median\s*449.5\s*149.5\s*300"))
    expect(page.get_by_text("value, the period before")).to_be_visible()


def test_another_device_is_beside_if_it_is_seen(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, sender: Sender
) -> None:
    other = portal.new_device(owner, profile="scalar", name="Beside")
    portal.load(other, [(FIRST, [0.25])])
    foreign = portal.new_device(portal.new_user(), profile="scalar", name="Foreign one")
    page = visit(owner_account)
    page.goto(device_path(sender) + LOADED)
    page.get_by_label("Compare with").select_option("Another device")
    page.get_by_label("Its name or id").fill("Beside")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".stretch tr").filter(has_text="Count")).to_have_text(
        re.compile(r"Count\s*1000\s*1\s*999")
    )
    for text in ("Foreign one", foreign.id):
        page.get_by_label("Its name or id").fill(text)
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_text(f"compare: There is no device named “{text}”.")).to_be_visible()


def test_exclusions_are_hatched_with_their_reason(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account
) -> None:
    sender = portal.new_device(owner, profile="scalar")
    portal.load(sender, ((FIRST + timedelta(seconds=second), [1.0]) for second in range(1000)))
    period = {"start": "1999-05-01T00:05:00Z", "end": "1999-05-01T00:10:00Z", "reason": "Cleaning"}
    page = visit(owner_account)
    page.goto(device_path(sender) + LOADED)
    expect(figure(page, "count")).to_have_text("1000")
    assert marked_columns(page) == []
    portal.made(f"/devices/{sender.id}/exclusions/", portal.admin_token, period)
    page.reload()
    expect(figure(page, "count")).to_have_text("700")
    expect(page.get_by_role("list", name="Excluded from these statistics")).to_contain_text("Cleaning")
    assert len(marked_columns(page)) > 100


def marked_columns(page: Page) -> list[int]:
    """Columns of pixels of the chart that have the colour of exclusions, a brown in the light theme."""
    return columns(page, "alpha > 60 && red - blue > 60 && red > green")


def drawn_columns(page: Page) -> list[int]:
    """Columns of pixels of the chart that have the colour of the first series."""
    return columns(page, "alpha > 60 && green - red > 60 && blue - red > 60")


def columns(page: Page, condition: str) -> list[int]:
    return page.locator("[data-chart] canvas").first.evaluate(
        f"""canvas => {{
            const {{ width, height }} = canvas;
            const pixels = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            const found = new Set();
            for (let i = 0; i < pixels.length; i += 4) {{
                const [red, green, blue, alpha] = pixels.slice(i, i + 4);
                if ({condition}) found.add((i / 4) % width);
            }}
            return [...found].sort((a, b) => a - b);
        }}"""
    )


def test_chart_of_one_reading(portal: Portal, visit: Visit, owner: Person, owner_account: Account) -> None:
    sender = portal.new_device(owner, profile="scalar")
    portal.post_reading(sender, value=4.5)
    page = visit(owner_account)
    page.goto(device_path(sender))
    expect(page.get_by_text("1 reading, the latest.")).to_be_visible()
    assert drawn_columns(page)
    page.get_by_role("link", name="1 h", exact=True).click()
    expect(page.get_by_text("1 reading: minimum, mean and maximum.")).to_be_visible()
    assert drawn_columns(page)


@pytest.mark.parametrize("query", ["?from=first&to=now", ""])
def test_chart_leaves_gaps_and_shows_what_stands_alone(
    portal: Portal, visit: Visit, owner: Person, owner_account: Account, query: str
) -> None:
    sender = portal.new_device(owner, profile="scalar")
    times = [*(FIRST + timedelta(seconds=second) for second in range(900)), FIRST + timedelta(weeks=18)]
    portal.load(sender, ((time, [5.0]) for time in times))
    page = visit(owner_account)
    page.goto(device_path(sender) + query)
    expect(page.get_by_text(re.compile("^901 readings"))).to_be_visible()
    found = drawn_columns(page)
    # Dots of a few pixels and nothing between them; with all readings the axis extends up to now.
    assert 4 <= len(found) <= 20
    assert found[-1] - found[0] > (5 if query else 500)
    assert max(after - before for before, after in pairwise(found)) > 3


def test_a_range_that_cannot_be_read_is_told(visit: Visit, owner_account: Account, sender: Sender) -> None:
    page = visit(owner_account)
    page.goto(device_path(sender) + "?from=later&to=now")
    expect(page.get_by_role("alert")).to_contain_text("from: Must be now, now-24h, today")
    expect(page.get_by_text("1000 readings, the latest.")).to_be_visible()


def test_charts_write_numbers_and_stamps_as_the_server_does(
    visit: Visit, owner_account: Account, device: Sender
) -> None:
    page = visit(owner_account)
    page.goto(device_path(device))
    script = "text => { const [value, decimals] = JSON.parse(text); return chartText.%s(value, decimals); }"
    for value, decimals, text, derived in NUMBERS:
        case = json.dumps([value, decimals])
        assert page.evaluate(script % "number", case) == text, case
        assert page.evaluate(script % "derived", case) == derived, case
    for time, zone, text, fraction, offset in STAMPS:
        stamp = time.isoformat().replace("+00:00", "Z")
        script = "([stamp, zone, isExact]) => chartText.stamp(stamp, zone, { isExact })"
        suffix = f" {offset}" if offset else ""
        assert page.evaluate(script, [stamp, str(zone), False]) == text + suffix
        assert page.evaluate(script, [stamp, str(zone), True]) == text + fraction + suffix


def test_ticks_have_the_decimals_of_their_step(visit: Visit, owner_account: Account, device: Sender) -> None:
    page = visit(owner_account)
    page.goto(device_path(device))
    for step, decimals in ((1, 0), (250, 0), (0.5, 1), (0.25, 2), (1e-7, 7), (2.5e-8, 9), (1e-300, 15)):
        assert page.evaluate("step => chartText.decimalsOf(step)", step) == decimals


def test_what_is_beside_is_drawn_in_gaps_too(visit: Visit, owner_account: Account, sender: Sender) -> None:
    page = visit(owner_account)
    page.goto(device_path(sender))
    gap, beside = page.evaluate("""() => {
      const hours = (all) => all.map((hour) => new Date(hour * 3600000).toISOString());
      const series = (at) => ({ starts: hours(at), ends: hours(at), count: at.map(() => 1), points: 24,
        channels: { x: { min: at, mean: at, max: at } } });
      const channels = [{ name: "x" }];
      const other = { series: series([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), shift: 0 };
      const shown = chartLines.ofColumns(series([1, 2, 9, 10]), channels, [0, 24 * 3600], other);
      return [shown.values.x.mean, chartLines.beside(other.series, shown, channels, 0).x];
    }""")
    assert gap == [None, 1, 2, *[None] * 6, 9, 10, None]
    assert beside == list(range(12))
