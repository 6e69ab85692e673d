from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from devices.exact.ranks import interpolate, rank
from devices.storage import exclusion_rules, row_codec
from devices.storage.clickhouse import queries as sql
from devices.storage.clickhouse.row_binary import bits
from devices.storage.interface import NO_FIGURES, ChannelFigures, Figures, FiguresQuery, Pool
from devices.timeline.instants import INFINITY, MINUS_INFINITY

# Cells in one query: a server takes parameters of up to 128 KiB (http_max_field_value_size).
CELLS_AT_ONCE = 5000
# No device has the number 0.
OF_POOLS = (0, 0)


def unix_bound(time: int) -> int:
    """Of a span's bound."""
    return time if time in (INFINITY, MINUS_INFINITY) else time + sql.SHIFT


# --- Figures


def layers(asked: Sequence[FiguresQuery]) -> list[list[int]]:
    """The questions, by number, in groups for a statement each: in a group all devices have the same spans,
    and these do not overlap."""
    by_span: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, one in enumerate(asked):
        by_span[one.span.start, one.span.end].append(i)
    found: list[tuple[list[int], int, list[int]]] = []  # devices, end of the last span, questions
    # What contains others comes first: if readings come in between, it is the one that lacks them, and stale.
    for (start, end), numbers in sorted(by_span.items(), key=lambda item: (item[0][0], -item[0][1])):
        devices = sorted(asked[i].span.device_id for i in numbers)
        for place, (others, ended, chosen) in enumerate(found):
            if others == devices and ended <= start:
                found[place] = (devices, end, chosen + numbers)
                break
        else:
            found.append((devices, end, numbers))
    return [
        numbers[i : i + CELLS_AT_ONCE]
        for _, _, numbers in found
        for i in range(0, len(numbers), CELLS_AT_ONCE)
    ]


def parameters_of(asked: Sequence[FiguresQuery]) -> dict[str, Any]:
    """For SOURCE and what is made of it; the questions are of a layer."""
    expected = {one.span.device_id: one.expected_seconds or 0.0 for one in asked}
    starts = {unix_bound(one.span.start) for one in asked}
    ends = {unix_bound(one.span.end) for one in asked}
    rules = exclusion_rules.rules_in_force(list(expected)).by_device
    start, end = min(starts), max(ends)
    touching = [
        (device_id, first + sql.SHIFT, last + sql.SHIFT, only)
        for device_id, of_device in rules.items()
        for first, last, only in of_device
        if first + sql.SHIFT < end and last + sql.SHIFT > start
    ]
    whole = [rule for rule in touching if rule[3] is None]
    single = [rule for rule in touching if rule[3] is not None]
    return {
        "devices": list(expected),
        "expected": list(expected.values()),
        "start": start,
        "end": end,
        # What is between two spans is in the cell of an end.
        "cells": sorted(starts | (ends - {end})),
        **{
            f"rule_{name}": [rule[i] for rule in whole]
            for i, name in enumerate(("devices", "starts", "ends"))
        },
        **{
            f"single_{name}": [rule[i] for rule in single]
            for i, name in enumerate(("devices", "starts", "ends"))
        },
        "single_values": [bits(rule[3]) for rule in single],
    }


def pool_parameters(asked: Sequence[FiguresQuery], pools: Sequence[Pool]) -> dict[str, Any]:
    """Devices whose channels go into the same pools are of one kind."""
    of_channel = {pair: number for number, pool in enumerate(pools, start=1) for pair in pool}
    numbers = [
        tuple(of_channel.get((i, place), 0) for place in range(one.channels)) for i, one in enumerate(asked)
    ]
    kinds = list(dict.fromkeys(numbers))
    return {
        "pools": [list(kind) for kind in kinds],
        "kinds": [kinds.index(kind) + 1 for kind in numbers],
    }


def is_consistent(each: Sequence[Figures], pooled: Sequence[ChannelFigures], pools: Sequence[Pool]) -> bool:
    """Whether times, values and pools are of as many readings."""
    return all({amounts.count for amounts in one.channels} <= {one.readings} for one in each) and all(
        amounts.count == sum(each[i].channels[place].count for i, place in pool)
        for amounts, pool in zip(pooled, pools, strict=True)
    )


def channel_figures(
    channels: Sequence[tuple], shares: Sequence[float]
) -> Iterator[tuple[int, ChannelFigures]]:
    """By the number of the channel, or of the pool, from 1."""
    for number, count, low, high, ranks, sums in channels:
        yield (
            number,
            ChannelFigures(count, low, high, sum_of_mantissas(sums), quantiles(ranks, shares, count)),
        )


def figures_of(asked: FiguresQuery, row: Sequence[Any] | None, shares: Sequence[float]) -> Figures:
    """`row`: of sql.FIGURES, without its key. Raises ValueError if a reading has another number of values."""
    if row is None:
        nothing = [NO_FIGURES] * asked.channels
        return Figures(nothing, 0, 0, None, None, None, 0, 0, None, 0, 0)
    n, excluded, narrowest, widest, first, last, longest_start, longest, steps, interval, *rest = row
    gaps, gap_length, channels = rest
    if (narrowest, widest) != (asked.channels, asked.channels):
        raise row_codec.wrong_count(asked.channels)
    amounts = [NO_FIGURES] * asked.channels
    for channel, of_channel in channel_figures(channels, shares):
        amounts[channel - 1] = of_channel
    begin = longest_start if n > 1 and longest else first
    return Figures(
        channels=amounts,
        readings=n,
        excluded=excluded,
        first=first - sql.SHIFT if n else None,
        last=last - sql.SHIFT if n else None,
        interval=interval if steps else None,
        gaps=gaps,
        gap_length=gap_length,
        longest=(begin - sql.SHIFT, begin + longest - sql.SHIFT) if n else None,
        rows_read=n + excluded,
        segments_used=0,
    )


def quantiles(ranks: Sequence[tuple[float, float]], shares: Sequence[float], count: int) -> list[float]:
    """`ranks`: the values between which each is."""
    found = []
    for share, (low, high) in zip(shares, ranks, strict=False):
        place = rank(share, count)
        # From -0.0 to itself would be 0.0.
        found.append(low if place.low == place.high else interpolate(low, high, place.part))
    return found


def sum_of_mantissas(sums: Iterable[tuple[int, int, int, int]]) -> int:
    """In units of the smallest double. `sums`: sign and exponent of doubles as they are stored, how many
    these are, and the sum of their mantissas in two halves of 26 bits."""
    total = 0
    for sign_and_exponent, count, high, low in sums:
        sign, exponent = divmod(sign_and_exponent, 2048)
        mantissas = (high << 26) + low
        if exponent:
            mantissas = (mantissas + (count << 52)) << (exponent - 1)
        total += -mantissas if sign else mantissas
    return total


def column_starts(length: int, points: int) -> np.ndarray:
    """Where the columns of a series begin: of each the first whole microsecond that `series.in_columns` puts
    into it, to the last rounding."""
    width, numbers = length / points, np.arange(points)
    starts = np.maximum(np.ceil(numbers * width).astype(np.int64) - 2, 0)
    for _ in range(4):
        starts += starts // width < numbers
    return starts
