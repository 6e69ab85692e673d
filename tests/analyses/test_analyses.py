"""Results of analyses: their contents and shape, and the readings they use."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django_celery_results.models import TaskResult

from analytics.analyses import compute
from analytics.analyses.question import BadQuestion
from analytics.models import Analysis, Status
from tests.support import factories

pytestmark = pytest.mark.django_db


def computed(**fields: object) -> dict:
    return computed_of(Analysis(**fields))


def computed_of(analysis: Analysis) -> dict:
    tomorrow = factories.NOON + timedelta(days=1)
    return compute.compute_analysis(analysis, tomorrow, lambda _: None).result


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


def test_a_users_result_has_the_extent_and_the_coverage_of_each_device():
    device = factories.device()
    factories.readings(device, [(1.0, 2.0, 3.0)] * 10)
    details = computed(user=device.owner)["details"][str(device.uuid)]
    assert set(details) == {"first", "last", "excluded", "coverage"}
    assert details["coverage"]["expected_seconds"] == 1.0


def test_a_user_without_devices_has_an_empty_aggregate():
    result = computed(user=factories.owner())
    assert (result["aggregate"], result["devices"], result["start"]) == ({}, {}, None)


def shown(analysis: Analysis) -> tuple[Analysis, Client]:
    """The analysis, finished, and a client logged in as its device's owner."""
    analysis.save()
    result = json.dumps(computed_of(analysis))
    analysis.task_result = TaskResult.objects.create(task_id=str(analysis.pk), result=result)
    analysis.status = Status.FINISHED
    analysis.save()
    client = Client()
    client.force_login(analysis.device.owner)
    return analysis, client


def test_buckets_come_as_csv():
    device = factories.device(profile=factories.profile("scalar", ["value"]))
    factories.readings(device, [(float(second),) for second in range(120)])
    question = {"bucket": "hour", "time_zone": "UTC", "percentiles": "10,99.9"}
    bounds = {"start": factories.NOON, "end": factories.NOON + timedelta(hours=2)}
    analysis, client = shown(Analysis(device=device, **question, **bounds))
    answer = client.get(reverse("analytics:bucket-file", args=[analysis.pk]))
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    first, second = csv.DictReader(io.StringIO(answer.content.decode()))
    assert first == {
        "start": "2026-11-21T12:00:00Z",
        "end": "2026-11-21T13:00:00Z",
        "seconds": "3600.0",
        "channel": "value",
        "count": "120",
        "min": "0.0",
        "max": "119.0",
        "sum": "7140.0",
        "avg": "59.5",
        "median": "59.5",
        "p10": "11.9",
        "p99.9": "118.881",
    }
    assert (second["count"], second["min"], second["p10"]) == ("0", "", "")


def test_there_is_no_file_without_buckets_or_for_a_stranger():
    device = factories.device()
    analysis, client = shown(Analysis(device=device))
    assert client.get(reverse("analytics:bucket-file", args=[analysis.pk])).status_code == 404
    with_buckets, _ = shown(Analysis(device=device, bucket="day", time_zone="UTC", start=factories.NOON))
    file = reverse("analytics:bucket-file", args=[with_buckets.pk])
    assert client.get(file).status_code == 200
    client.force_login(factories.stranger())
    assert client.get(file).status_code == 404


def test_a_page_shows_what_a_result_says_of_itself():
    device = factories.device()
    factories.readings(device, [(1.0, 2.0, 3.0)] * 10)
    factories.exclusion(device, factories.NOON, factories.NOON + timedelta(seconds=2))
    analysis, client = shown(Analysis(device=device, percentiles="5", bucket="day", time_zone="UTC"))
    page = client.get(reverse("analytics:analysis", args=[analysis.pk])).content.decode()
    for text in (
        "2 excluded",
        "one reading in 1 s expected",
        "Computed from",
        " segments</dd>",
        '<th scope="col" class="figure">5 %</th>',
        "24 h",
    ):
        assert text in page, text


def test_many_buckets_are_shown_page_by_page():
    device = factories.device()
    factories.readings(device, [(1.0, 2.0, 3.0)])
    bounds = {"start": factories.NOON, "end": factories.NOON + timedelta(hours=101)}
    analysis, client = shown(Analysis(device=device, bucket="hour", time_zone="UTC", **bounds))
    path = reverse("analytics:analysis", args=[analysis.pk])
    shown_rows = [
        client.get(f"{path}{query}").content.count(b'scope="rowgroup"') for query in ("", "?page=2")
    ]
    assert shown_rows[0] - shown_rows[1] == 100 - 1
    assert b"Page 2 of 2" in client.get(f"{path}?page=2").content


def test_too_many_buckets_by_a_late_reading_end_in_a_clear_error():
    device = factories.device()
    factories.readings(device, [(1.0, 2.0, 3.0)], factories.NOON - timedelta(hours=11_000))
    with pytest.raises(BadQuestion, match="ask for longer ones"):
        computed(device=device, bucket="hour", time_zone="UTC")


def test_coverage_goes_by_the_profiles_interval_if_it_has_one():
    profile = factories.profile("slow", ["x"])
    device = factories.device(profile=profile)
    factories.readings(device, [(1.0,)] * 10)
    bounds = {"start": factories.NOON, "end": factories.NOON + timedelta(seconds=10)}
    assert computed(device=device, **bounds)["coverage"] == {
        "expected_seconds": 1.0,
        "percent": 100.0,
        "gaps": 0,
        "longest_gap": None,
    }
    profile.expected_interval_seconds = 0.25
    profile.save()
    coverage = computed(device=device, **bounds)["coverage"]
    assert (coverage["expected_seconds"], coverage["gaps"], coverage["percent"]) == (0.25, 10, 25.0)
