"""Figures of spans: `segment_lookup` gathers segments and rows, `quantiles` finds medians and percentiles in
them, and `small_samples` answers for few readings."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np

from devices.exact.keys import value_of
from devices.exact.packing import BLOCK, Integers, blocks_of, unpack
from devices.exact.ranks import interpolate
from devices.storage import change_log
from devices.storage.interface import (
    GAP_FACTOR,
    MEDIAN,
    NO_FIGURES,
    ChannelFigures,
    Figures,
    FiguresAnswer,
    FiguresQuery,
    Pool,
    Report,
)
from devices.storage.postgresql import copy, segment_lookup, small_samples
from devices.storage.postgresql.quantiles import (
    ColumnData,
    QuantileBounds,
    SegmentReplaced,
    fetch_blocks,
    find_quantiles,
)
from devices.storage.postgresql.span_data import SpanData
from devices.timeline.instants import MICROSECONDS_PER_SECOND
from devices.timeline.periods import Period
from devices.timeline.spans import Span, array_literal

# Spans are processed SPANS_AT_ONCE at a time: memory for the rows outside of their segments stays bounded.
SPANS_AT_ONCE = 100
ATTEMPTS = 5
INTERVAL_SUMS = """
    SELECT string_agg(substring(s.interval_sums FROM q.start), ''::bytea)
    FROM unnest(%s::bigint[], %s::int[]) AS q (id, start) JOIN devices_segment AS s ON s.id = q.id
"""
INTERVAL_SUM_BYTES = 8


# --- Answering


def counts(device_ids: Sequence[int], period: Period) -> dict[int, int]:
    spans = [Span.of(device_id, period) for device_id in device_ids]
    with change_log.repeatable_read():
        return dict(zip(device_ids, segment_lookup.counts(spans), strict=True))


def answer(
    queries: Sequence[FiguresQuery], shares: Sequence[float], pools: Sequence[Pool], report: Report | None
) -> FiguresAnswer:
    for _ in range(ATTEMPTS):
        # In a transaction of the caller, which may be READ COMMITTED, a segment may be replaced between
        # finding and reading it.
        with suppress(SegmentReplaced):
            return answer_once(queries, shares, pools, report)
    raise SegmentReplaced


def answer_once(
    queries: Sequence[FiguresQuery], shares: Sequence[float], pools: Sequence[Pool], report: Report | None
) -> FiguresAnswer:
    if len(queries) == 1 and not pools:
        found = answer_from_few_rows(queries[0], shares)
        if found is not None:
            return found
    parts: list[SpanData] = []
    each: list[Figures] = []
    with change_log.repeatable_read():
        snapshot = change_log.snapshot()
        for i in range(0, len(queries), SPANS_AT_ONCE):
            chosen = queries[i : i + SPANS_AT_ONCE]
            gathered = segment_lookup.gather(
                [query.span for query in chosen], [query.channels for query in chosen]
            )
            each += figures_of_each(chosen, gathered, shares)
            parts += gathered if pools else []
            if report is not None:
                report(len(each))
        return FiguresAnswer(each, figures_of_pools(parts, pools, shares), snapshot)


def answer_from_few_rows(query: FiguresQuery, shares: Sequence[float]) -> FiguresAnswer | None:
    """Answer for a device without segments and exclusions that has few readings; None for any other."""
    found = segment_lookup.read_few_rows(query.span, query.channels)
    if found is None:
        return None
    snapshot, part = found
    if len(part.times) <= small_samples.MAX_READINGS:
        figures = small_samples.figures_of_sample(
            part.times.tolist(), part.values.tolist(), shares, partial(gap_limit, query)
        )
        return FiguresAnswer([figures], [], snapshot)
    return FiguresAnswer(figures_of_each([query], [part], shares), [], snapshot)


def figures_of_each(
    queries: Sequence[FiguresQuery], parts: Sequence[SpanData], shares: Sequence[float]
) -> list[Figures]:
    # One search for all columns of all spans: their blocks are fetched together.
    columns = [column for part in parts for column in (*part.channels, part.intervals)]
    found = iter(find_quantiles(columns, [[*shares, MEDIAN]] * len(columns)))
    channels, medians = [], []
    for part in parts:
        channels.append([channel_figures(column, next(found)[: len(shares)]) for column in part.channels])
        medians.append(median_interval(next(found)))
    limits = [gap_limit(query, median) for query, median in zip(queries, medians, strict=True)]
    gaps = long_intervals(parts, limits)
    return [
        Figures(
            channels=channels[i],
            readings=part.readings,
            excluded=part.excluded,
            first=part.first if part.readings else None,
            last=part.last if part.readings else None,
            interval=medians[i],
            gaps=gaps[i].number,
            gap_length=gaps[i].length,
            longest=part.longest if part.readings else None,
            rows_read=part.rows_read,
            segments_used=part.segments_used,
        )
        for i, part in enumerate(parts)
    ]


# --- Quantiles to figures


def figures_of_pools(
    parts: Sequence[SpanData], pools: Sequence[Pool], shares: Sequence[float]
) -> list[ChannelFigures]:
    columns = [ColumnData.pooled([parts[i].channels[channel] for i, channel in pool]) for pool in pools]
    found = find_quantiles(columns, [shares] * len(columns))
    return [channel_figures(column, bounds) for column, bounds in zip(columns, found, strict=True)]


def channel_figures(column: ColumnData, found: Sequence[QuantileBounds]) -> ChannelFigures:
    if not column.count:
        return NO_FIGURES
    quantiles = [value_at(bounds) for bounds in found]
    return ChannelFigures(column.count, column.low, column.high, column.total, quantiles)


def value_at(bounds: QuantileBounds) -> float:
    low, high = value_of(bounds.low), value_of(bounds.high)
    # Interpolating from -0.0 to -0.0 would give 0.0.
    return low if bounds.is_single else interpolate(low, high, bounds.part)


def median_interval(found: Sequence[QuantileBounds]) -> float | None:
    """Return the last quantile, of intervals: whole numbers, which are their own keys."""
    return interpolate(found[-1].low, found[-1].high, found[-1].part) if found else None


# --- Gaps


def gap_limit(query: FiguresQuery, median: float | None) -> float | None:
    """Return the length, in microseconds, beyond which an interval is a gap; None if nothing is expected."""
    expected = query.expected_seconds or (None if median is None else median / MICROSECONDS_PER_SECOND)
    return None if expected is None else GAP_FACTOR * expected * MICROSECONDS_PER_SECOND


class LongIntervals(NamedTuple):
    number: int
    length: int  # of all together


def long_intervals(parts: Sequence[SpanData], limits: Sequence[float | None]) -> list[LongIntervals]:
    """Count the intervals of each span that are longer than its limit, in microseconds."""
    found = []
    for part, limit in zip(parts, limits, strict=True):
        if limit is None or not part.readings:
            found.append(LongIntervals(0, 0))
            continue
        loose = part.loose_intervals[part.loose_intervals > limit]
        inside = long_intervals_in_segments(part, int(limit))
        found.append(LongIntervals(len(loose) + inside.number, int(loose.sum()) + inside.length))
    return found


def long_intervals_in_segments(part: SpanData, limit: int) -> LongIntervals:
    """Count those within segments.

    A segment's intervals are sorted, in blocks. Blocks whose first interval is above the limit count whole;
    `interval_sums` has their lengths. The block before them may end in long intervals: it is fetched.
    """
    chosen = np.flatnonzero(part.segments.heads["longest"] > limit)
    if not len(chosen):
        return LongIntervals(0, 0)
    column = part.intervals
    blocks = blocks_of(column.counts)
    first_blocks = np.cumsum(blocks) - blocks
    segment = np.repeat(np.arange(len(blocks)), blocks)
    # In each segment with long intervals: the number of blocks that begin up to the limit.
    short = np.bincount(segment[column.samples <= np.uint64(limit)], minlength=len(blocks))[chosen]
    counts = column.counts[chosen]
    whole = int(np.maximum(counts - short * BLOCK, 0).sum())
    whole_length = sums_from(part.segments.heads["id"][chosen], short)
    # The last of the short blocks, if there is one.
    mixed = (first_blocks[chosen] + short)[short > 0] - 1
    [data] = fetch_blocks([(column, mixed)])
    table = unpack(column.samples[mixed], column.widths[mixed], data)
    in_block = np.minimum((counts - (short - 1) * BLOCK)[short > 0], BLOCK)
    is_long = (table > np.uint64(limit)) & (np.arange(BLOCK) < in_block[:, None])
    return LongIntervals(whole + int(is_long.sum()), whole_length + int(table[is_long].sum()))


def sums_from(ids: Integers, blocks: Integers) -> int:
    """Add up the lengths of all intervals in the segments' blocks from these numbers on."""
    # SQL counts bytes from 1.
    starts = blocks * INTERVAL_SUM_BYTES + 1
    [[sums]] = copy.binary_rows(INTERVAL_SUMS, [array_literal(ids.tolist()), array_literal(starts.tolist())])
    return int(np.frombuffer(sums, "<u8").sum())
