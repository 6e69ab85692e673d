"""The time bar of a device's page: the address it reads, and the addresses it leads to."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from analytics.device_pages.time_bar import address_of_form, others_of, read_time_bar
from devices.models import Device
from devices.timeline.periods import Period
from tests.support import factories

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 27, 14, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = {"from": "now-24h", "to": "now"}
LAST_YEAR = {"from": "2025-01-01T00:00:00Z", "to": "2025-01-02T00:00:00Z"}


@pytest.fixture
def device() -> Device:
    return factories.device(time_zone="Asia/Tokyo", name="Pump")


def bar_of(device: Device, query: dict[str, str], viewer=None):
    return read_time_bar(query, device, viewer or device.owner, NOW)


def test_quick_ranges_keep_the_rest_of_the_address(device) -> None:
    bar = bar_of(device, DAY | {"zone": "utc", "page": "7"})
    shown = {label: (address, is_current) for label, address, is_current in bar.quick}
    assert shown["24 h"] == ("?from=now-24h&to=now&zone=utc", True)
    assert shown["7 d"] == ("?from=now-7d&to=now&zone=utc", False)
    assert bar.live == "?zone=utc"


def test_back_and_forth(device) -> None:
    bar = bar_of(device, DAY)
    assert bar.earlier == "?from=2026-11-25T14%3A30%3A00Z&to=2026-11-26T14%3A30%3A00Z"
    assert bar.later is None
    assert bar_of(device, LAST_YEAR).later == "?from=2025-01-02T00%3A00%3A00Z&to=2025-01-03T00%3A00%3A00Z"
    for query in ({}, {"from": "first", "to": "now"}):
        assert bar_of(device, query).earlier is None


@pytest.mark.parametrize(
    ("zone", "start"),
    [("", "2026-11-27T00:00:00"), ("utc", "2026-11-27T00:00:00"), ("mine", "2026-11-27T00:00:00")],
)
def test_days_begin_in_the_zone_that_is_shown(device, zone, start) -> None:
    bar = bar_of(device, {"from": "today", "to": "now", "zone": zone})
    assert bar.start_input == start
    offset = bar.range.period.start.astimezone(bar.zone).utcoffset()
    assert offset == (9 * HOUR if zone == "" else timedelta())


@pytest.mark.parametrize(("kind", "shift"), [("before", 24 * HOUR), ("week", 168 * HOUR)])
def test_another_period_is_compared_with(device, kind, shift) -> None:
    comparison = bar_of(device, DAY | {"compare": kind}).comparison
    assert comparison.period == Period(NOW - 24 * HOUR - shift, NOW - shift)
    assert (comparison.device, comparison.shift) == (device, shift)


def test_another_device_is_found_by_name_external_id_and_id(device) -> None:
    other = factories.device(device.owner, name="Fan", external_id="f-1")
    for text in ("Fan", "f-1", str(other.uuid), " Fan "):
        assert bar_of(device, DAY | {"compare": "device", "with": text}).comparison.device == other


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"compare": "device"}, "Name the other device."),
        ({"compare": "device", "with": "Foreign"}, "There is no device named “Foreign”."),
        ({"compare": "device", "with": "Twin"}, "Several devices are named “Twin”"),
        ({"compare": "year"}, "Must be before, week or device."),
        ({"compare": "week", "from": "now-8d"}, "longer than a week"),
        ({"compare": "before", "from": "0001-01-02", "to": "0001-06-01"}, "no time before"),
    ],
)
def test_what_cannot_be_compared_is_told(device, query, message) -> None:
    factories.device(name="Foreign")
    for _ in range(2):
        factories.device(device.owner, name="Twin")
    bar = bar_of(device, DAY | query)
    assert bar.comparison is None
    assert message in bar.errors["compare"]


def test_staff_compare_with_any_device(device) -> None:
    foreign = factories.device(name="Foreign")
    bar = bar_of(device, DAY | {"compare": "device", "with": "Foreign"}, factories.colleague())
    assert bar.comparison.device == foreign


def sent(bar, **changes: str) -> dict[str, str]:
    """The fields that a browser sends of the bar's form."""
    fields = {"from": bar.start_input, "to": bar.end_input, "zone": "", "compare": "", "with": ""}
    hidden = {f"kept_{name}": text for name, text in bar.kept.items()}
    return fields | hidden | {"was_from": bar.start_input, "was_to": bar.end_input} | changes


def test_a_moving_range_moves_on_beside_a_comparison(device) -> None:
    bar = bar_of(device, {"from": "now-24h", "to": "now"})
    assert address_of_form(sent(bar, compare="before")) == "?from=now-24h&to=now&compare=before"


def test_another_zone_shows_the_same_moments(device) -> None:
    device.time_zone = "Europe/Berlin"
    bar = bar_of(device, {"from": "2026-11-20T10:00", "to": "2026-11-20T12:00"})
    address = address_of_form(sent(bar, zone="utc"))
    assert address == "?from=2026-11-20T09%3A00%3A00Z&to=2026-11-20T11%3A00%3A00Z&zone=utc"


def test_what_is_typed_counts(device) -> None:
    bar = bar_of(device, {"from": "first", "to": "now"})
    address = address_of_form(sent(bar, **{"from": "2026-11-01T00:00"}))
    assert address == "?from=2026-11-01T00%3A00&to=now"


def test_other_queries_stay_as_they_are() -> None:
    assert address_of_form({"from": "now-1h", "to": "now"}) is None


def test_devices_of_the_same_profile_are_offered_to_those_who_see_them(device) -> None:
    factories.device(device.owner, profile=device.profile, name="Like it")
    factories.device(profile=device.profile, name="Foreign")
    factories.device(device.owner, profile=factories.profile("other", ["load"]), name="Unlike it")
    assert list(others_of(device, device.owner)) == ["Like it"]


@pytest.mark.parametrize("tab", ["", "stretch/", "readings/", "statistics/", "exclusions/"])
def test_the_ends_of_the_calendar_and_odd_names_are_shown(tab) -> None:
    device = factories.device(time_zone="America/New_York")
    client = Client()
    client.force_login(device.owner)
    for query in (
        "from=0001-01-01T00:00:00Z&to=now",
        "from=2020-01-01&to=9999-12-31T23:59:59.999999Z",
        "from=now-24h&to=now&compare=device&with=%00",
    ):
        assert client.get(f"/portal/devices/{device.uuid}/{tab}?{query}").status_code == 200, query


@pytest.mark.parametrize("tab", ["", "readings/"])
def test_the_form_leads_to_its_address(device, tab) -> None:
    client = Client()
    client.force_login(device.owner)
    bar = bar_of(device, {"from": "now-24h", "to": "now"})
    answer = client.get(f"/portal/devices/{device.uuid}/{tab}", sent(bar, zone="utc"))
    assert (answer.status_code, answer["Location"]) == (302, "?from=now-24h&to=now&zone=utc")
