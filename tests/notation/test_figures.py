"""The template tags that show numbers and moments."""

from datetime import UTC, datetime, tzinfo

import pytest
from django.template import Context, Template
from django.utils import timezone
from django.utils.html import strip_tags

from devices.templatetags import figures
from tests.notation.cases import BERLIN, NEW_YORK, NOW, NUMBERS, STAMPS, UTC_ZONE, before_now

TIME = datetime(2026, 11, 21, 9, 30, 5, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(("value", "decimals", "text", "derived"), NUMBERS)
def test_number_keeps_the_exact_double(value: float, decimals: int | None, text: str, derived: str) -> None:
    exact = repr(value).replace("e-0", "e-").removesuffix(".0")
    for shown, expected in (
        (figures.number(value, decimals), text),
        (figures.derived(value, decimals), derived),
    ):
        assert shown == f'<data class="number" value="{exact}" title="{exact}">{expected}</data>'


@pytest.mark.parametrize(
    ("value", "text"), [(None, "—"), ("", "—"), (41200, "41\u202f200"), (-40.0, "-40"), (0.25, "0.25")]
)
def test_number_without_a_channel_has_its_own_decimals(value: float | None, text: str) -> None:
    assert strip_tags(figures.number(value)) == text
    template = Template("{% load figures %}{{ value|number }}")
    assert strip_tags(template.render(Context({"value": value}))) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345, "12\u202f345"), (0.5, "0.5"), (True, "True"), (None, "—"), ("<x>", "&lt;x&gt;")],
)
def test_inputs_are_numbers_or_texts(value: object, text: str) -> None:
    template = Template("{% load figures %}{{ value|number_or_text }}")
    assert strip_tags(template.render(Context({"value": value}))) == text


@pytest.mark.parametrize(("time", "zone", "text", "fraction", "offset"), STAMPS)
def test_moment_has_its_microseconds_on_hover(
    time: datetime, zone: tzinfo, text: str, fraction: str, offset: str
) -> None:
    machine = time.isoformat().replace("+00:00", "Z")
    title = f"{text}{fraction} " + (f"{offset}, {zone}" if offset else "UTC")
    suffix = f' <span class="offset">{offset}</span>' if offset else ""
    assert figures.moment(time, zone) == f'<time datetime="{machine}" title="{title}">{text}{suffix}</time>'


def test_moment_is_in_the_viewers_zone_unless_it_belongs_to_a_device() -> None:
    template = Template("{% load figures %}{% moment time %} | {% moment time zone %}")
    with timezone.override(NEW_YORK):
        shown = strip_tags(template.render(Context({"time": TIME, "zone": BERLIN})))
    assert shown == "2026-11-21 04:30:05 -05:00 | 2026-11-21 10:30:05 +01:00"


def test_utc_is_named_where_the_page_does_not() -> None:
    assert strip_tags(figures.moment(TIME, UTC_ZONE, is_named=True)) == "2026-11-21 09:30:05 UTC"


def test_no_moment_is_a_dash() -> None:
    assert figures.moment(None) == figures.ago(None, NOW) == "—"


def test_relative_time_names_the_moment_and_the_servers_clock() -> None:
    assert figures.ago(before_now(200), NOW, BERLIN) == (
        '<time datetime="2026-11-20T23:56:40Z" title="2026-11-21 00:56:40 +01:00, Europe/Berlin"'
        ' data-ago="2026-11-21T00:00:00Z">3 min ago</time>'
    )
