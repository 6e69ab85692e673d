"""The kernel `forecast`: predictions, bands, and who may see a device."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from analytics import turns
from analytics.calculations import stored_rows
from analytics.calculations.request import new_calculation
from analytics.kernels import forecast
from analytics.models import Calculation, Status
from devices import exclusions
from devices.models import Device
from devices.storage.postgresql import readings_table
from devices.timeline.periods import Period
from tests.calculations.test_calculations import work
from tests.support import factories

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
DAY = 24 * HOUR
END = datetime(2026, 11, 1, tzinfo=UTC)


def wave(hour: int) -> float:
    """A daily course with small deviations that do not repeat soon."""
    return (
        20 + 5 * math.sin(2 * math.pi * hour / 24) + 0.3 * math.sin(hour * 1.7) + 0.2 * math.cos(hour * 0.9)
    )


def device_with_past(days: int = 14, every: timedelta = HOUR, value: Any = wave) -> Device:
    device = factories.device(profile=factories.profile("scalar", ["value"]))
    count = days * DAY // every
    times = (END - (count - i) * every for i in range(count))
    factories.append([(device.pk, time, (float(value(int((time - END) / HOUR))),)) for time in times])
    return device


def parameters(device: Device, **fields: Any) -> dict[str, Any]:
    declared = {p.name: p.shown_default for p in forecast.KERNEL.parameters if p.shown_default is not None}
    return declared | {"device": device.uuid, "channel": "value", "until": END} | fields


def calculation(device: Device, asker: Any = None, **fields: Any) -> Calculation:
    """A calculation, computed by the worker."""
    run = new_calculation(forecast.KERNEL, parameters(device, **fields), asked_by=asker or device.owner)
    run.save()
    work()
    run.refresh_from_db()
    return run


def test_it_foresees_a_daily_wave_within_its_band():
    run = calculation(device_with_past(), days=2)
    assert (run.status, run.error, run.row_count, run.broken) == (Status.FINISHED, "", 48, {})
    rows = list(stored_rows.all_rows(run))
    assert rows[0]["time"] == "2026-11-01T00:00:00Z"
    assert rows[-1]["time"] == "2026-11-02T23:00:00Z"
    inside = [row["low"] <= wave(hour) <= row["high"] for hour, row in enumerate(rows)]
    assert sum(inside) >= 0.9 * len(rows)
    assert max(abs(row["expected"] - wave(hour)) for hour, row in enumerate(rows)) < 2
    assert set(run.libraries) == {"python", "numpy", "pandas", "scipy", "statsmodels"}


def test_the_same_question_gets_the_same_table_whatever_came_after():
    device = device_with_past()
    first = list(stored_rows.all_rows(calculation(device, days=1)))
    factories.append([(device.pk, END + HOUR, (1000.0,))])
    assert list(stored_rows.all_rows(calculation(device, days=1))) == first


def test_more_confidence_is_a_wider_band():
    device = device_with_past()
    narrow, wide = (
        next(stored_rows.all_rows(calculation(device, days=1, confidence=level))) for level in (50.0, 99.0)
    )
    assert narrow["high"] - narrow["low"] < wide["high"] - wide["low"]
    assert narrow["expected"] == wide["expected"]


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e12])
def test_the_unit_makes_no_difference(scale):
    run = calculation(device_with_past(value=lambda hour: scale * wave(hour)), days=1)
    plain = calculation(device_with_past(), days=1)
    for row, other in zip(stored_rows.all_rows(run), stored_rows.all_rows(plain), strict=True):
        assert row["expected"] == pytest.approx(scale * other["expected"], rel=1e-3)


def test_what_never_changes_stays_as_it_is():
    rows = list(stored_rows.all_rows(calculation(device_with_past(value=lambda _: 7.5), days=1)))
    assert {(row["low"], row["expected"], row["high"]) for row in rows} == {(7.5, 7.5, 7.5)}


def test_hours_without_readings_are_bridged():
    device = device_with_past(days=6)
    gap = Period(END - 3 * DAY, END - 3 * DAY + 8 * HOUR)
    means = readings_table.hourly_means(device.pk, 0, Period(END - 6 * DAY, END))
    assert len(means) == 6 * 24
    kept = [(device.pk, hour, (mean,)) for hour, mean in means if not gap.start <= hour < gap.end]
    device.clear()
    factories.append(kept)
    assert calculation(device, days=1).row_count == 24


@pytest.mark.parametrize(
    ("days", "every", "reason"),
    [(0, HOUR, "has no reading"), (1, HOUR, "24 of 24 hours"), (10, 5 * HOUR, "hours have readings")],
)
def test_too_little_history_fails_and_says_so(days, every, reason, caplog):
    with caplog.at_level("INFO"):
        run = calculation(device_with_past(days, every))
    # An expected outcome, logged without a traceback.
    assert "raised expected" in caplog.text
    assert "Traceback" not in caplog.text
    assert run.status == Status.FAILED
    assert run.error.startswith("TooLittleHistory: ")
    assert reason in run.error
    assert run.row_count == 0


def test_its_columns_have_the_unit_of_the_channel():
    profile = factories.profile("greenhouse", ["temperature", "moisture"])
    profile.channels.filter(name="temperature").update(unit="°C")
    device = factories.device(profile=profile)
    stored = {"device": str(device.uuid), "channel": "temperature"}
    units = [column.unit for column in forecast.KERNEL.columns_of(stored)]
    assert units == ["", "°C", "°C", "°C"]
    assert {column.unit for column in forecast.KERNEL.columns_of(stored | {"channel": "gone"})} == {""}


def test_its_form_offers_the_devices_and_channels_of_who_asks():
    device, foreign = factories.device(name="Mast"), factories.device(factories.stranger())
    fields = {p.name: p.form_field(device.owner) for p in forecast.KERNEL.parameters}
    assert fields["device"].choices == [(str(device.uuid), "Mast: x, y, z")]
    assert [name for name, _ in fields["channel"].choices] == ["", "x", "y", "z"]
    assert fields["channel"].required
    [shown] = [p.shown for p in forecast.KERNEL.parameters if p.name == "device"]
    assert shown(str(device.uuid), device.owner) == "Mast"
    assert shown(str(foreign.uuid), device.owner) == str(foreign.uuid)


def test_who_may_no_longer_see_the_device_gets_no_forecast():
    device = device_with_past()
    run = new_calculation(forecast.KERNEL, parameters(device), asked_by=device.owner)
    run.save()
    Device.objects.filter(pk=device.pk).update(owner=factories.stranger())
    work()
    run.refresh_from_db()
    assert (run.status, run.error) == (Status.FAILED, "InvalidParameters: device: There is no such device.")
    assert calculation(device, factories.colleague()).status == Status.FINISHED


def test_whose_asker_is_gone_gets_no_forecast():
    run = calculation(device_with_past(), None)
    again = new_calculation(forecast.KERNEL, parameters(Device.objects.get()), asked_by=None)
    again.save()
    assert turns.positions(Calculation) == {again.pk: 1}
    work()
    again.refresh_from_db()
    assert (run.status, again.status) == (Status.FINISHED, Status.FAILED)


def test_without_a_moment_now_is_taken_and_recorded():
    device = device_with_past()
    before = timezone.now()
    field = next(p for p in forecast.KERNEL.parameters if p.name == "until").api_field()
    assert before <= field.get_default() <= timezone.now()
    written = forecast.KERNEL.written(parameters(device))
    assert written["until"] == "2026-11-01T00:00:00Z"
    assert forecast.KERNEL.read(written) == parameters(device)


class TestHourlyMeans:
    def test_each_hour_has_the_mean_of_its_readings(self):
        device = factories.device()
        times = [END, END + HOUR / 2, END + HOUR, END + 3 * HOUR - timedelta(microseconds=1)]
        factories.append([(device.pk, time, (0.0, float(i), 0.0)) for i, time in enumerate(times)])
        means = readings_table.hourly_means(device.pk, 1, Period(END, END + DAY))
        assert means == [(END, 0.5), (END + HOUR, 2.0), (END + 2 * HOUR, 3.0)]
        assert readings_table.hourly_means(device.pk, 1, Period(END + HOUR, END + 2 * HOUR)) == [
            (END + HOUR, 2.0)
        ]

    def test_hours_are_those_of_utc(self):
        device = factories.device(time_zone="Asia/Kolkata")
        factories.append([(device.pk, END + HOUR / 2, (1.0, 1.0, 1.0))])
        assert readings_table.hourly_means(device.pk, 0, Period(END, END + DAY)) == [(END, 1.0)]

    def test_excluded_readings_are_left_out(self):
        device = factories.device()
        times = [END, END + HOUR / 2, END + HOUR, END + 2 * HOUR]
        factories.append([(device.pk, time, (1.0 + i, 0.0, 0.0)) for i, time in enumerate(times)])
        whole = factories.exclusion(device, END + HOUR / 2, END + HOUR)
        factories.exclusion(device, END + HOUR, END + 3 * HOUR, [3.0, 0.0, 0.0])
        assert readings_table.hourly_means(device.pk, 0, Period(END, END + DAY)) == [
            (END, 1.0),
            (END + 2 * HOUR, 4.0),
        ]
        exclusions.lift(whole, by="colleague", now=END)
        assert readings_table.hourly_means(device.pk, 0, Period(END, END + HOUR)) == [(END, 1.5)]

    def test_the_order_of_arrival_makes_no_difference(self):
        values = list(np.random.default_rng(1).normal(1e9, 1, 200))
        found = []
        for shift in (0, 77):
            device = factories.device()
            rows = [(device.pk, END + timedelta(seconds=i), (v, 0.0, 0.0)) for i, v in enumerate(values)]
            factories.append(rows[shift:] + rows[:shift])
            found.append(readings_table.hourly_means(device.pk, 0, Period(END, END + DAY)))
        assert found[0] == found[1]
