"""Report of statistics: tables, targets, and a plot."""

from collections.abc import Mapping, Sequence
from math import log10
from typing import NamedTuple

from tests.bench.http_analysis import HTTP_ANALYSIS
from tests.bench.report import table
from tests.bench.statistics import (
    ENGINES,
    FLEET,
    FLEET_READINGS,
    PORTAL,
    SMALL_READINGS,
    SQL,
    Outcome,
    series_row,
)

WHO = (PORTAL, SQL, *ENGINES)
INTRODUCTION = f"""\
## Exact statistics

Minimum, maximum, count, sum and median of three channels of one device, a reading a second, full doubles
(the worst case for packing). The portal's answer is complete, with coverage, from [sorted
segments](statistics.md). **{SQL}** runs in the same PostgreSQL with `work_mem` of 1 GB. DuckDB
and chDB (`quantileExactInclusive`) have the same readings in their own files and answer in a process of
their own, with all cores. All medians are compared, with PostgreSQL's to the last bit. Figures are medians
over the rounds; each ratio compares figures of one round.

“Asked over HTTP” is a complete small analysis: a POST, a worker's process, and a client that looks for a
result every 5 ms, each time with another period.
"""


class Target(NamedTuple):
    what: str
    ratio: float | None
    is_upper: bool
    bound: float


def targets(outcome: Outcome, sizes: Sequence[int]) -> list[Target]:
    of = f"{10_000_000:,} readings"
    found = [
        *(
            Target(f"{SQL} / {PORTAL}, {of}, {period}", outcome.ratio(f"{of}, {period}", SQL), False, bound)
            for period, bound in (("all time", 100), ("30 %", 50), ("1 day", 2))
        ),
        Target(f"chDB / {PORTAL}, {of}, all time", outcome.ratio(f"{of}, all time", "chDB"), False, 10),
    ]
    what = f"{FLEET} devices of {FLEET_READINGS:,} readings, pooled and each"
    found.append(Target(f"{SQL} / {PORTAL}, {what}", outcome.ratio(what, SQL), False, 50))
    what = f"{SMALL_READINGS} readings"
    found.append(Target(f"{SQL} / {PORTAL}, {what}", outcome.ratio(what, SQL), False, 1))
    long, short = (outcome.median(f"{size:,} readings, all time", PORTAL) for size in (10**8, 10**6))
    if long and short:
        found.append(Target("100,000,000 readings / 1,000,000 readings, all time", long / short, True, 20))
    largest = max(sizes)
    for what in (series_row(largest), HTTP_ANALYSIS):
        seconds = outcome.median(what, PORTAL)
        found.append(Target(f"{what}, ms", seconds and seconds * 1000, True, 100))
    found.append(Target("rows and segments / rows, bytes", outcome.built[largest][2], True, 1.3))
    return [target for target in found if target.ratio is not None]


def section(outcome: Outcome, sizes: Sequence[int], run: Mapping[str, str], plot_name: str) -> str:
    facts = "\n".join(f"- {name}: {value}" for name, value in run.items())
    return f"{INTRODUCTION}\n{facts}\n\n{tables(outcome, sizes)}\n\n![Time by readings]({plot_name})\n"


def tables(outcome: Outcome, sizes: Sequence[int]) -> str:
    ratios = [
        [
            target.what,
            f"{target.ratio:.2f}",
            f"{'≤' if target.is_upper else '≥'} {target.bound:g}",
            "reached" if is_reached(target) else "**not reached**",
        ]
        for target in targets(outcome, sizes)
    ]
    times = [
        [what, *(milliseconds(outcome.median(what, who)) for who in WHO)]
        for what in dict.fromkeys(what for what, _ in outcome.seconds)
    ]
    built = [
        [f"{size:,}", *(f"{figure:.2f}" for figure in figures)] for size, figures in outcome.built.items()
    ]
    return "\n\n".join(
        (
            table(["ratio", "median", "target", ""], ratios),
            table(["ms", *WHO], times),
            table(["building", "µs per reading", "bytes per reading", "rows and segments / rows"], built),
        )
    )


def is_reached(target: Target) -> bool:
    return target.ratio <= target.bound if target.is_upper else target.ratio >= target.bound


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:,.0f}" if seconds >= 0.1 else f"{seconds * 1000:.1f}"


# --- The plot; both axes are logarithmic

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 70, 130, 20, 50
COLOURS = {PORTAL: "#0a7d6c", SQL: "#b04a1d", "DuckDB": "#8a6d00", "chDB": "#6b4fbb"}


def plot_lines(outcome: Outcome, sizes: Sequence[int]) -> dict[str, list[tuple[int, float]]]:
    """Points (readings, milliseconds) by contender."""
    return {
        who: [
            (size, seconds * 1000)
            for size in sizes
            if (seconds := outcome.median(f"{size:,} readings, all time", who)) is not None
        ]
        for who in WHO
    }


def plot(outcome: Outcome, sizes: Sequence[int]) -> str:
    """An SVG of milliseconds for all time by the number of readings."""
    lines = plot_lines(outcome, sizes)
    values = [value for line in lines.values() for _, value in line]
    low, high = int(log10(min(values))), int(log10(max(values))) + 1
    least, most = log10(min(sizes)), max(log10(max(sizes)), log10(min(sizes)) + 1)

    def x(size: float) -> float:
        return LEFT + (log10(size) - least) / (most - least) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (log10(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for power in range(low, high + 1):
        parts.append(
            f'<path d="M{LEFT} {y(10**power):.1f}H{WIDTH - RIGHT}" stroke="#ccc"/>'
            f'<text x="{LEFT - 8}" y="{y(10**power) + 4:.1f}" text-anchor="end">{10**power:g} ms</text>'
        )
    for size in sizes:
        parts.append(f'<text x="{x(size):.1f}" y="{HEIGHT - 28}" text-anchor="middle">{size:,}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">readings, all time</text>')
    for who, line in lines.items():
        if line:
            points = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in line)
            colour, (end, last) = COLOURS[who], line[-1]
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
                f'<text x="{x(end) + 8:.1f}" y="{y(last) + 4:.1f}" fill="{colour}">{who}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])
