"""Figures from the rows that ClickHouse answers. Only arithmetic: no query is sent from here."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from devices.exact.ranks import interpolate, rank
from devices.storage import row_codec
from devices.storage.interface import NO_FIGURES, ChannelFigures, Figures, FiguresQuery, Pool
from devices.timeline.instants import unix_to_pg


def figures_from(query: FiguresQuery, row: Sequence[Any] | None, shares: Sequence[float]) -> Figures:
    """Read a row of sql.FIGURES without its key; None stands for a span without readings.

    Raises ValueError if a reading has another number of values than the query has channels.
    """
    if row is None:
        no_channels = [NO_FIGURES] * query.channels
        return Figures(no_channels, 0, 0, None, None, None, 0, 0, None, 0, 0)
    n, excluded, narrowest, widest, first, last, longest_start, longest, steps, interval, *rest = row
    gaps, gap_length, channels = rest
    if (narrowest, widest) != (query.channels, query.channels):
        raise row_codec.wrong_count(query.channels)
    by_channel = [NO_FIGURES] * query.channels
    for channel, figures in channel_figures(channels, shares):
        by_channel[channel - 1] = figures
    longest_start = longest_start if n > 1 and longest else first
    return Figures(
        channels=by_channel,
        readings=n,
        excluded=excluded,
        first=unix_to_pg(first) if n else None,
        last=unix_to_pg(last) if n else None,
        interval=interval if steps else None,
        gaps=gaps,
        gap_length=gap_length,
        longest=(unix_to_pg(longest_start), unix_to_pg(longest_start + longest)) if n else None,
        rows_read=n + excluded,
        segments_used=0,
    )


def channel_figures(
    channels: Sequence[tuple], shares: Sequence[float]
) -> Iterator[tuple[int, ChannelFigures]]:
    """Yield the number of each channel or pool, from 1, with its figures."""
    for number, count, low, high, ranks, sums in channels:
        yield (
            number,
            ChannelFigures(count, low, high, sum_of_mantissas(sums), quantiles(ranks, shares, count)),
        )


def quantiles(ranks: Sequence[tuple[float, float]], shares: Sequence[float], count: int) -> list[float]:
    """Interpolate each share's quantile of `count` values between the two neighbours in `ranks`."""
    found = []
    for share, (low, high) in zip(shares, ranks, strict=False):
        place = rank(share, count)
        # Interpolating between -0.0 and itself would give 0.0.
        found.append(low if place.low == place.high else interpolate(low, high, place.part))
    return found


def sum_of_mantissas(sums: Iterable[tuple[int, int, int, int]]) -> int:
    """Return the exact sum of doubles in units of the smallest double.

    Each of `sums` is about the doubles of one sign and exponent: these 12 bits as stored, the number of
    doubles, and the sum of their stored mantissas, the upper and the lower 26 bits apart.
    """
    total = 0
    for sign_and_exponent, count, high, low in sums:
        sign, exponent = divmod(sign_and_exponent, 2048)
        mantissas = (high << 26) + low
        # Normal numbers have a leading 1 that is not stored; the exponent 0 marks subnormal ones.
        if exponent:
            mantissas = (mantissas + (count << 52)) << (exponent - 1)
        total += -mantissas if sign else mantissas
    return total


def is_consistent(each: Sequence[Figures], pooled: Sequence[ChannelFigures], pools: Sequence[Pool]) -> bool:
    """Return whether times, values and pools have the same numbers of readings."""
    return all({channel.count for channel in one.channels} <= {one.readings} for one in each) and all(
        figures.count == sum(each[i].channels[channel].count for i, channel in pool)
        for figures, pool in zip(pooled, pools, strict=True)
    )
