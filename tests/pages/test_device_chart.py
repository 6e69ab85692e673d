"""The chart of a device in a real browser."""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from playwright.sync_api import Page, expect

from tests.notation.cases import NUMBERS, STAMPS
from tests.pages.browser import (
    Account,
    Visit,
    device_path,
    is_drawn,
)
from tests.support.portal import Person, Portal, Sender

pytestmark = pytest.mark.browser


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
    expect(page.get_by_text("20\u202f000 readings: minimum, mean and maximum.")).to_be_visible()
    assert is_drawn(page)
    page.get_by_label("Period of the chart").select_option("Last hour")
    expect(page.get_by_text("No reading in this period.")).to_be_visible()
    page.get_by_label("Period of the chart").select_option("Latest readings, live")
    expect(page.get_by_text("1000 readings")).to_be_visible()


def shown_period(page: Page) -> dict[str, float]:
    """Span of the chart's time axis, in seconds."""
    return page.evaluate(
        """() => {
            const detail = {};
            document.dispatchEvent(new CustomEvent("shown-period", { detail }));
            return detail;
        }"""
    )


def drawn_columns(page: Page) -> list[int]:
    """Columns of pixels of the chart that have the colour of the first series."""
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
    # Dots of a few pixels and nothing between them; with all readings the axis extends up to now.
    assert 4 <= len(columns) <= 20
    assert columns[-1] - columns[0] > (500 if period.startswith("Latest") else 5)
    assert max(after - before for before, after in pairwise(columns)) > 3


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
