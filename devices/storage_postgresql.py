"""Readings in the portal's own database: `devices.store` has the rows, `devices.cover` sorted segments."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from devices import cover, few, history, journal, rollups, series, store
from devices.columns import Column, Found, Gone, find
from devices.cover import Part
from devices.periods import Period
from devices.segments import between, value_of
from devices.spans import Span
from devices.storage import (
    GAP,
    MEDIAN,
    MICROSECONDS,
    NO_AMOUNTS,
    Amounts,
    Answer,
    Asked,
    Day,
    Figures,
    Pool,
    Position,
    Report,
    Rows,
    Series,
    StoredReading,
)

# Spans are looked at so many at a time: what their unsegmented rows need in memory stays bounded.
SPANS_AT_ONCE = 100
ATTEMPTS = 5
MONTHS_AHEAD = 3
# As PostgreSQL writes a ctid.
PLACE = re.compile(r"\([0-9]{1,9},[0-9]{1,4}\)")


class PostgreSQL:
    """In Django's database `default`: the URL says no more than that."""

    def __init__(self, url: str) -> None:
        self.url = url

    def append(self, rows: Rows, token: str = "") -> None:
        store.append(rows)

    def expect(self, rows: Rows) -> None:
        store.make_partitions_for(rows.times)

    def put(self, cursor: Any, rows: Sequence[Rows], tokens: Sequence[str] | None = None) -> None:
        file = store.copy_file([part.payload for part in rows])
        cursor.copy_expert(store.COPY_IN, file, store.COPY_PIECE_BYTES)

    def clear(self, device_id: int) -> None:
        store.clear(device_id)

    def erase(self, device_id: int) -> int:
        return store.erase(device_id)

    def prepare(self, now: datetime) -> list[str]:
        months = [now.replace(day=1)]
        for _ in range(MONTHS_AHEAD):
            months.append(store.month_after(months[-1]))
        return store.make_partitions(months)

    def build(self, seconds: float) -> int:
        return rollups.build_due(seconds)

    def page(
        self, device_ids: Sequence[int], period: Period, *, limit: int, after: Position | None = None
    ) -> list[StoredReading]:
        return store.page(device_ids, period, limit=limit, after=after)

    def is_place(self, text: str) -> bool:
        return PLACE.fullmatch(text) is not None

    def latest(self, device_ids: Sequence[int]) -> dict[int, StoredReading]:
        return store.latest(device_ids)

    def sent_since(self, device_ids: Sequence[int], time: datetime) -> set[int]:
        return store.sent_since(device_ids, time)

    def first_time(self, device_ids: Sequence[int]) -> datetime | None:
        return store.first_time(device_ids)

    def has(self, device_id: int, time: datetime, values: Sequence[float]) -> bool:
        return store.has(device_id, time, values)

    def counts(self, device_ids: Sequence[int], period: Period) -> dict[int, int]:
        spans = [Span.of(device_id, period) for device_id in device_ids]
        with journal.one_state():
            return dict(zip(device_ids, cover.counts(spans), strict=True))

    def figures(
        self,
        asked: Sequence[Asked],
        shares: Sequence[float],
        pools: Sequence[Pool] = (),
        report: Report | None = None,
    ) -> Answer:
        for _ in range(ATTEMPTS):
            # Outside of a state that stays a segment may be replaced between finding and reading it.
            with suppress(Gone):
                return answer(asked, shares, pools, report)
        raise Gone

    def series(self, device_id: int, channels: int, period: Period, points: int) -> Series:
        return series.series(device_id, channels, period, points)

    def hourly_means(self, device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
        return history.hourly_means(device_id, channel, period)

    def days(self, device_id: int) -> dict[int, Day]:
        return store.days(device_id)

    def rows_of(self, span: Span) -> Rows:
        return store.rows(span)

    def take_over(self, rows: Rows) -> None:
        store.append(rows)

    def remove(self, spans: Sequence[Span]) -> None:
        for span in spans:
            store.remove(span)


def answer(
    asked: Sequence[Asked], shares: Sequence[float], pools: Sequence[Pool], report: Report | None
) -> Answer:
    if len(asked) == 1 and not pools:
        found = answer_few(asked[0], shares)
        if found is not None:
            return found
    parts: list[Part] = []
    each: list[Figures] = []
    with journal.one_state():
        state = journal.snapshot()
        for i in range(0, len(asked), SPANS_AT_ONCE):
            chosen = asked[i : i + SPANS_AT_ONCE]
            gathered = cover.gather([one.span for one in chosen], [one.channels for one in chosen])
            each += answer_each(chosen, gathered, shares)
            parts += gathered if pools else []
            if report is not None:
                report(len(each))
        return Answer(each, answer_pools(parts, pools, shares), state)


def answer_few(asked: Asked, shares: Sequence[float]) -> Answer | None:
    """None where there is more to be heeded than a few readings."""
    found = cover.few_rows(asked.span, asked.channels)
    if found is None:
        return None
    state, part = found
    if len(part.times) <= few.MOST:
        figures = few.figures(part.times.tolist(), part.values.tolist(), shares, partial(gap_limit, asked))
        return Answer([figures], [], state)
    return Answer(answer_each([asked], [part], shares), [], state)


def answer_each(asked: Sequence[Asked], parts: Sequence[Part], shares: Sequence[float]) -> list[Figures]:
    columns = [column for part in parts for column in (*part.columns, part.intervals)]
    found = iter(find(columns, [[*shares, MEDIAN]] * len(columns)))
    amounts = [
        ([amounts_of(column, next(found)[: len(shares)]) for column in part.columns], median_of(next(found)))
        for part in parts
    ]
    limits = [gap_limit(one, interval) for one, (_, interval) in zip(asked, amounts, strict=True)]
    gaps = cover.long_intervals(parts, limits)
    return [
        Figures(
            channels=of_channels,
            readings=part.readings,
            excluded=part.excluded,
            first=part.first if part.readings else None,
            last=part.last if part.readings else None,
            interval=interval,
            gaps=number,
            gap_length=length,
            longest=part.longest if part.readings else None,
            rows_read=part.rows_read,
            segments_used=part.segments_used,
        )
        for part, (of_channels, interval), (number, length) in zip(parts, amounts, gaps, strict=True)
    ]


def gap_limit(asked: Asked, interval: float | None) -> float | None:
    """In microseconds."""
    expected = asked.expected_seconds or (None if interval is None else interval / MICROSECONDS)
    return None if expected is None else GAP * expected * MICROSECONDS


def answer_pools(parts: Sequence[Part], pools: Sequence[Pool], shares: Sequence[float]) -> list[Amounts]:
    columns = [Column.pooled([parts[number].columns[place] for number, place in pool]) for pool in pools]
    found = find(columns, [shares] * len(columns))
    return [amounts_of(column, places) for column, places in zip(columns, found, strict=True)]


def amounts_of(column: Column, found: Sequence[Found]) -> Amounts:
    if not column.count:
        return NO_AMOUNTS
    values = [value_at(place) for place in found]
    return Amounts(column.count, column.low, column.high, column.total, values)


def value_at(found: Found) -> float:
    low, high = value_of(found.low), value_of(found.high)
    # From -0.0 to itself would be 0.0.
    return low if found.is_single else between(low, high, found.part)


def median_of(found: Sequence[Found]) -> float | None:
    """Of whole numbers."""
    return between(found[-1].low, found[-1].high, found[-1].part) if found else None
