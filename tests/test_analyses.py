"""Results of analyses: what they hold, in which shape, and of which readings."""

from datetime import timedelta

import pytest

from analytics import analyses
from analytics.models import Analysis
from tests import factories

pytestmark = pytest.mark.django_db


def computed(**fields: object) -> dict:
    tomorrow = factories.NOON + timedelta(days=1)
    return analyses.compute(Analysis(**fields), tomorrow, lambda _: None).result


def test_a_users_aggregate_pools_all_readings_and_is_no_median_of_medians():
    owner = factories.owner()
    small, large = factories.device(owner), factories.device(owner)
    factories.readings(small, [(1.0, 5.0, 0.5)])
    factories.readings(large, [(2.0, 6.0, 0.5), (3.0, 7.0, 0.5), (10.0, 8.0, 0.5)])
    factories.readings(factories.device(factories.stranger()), [(1000.0, 1000.0, 1000.0)])

    result = computed(user=owner)

    assert result["aggregate"]["x"] == {
        "count": 4,
        "min": 1.0,
        "max": 10.0,
        "sum": 16.0,
        "avg": 4.0,
        "median": 2.5,
    }
    assert [result["devices"][str(device.uuid)]["x"]["median"] for device in (small, large)] == [1.0, 3.0]
    assert result["aggregate"]["x"]["median"] == 2.5


def test_the_median_of_pooled_devices_needs_their_readings_not_their_medians():
    owner = factories.owner()
    for rows in ([(0.0, 0, 0)] * 9, [(8.0, 0, 0)]):
        factories.readings(factories.device(owner), rows)
    assert computed(user=owner)["aggregate"]["x"]["median"] == 0.0


def test_channels_of_one_name_in_different_units_are_not_pooled():
    owner = factories.owner()
    for unit, number in (("°C", 20.0), ("°C", 22.0), ("°F", 70.0)):
        profile = factories.profile(f"air-{unit}", ["temperature"], unit)
        factories.readings(factories.device(owner, profile=profile), [(number,)])

    aggregate = computed(user=owner)["aggregate"]

    assert {name: summary["avg"] for name, summary in aggregate.items()} == {
        "temperature (°C)": 21.0,
        "temperature (°F)": 70.0,
    }


def test_channels_of_one_name_and_unit_are_pooled_across_profiles():
    owner = factories.owner()
    for profile, row in (("air", (20.0,)), ("weather", (30.0, 1.0))):
        channels = ["temperature", "wind"][: len(row)]
        device = factories.device(owner, profile=factories.profile(profile, channels, "K"))
        factories.readings(device, [row])
    assert computed(user=owner)["aggregate"]["temperature"]["avg"] == 25.0


def test_only_readings_of_the_half_open_period_count():
    device = factories.device()
    factories.readings(device, [(float(second), 0, 0) for second in range(5)])
    second = timedelta(seconds=1)

    result = computed(device=device, start=factories.NOON + second, end=factories.NOON + 3 * second)

    assert (result["x"]["min"], result["x"]["max"], result["x"]["count"]) == (1.0, 2.0, 2)
    assert (result["start"], result["end"]) == ("2026-11-21T12:00:01Z", "2026-11-21T12:00:03Z")


def test_a_user_without_devices_has_an_empty_aggregate():
    result = computed(user=factories.owner())
    assert (result["aggregate"], result["devices"], result["start"]) == ({}, {}, None)
