"""What is asked of an analysis beside its target: parsed strictly, in one form for equal questions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError

from devices.models import known_zone
from devices.timeline.periods import Period, parse_period

OPTIONS = ("start", "end", "percentiles", "bucket", "time_zone")
MOST_PERCENTILES = 20
# A bucket of a fleet asks each device for each percentile: more would keep others waiting for minutes.
MOST_FIGURES = 300_000
# Names that are no place: one is whatever the host has, the other stands for none.
NO_PLACES = ("localtime", "Factory")
MOST_BUCKETS = 10_000
PERCENTILE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,10})?")
# The shortest of each kind that the calendar has; clocks that change do not matter here.
BUCKETS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=28),
}


EVERYTHING = Period()
EARLIEST, LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)


class BadQuestion(ValueError):
    """`field` names the option that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Question:
    """Equal questions are equal objects. `percentiles` as decimals, ascending, with commas between."""

    period: Period = EVERYTHING
    percentiles: str = ""
    bucket: str = ""
    time_zone: str = ""

    def fractions(self) -> dict[str, float]:
        """By the text of each percentile what `percentile_cont` takes: the double nearest to a hundredth."""
        return {text: float(Decimal(text) / 100) for text in filter(None, self.percentiles.split(","))}


def parse_question(asked: Mapping[str, Any], zone: tzinfo) -> Question:
    """Of a query or a JSON body. Naive bounds are read, and buckets begin, in `zone` if no other is named.

    Raises BadPeriod, BadQuestion.
    """
    bucket = asked.get("bucket")
    if bucket is not None and (not isinstance(bucket, str) or bucket not in BUCKETS):
        raise BadQuestion("bucket", f"Must be one of {', '.join(BUCKETS)}.")
    return Question(
        period=parse_period(asked, zone),
        percentiles=parse_percentiles(asked.get("percentiles")),
        bucket=bucket or "",
        time_zone=parse_zone(asked.get("time_zone"), bucket, zone),
    )


def parse_percentiles(asked: Any) -> str:
    """Numbers with commas between, or a list of numbers."""
    if asked is None:
        return ""
    if isinstance(asked, str):
        texts = asked.split(",")
    elif isinstance(asked, list) and all(type(number) in (int, float) for number in asked):
        texts = [str(number) for number in asked]
    else:
        raise BadQuestion("percentiles", "Must be numbers with commas between.")
    found = {percentile(text) for text in texts}
    if len(found) > MOST_PERCENTILES:
        raise BadQuestion("percentiles", f"No more than {MOST_PERCENTILES}.")
    return ",".join(format(number, "f") for number in sorted(found))


def percentile(text: str) -> Decimal:
    """Without zeros at its end: 5.0 is 5."""
    if not PERCENTILE.fullmatch(text.strip(" ")) or Decimal(text.strip(" ")) > 100:
        raise BadQuestion("percentiles", "Must be numbers from 0 to 100, such as 5,25,99.9.")
    number = Decimal(text.strip(" "))
    return number.quantize(Decimal(1)) if number == number.to_integral() else number.normalize()


def parse_zone(asked: Any, bucket: str | None, default: tzinfo) -> str:
    if asked is None:
        return str(default) if bucket else ""
    if not bucket:
        raise BadQuestion("time_zone", "Says where buckets begin: only with bucket.")
    if asked in NO_PLACES:
        raise BadQuestion("time_zone", "Must be an IANA time zone, such as Europe/Berlin.")
    try:
        known_zone(asked)
    except (ValidationError, TypeError) as error:
        raise BadQuestion("time_zone", "Must be an IANA time zone, such as Europe/Berlin.") from error
    return asked


def check_size(question: Question, first: datetime | None, now: datetime, devices: int = 1) -> None:
    """Raises BadQuestion if there would be too many buckets; `first` is the stamp of the first reading."""
    start, end = question.period.start or first, question.period.end or now
    if not question.bucket or not start:
        return
    if (end - start) / BUCKETS[question.bucket] > MOST_BUCKETS:
        raise BadQuestion("bucket", f"More than {MOST_BUCKETS:,} of this length; ask for longer ones.")
    figures = 1 + len(question.percentiles.split(",")) if question.percentiles else 1
    if (end - start) / BUCKETS[question.bucket] * devices * figures > MOST_FIGURES:
        raise BadQuestion(
            "bucket", f"Too much work for {devices} devices; ask for longer ones, or a shorter period."
        )
    # Beside these, clocks of some zones show no year that there is.
    if start < EARLIEST or end > LATEST:
        raise BadQuestion("bucket", f"Only from {EARLIEST.date()} to {LATEST.date()}.")


def buckets(
    start: datetime, end: datetime, bucket: str, zone: ZoneInfo, *, starts_whole: bool = False
) -> list[Period]:
    """The buckets of the half-open period in order, the first and the last cut off where it begins and ends.

    They begin where clocks in `zone` show a full hour, midnight, Monday's midnight (ISO 8601) or the first's:
    a day may have 23 or 25 hours. One that clocks leave out altogether is left out. With `starts_whole` the
    first is not cut off.
    """
    if start >= end:
        return []
    edges = sorted(set(beginnings(start, end, bucket, zone)))
    if starts_whole:
        start = max((edge for edge in edges if edge <= start), default=start)
    bounds = [start, *(edge for edge in edges if start < edge < end), end]
    return [Period(*pair) for pair in pairwise(bounds)]


def beginnings(start: datetime, end: datetime, bucket: str, zone: ZoneInfo) -> Iterator[datetime]:
    """When buckets begin, in UTC, from the one that `start` lies in on; perhaps some twice."""
    local = floor(start.astimezone(zone).replace(tzinfo=None), bucket)
    while True:
        # Of an hour that comes twice both begin a bucket; of a midnight that does, the first.
        for fold in (0, 1) if bucket == "hour" else (0,):
            edge = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            if fold == 0 or edge.astimezone(zone).replace(tzinfo=None, fold=0) == local:
                yield edge
        if edge >= end:
            return
        local = following(local, bucket)


def floor(local: datetime, bucket: str) -> datetime:
    """When the bucket of this time on the clock began."""
    hour = local.replace(minute=0, second=0, microsecond=0, fold=0)
    if bucket == "hour":
        return hour
    day = hour.replace(hour=0)
    if bucket == "day":
        return day
    return day.replace(day=1) if bucket == "month" else day - timedelta(days=day.weekday())


def following(local: datetime, bucket: str) -> datetime:
    if bucket != "month":
        return local + BUCKETS[bucket]
    # Beyond the longest month there is always the next.
    return (local + timedelta(days=31)).replace(day=1)
