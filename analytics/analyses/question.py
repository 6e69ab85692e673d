"""The question of an analysis: period, percentiles and buckets, parsed strictly into one canonical form."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError

from devices.timeline.periods import Period, parse_period
from users.zones import known_zone

OPTIONS = ("start", "end", "percentiles", "bucket", "time_zone")
MOST_PERCENTILES = 20
# Buckets x devices x (1 + percentiles). A fleet's bucket queries each device for each percentile: more than
# this would occupy a worker for minutes.
MOST_FIGURES = 300_000
# Zone names that are no place: the host's own setting, and a placeholder.
NO_PLACES = ("localtime", "Factory")
MOST_BUCKETS = 10_000
PERCENTILE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,10})?")
# The shortest length of each kind: February has 28 days. Clock changes are left to `beginnings`.
BUCKETS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=28),
}
EVERYTHING = Period()
# Nearer to the years 1 and 9999 the local time of some zones leaves the range of datetime.
EARLIEST, LATEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC)


class BadQuestion(ValueError):
    """An invalid option, named by `field`."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Question:
    """Equal questions are equal objects. `percentiles`: ascending decimals, separated by commas."""

    period: Period = EVERYTHING
    percentiles: str = ""
    bucket: str = ""
    time_zone: str = ""

    @property
    def percentile_texts(self) -> list[str]:
        return [text for text in self.percentiles.split(",") if text]


def parse_question(asked: Mapping[str, Any], zone: tzinfo) -> Question:
    """The question in a query string or JSON body.

    `zone` applies to bounds without an offset, and to buckets unless `time_zone` is given. Raises BadPeriod,
    BadQuestion.
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
    """Canonical text of numbers separated by commas, or of a list of numbers."""
    if asked is None:
        return ""
    if isinstance(asked, str):
        texts = asked.split(",")
    elif isinstance(asked, list) and all(type(number) in (int, float) for number in asked):
        # Decimal: a double writes small numbers with an exponent. + 0: there is no percentile -0.
        texts = [format(Decimal(str(number + 0)), "f") for number in asked]
    else:
        raise BadQuestion("percentiles", "Must be numbers separated by commas.")
    if len(texts) > MOST_PERCENTILES:
        raise BadQuestion("percentiles", f"At most {MOST_PERCENTILES} percentiles.")
    numbers = {parse_percentile(text) for text in texts}
    return ",".join(format(number, "f") for number in sorted(numbers))


def parse_percentile(text: str) -> Decimal:
    """The number without trailing zeros: 5.0 becomes 5."""
    if not PERCENTILE.fullmatch(text.strip(" ")) or Decimal(text.strip(" ")) > 100:
        raise BadQuestion("percentiles", "Must be numbers from 0 to 100, such as 5,25,99.9.")
    number = Decimal(text.strip(" "))
    return number.quantize(Decimal(1)) if number == number.to_integral() else number.normalize()


def parse_zone(asked: Any, bucket: str | None, default: tzinfo) -> str:
    if asked is None:
        return str(default) if bucket else ""
    if not bucket:
        raise BadQuestion("time_zone", "Allowed only with bucket: it says where buckets begin.")
    if asked in NO_PLACES:
        raise BadQuestion("time_zone", "Must be an IANA time zone, such as Europe/Berlin.")
    try:
        known_zone(asked)
    except (ValidationError, TypeError) as error:
        raise BadQuestion("time_zone", "Must be an IANA time zone, such as Europe/Berlin.") from error
    return asked


def check_size(question: Question, first: datetime | None, now: datetime, devices: int = 1) -> None:
    """Raise BadQuestion for too many buckets. `first` is the stamp of the first reading."""
    start, end = question.period.start or first, question.period.end or now
    if not question.bucket or not start:
        return
    if (end - start) / BUCKETS[question.bucket] > MOST_BUCKETS:
        raise BadQuestion("bucket", f"More than {MOST_BUCKETS:,} buckets; ask for longer ones.")
    figures = 1 + len(question.percentile_texts)
    if (end - start) / BUCKETS[question.bucket] * devices * figures > MOST_FIGURES:
        raise BadQuestion(
            "bucket", f"Too much work for {devices} devices; ask for longer ones, or a shorter period."
        )
    if start < EARLIEST or end > LATEST:
        raise BadQuestion("bucket", f"Buckets are possible only from {EARLIEST.date()} to {LATEST.date()}.")


def buckets(
    start: datetime, end: datetime, bucket: str, zone: ZoneInfo, *, starts_whole: bool = False
) -> list[Period]:
    """Buckets of the half-open period, in order; the first and the last are cut off at its bounds.

    A bucket begins where clocks in `zone` show a full hour, midnight, Monday's midnight (ISO 8601) or the
    first day's midnight, so a day may have 23 or 25 hours. Buckets that a clock change skips are left out.
    With `starts_whole` the first bucket is not cut off.
    """
    if start >= end:
        return []
    edges = sorted(set(beginnings(start, end, bucket, zone)))
    if starts_whole:
        start = max((edge for edge in edges if edge <= start), default=start)
    bounds = [start, *(edge for edge in edges if start < edge < end), end]
    return [Period(*pair) for pair in pairwise(bounds)]


def beginnings(start: datetime, end: datetime, bucket: str, zone: ZoneInfo) -> Iterator[datetime]:
    """Beginnings of buckets in UTC, from that of `start` to the first one past `end`; some may repeat."""
    local = floor(start.astimezone(zone).replace(tzinfo=None), bucket)
    while True:
        # When clocks go back, both occurrences of an hour begin a bucket, but only the first of a midnight.
        for fold in (0, 1) if bucket == "hour" else (0,):
            edge = local.replace(tzinfo=zone, fold=fold).astimezone(UTC)
            if fold == 0 or edge.astimezone(zone).replace(tzinfo=None, fold=0) == local:
                yield edge
        if edge >= end:
            return
        local = following(local, bucket)


def floor(local: datetime, bucket: str) -> datetime:
    """Local time at which the bucket of this local time began."""
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
    # 31 days from the first of a month always lie in the next month.
    return (local + timedelta(days=31)).replace(day=1)
