"""Forecast of a device’s channel for the next days, with a band that most hours should stay in."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.utils import timezone
from django.utils.module_loading import import_string

from analytics.kernels.declaration import (
    Column,
    InvalidParameters,
    Invariant,
    Kernel,
    NoResult,
    Progress,
    Row,
    Values,
)
from analytics.kernels.parameters import (
    ChannelName,
    DeviceId,
    MomentParameter,
    NumberParameter,
    WholeParameter,
)
from devices import statistics
from devices.models import Channel, Device
from devices.timeline.periods import Period

HOUR = timedelta(hours=1)
HOURS_A_DAY = 24
# A daily season shows only in two days or more.
FEWEST_HOURS = 2 * HOURS_A_DAY
# Least share, among the hours from the first to the last, of those with readings.
LEAST_FILLED = 0.5
# Imported by name on use: 160 MB and two seconds that only the computing process should pay.
MODEL = "statsmodels.tsa.exponential_smoothing.ets.ETSModel"
SERIES = "pandas.Series"
EARLIEST = datetime.min.replace(tzinfo=UTC)


class TooLittleHistory(NoResult):
    """The message says how much history there is and how much is needed."""


def check(parameters: Values, asker: Any) -> None:
    device = visible_device(parameters, asker)
    names = [channel.name for channel in device.channels]
    if parameters["channel"] not in names:
        raise InvalidParameters({"channel": f"The device has no such channel; it has {', '.join(names)}."})
    if parameters["until"] > timezone.now():
        raise InvalidParameters({"until": "Must not lie in the future."})


def visible_device(parameters: Values, asker: Any) -> Device:
    devices = Device.objects.visible_to(asker) if asker is not None else Device.objects.none()
    device = devices.with_channels().filter(uuid=parameters["device"]).first()
    if device is None:
        raise InvalidParameters({"device": "There is no such device."})
    return device


def units(stored: Values) -> dict[str, str]:
    channels = Channel.objects.filter(profile__devices__uuid=stored["device"], name=stored["channel"])
    unit = channels.values_list("unit", flat=True).first() or ""
    return dict.fromkeys(("expected", "low", "high"), unit)


def run(parameters: Values, rng: np.random.Generator, progress: Progress) -> Iterator[Row]:
    count = parameters["days"] * HOURS_A_DAY
    progress(0, count)
    last, past = hourly_past(parameters)
    progress(count // 10, count)
    expected, low, high = predicted(past, count, parameters["confidence"])
    for i in range(count):
        progress(i, count)
        time = (last + (i + 1) * HOUR).astimezone(UTC).isoformat().replace("+00:00", "Z")
        yield time, float(expected[i]), float(low[i]), float(high[i])


def hourly_past(parameters: Values) -> tuple[datetime, np.ndarray]:
    """The last hour with readings, and the means of all hours up to it, of shape (hours,).

    Hours without readings are interpolated. Raises TooLittleHistory.
    """
    device = Device.objects.with_channels().get(uuid=parameters["device"])
    # No time lies before the year 1.
    history = min(timedelta(days=parameters["history"]), parameters["until"] - EARLIEST)
    start = parameters["until"] - history
    period = Period(start, parameters["until"])
    means = statistics.hourly_means(device, parameters["channel"], period)
    if not means:
        raise TooLittleHistory(
            f"The device has no reading in the {parameters['history']} days before the forecast."
        )
    first, last = means[0][0], means[-1][0]
    places = np.array([(hour - first) // HOUR for hour, _ in means])
    total = places[-1] + 1
    if total < FEWEST_HOURS or len(means) < LEAST_FILLED * total:
        raise TooLittleHistory(
            f"{len(means)} of {total} hours have readings; at least half of {FEWEST_HOURS} or more must."
        )
    return last, np.interp(np.arange(total), places, np.array([mean for _, mean in means]))


def predicted(past: np.ndarray, count: int, confidence: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected values and the band's lower and upper edge, each of shape (count,).

    Exponential smoothing with additive errors, damped trend and daily season: ETS(A,Ad,A) of Hyndman,
    Koehler, Ord and Snyder (2008), whose band is exact for normal errors. `confidence` is in percent.
    """
    middle, spread = past.mean(), past.std()
    if spread == 0:
        return (np.full(count, middle),) * 3
    # Scaled to the order of one: the fit then converges alike in every unit.
    series = import_string(SERIES)((past - middle) / spread)
    model = import_string(MODEL)(
        series,
        error="add",
        trend="add",
        damped_trend=True,
        seasonal="add",
        seasonal_periods=HOURS_A_DAY,
        # Fitting the first day's state too takes ten times as long, and its effect fades by the last day.
        initialization_method="heuristic",
    )
    fitted = model.fit(disp=False)
    prediction = fitted.get_prediction(start=len(past), end=len(past) + count - 1)
    band = prediction.pred_int(alpha=1 - confidence / 100).to_numpy()
    expected = prediction.predicted_mean.to_numpy()
    return tuple(middle + spread * part for part in (expected, band[:, 0], band[:, 1]))


KERNEL = Kernel(
    name="forecast",
    label="Forecast of a channel",
    description="Expected hourly means of a device’s channel, computed from its past ones.",
    version="1",
    parameters=(
        DeviceId(name="device", label="Device"),
        ChannelName(name="channel", label="Channel"),
        WholeParameter(name="days", label="Days ahead", default=3, minimum=1, maximum=30),
        WholeParameter(
            name="history",
            label="History",
            unit="days",
            default=28,
            minimum=2,
            maximum=90,
            help="How far back readings are used.",
        ),
        NumberParameter(
            name="confidence",
            label="Confidence",
            unit="%",
            default=95.0,
            minimum=50,
            maximum=99.9,
            help="Share of the coming hours that should stay within the band.",
        ),
        MomentParameter(
            name="until",
            label="Up to",
            default=timezone.now,
            help="Readings before it are used. Default: now. Recorded, so a later run sees the same.",
        ),
    ),
    columns=(
        Column("time", "Hour", kind="moment"),
        Column("expected", "Expected", draw="line"),
        Column("low", "Low", draw="low"),
        Column("high", "High", draw="high"),
    ),
    invariants=(
        Invariant(
            "the expected value lies in the band", lambda row: row["low"] <= row["expected"] <= row["high"]
        ),
    ),
    run=run,
    check=check,
    units=units,
    example={"device": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10", "channel": "temperature", "days": 3},
    libraries=("numpy", "pandas", "scipy", "statsmodels"),
)
