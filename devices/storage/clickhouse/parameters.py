"""Parameters of the statements about figures: bounds, boundaries between spans, exclusion rules, pools."""

from collections.abc import Sequence
from typing import Any

from devices.storage import exclusion_rules
from devices.storage.clickhouse.row_binary import bits
from devices.storage.interface import FiguresQuery, Pool
from devices.timeline.instants import (
    INFINITY,
    MINUS_INFINITY,
    PgMicroseconds,
    UnixMicroseconds,
    pg_to_unix,
    unix_microseconds,
)
from devices.timeline.periods import Period
from devices.timeline.spans import Span

# Device, start and end, and the values to which the rule is limited, or None.
Rule = tuple[int, UnixMicroseconds, UnixMicroseconds, list[float] | None]


def unix_bound(time: PgMicroseconds) -> UnixMicroseconds:
    """Convert a span's bound; the infinities stay themselves."""
    return UnixMicroseconds(time) if time in (INFINITY, MINUS_INFINITY) else pg_to_unix(time)


def span_bounds(span: Span) -> tuple[UnixMicroseconds, UnixMicroseconds]:
    return unix_bound(span.start), unix_bound(span.end)


def period_bounds(period: Period) -> tuple[UnixMicroseconds, UnixMicroseconds]:
    return (
        unix_bound(MINUS_INFINITY) if period.start is None else unix_microseconds(period.start),
        unix_bound(INFINITY) if period.end is None else unix_microseconds(period.end),
    )


def statement_parameters(queries: Sequence[FiguresQuery]) -> dict[str, Any]:
    """Return the parameters of sql.READINGS and all that builds on it; the queries are of one layer."""
    expected = {query.span.device_id: query.expected_seconds or 0.0 for query in queries}
    starts = {unix_bound(query.span.start) for query in queries}
    ends = {unix_bound(query.span.end) for query in queries}
    start, end = min(starts), max(ends)
    return {
        "devices": list(expected),
        "expected": list(expected.values()),
        "start": start,
        "end": end,
        # A span's end is a boundary too: readings between two spans then belong to neither.
        "boundaries": sorted(starts | (ends - {end})),
        **rule_parameters(rules_within(list(expected), start, end)),
    }


def rules_within(device_ids: list[int], start: int, end: int) -> list[Rule]:
    """Return the exclusion rules in force that touch the time from `start` to `end`."""
    rules = [
        (device_id, pg_to_unix(first), pg_to_unix(last), values)
        for device_id, of_device in exclusion_rules.rules_in_force(device_ids).by_device.items()
        for first, last, values in of_device
    ]
    return [rule for rule in rules if rule[1] < end and rule[2] > start]


def rule_parameters(rules: Sequence[Rule]) -> dict[str, list]:
    """Return one array per column: `single_…` for rules that are limited to some values."""
    whole = [rule for rule in rules if rule[3] is None]
    single = [rule for rule in rules if rule[3] is not None]
    columns = ("devices", "starts", "ends")
    return {
        **{f"rule_{name}": [rule[i] for rule in whole] for i, name in enumerate(columns)},
        **{f"single_{name}": [rule[i] for rule in single] for i, name in enumerate(columns)},
        "single_values": [bits(rule[3] or ()) for rule in single],
    }


def pool_parameters(queries: Sequence[FiguresQuery], pools: Sequence[Pool]) -> dict[str, Any]:
    """Return the parameters of sql.POOL_PARTS; pools are numbered from 1.

    A device's layout lists the pool of each of its channels, 0 for none. Devices share few layouts.
    """
    pool_of_channel = {pair: number for number, pool in enumerate(pools, start=1) for pair in pool}
    layouts = [
        tuple(pool_of_channel.get((i, channel), 0) for channel in range(query.channels))
        for i, query in enumerate(queries)
    ]
    distinct = list(dict.fromkeys(layouts))
    return {
        "layouts": [list(layout) for layout in distinct],
        "layout_of_device": [distinct.index(layout) + 1 for layout in layouts],
    }
