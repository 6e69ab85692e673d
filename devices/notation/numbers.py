"""Texts of numbers. charts/chart_text.js writes the same; one table of cases tests both.

Every text is made from the exact double by rounding half away from zero, as JavaScript's `toFixed` does.
"""

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal

import numpy as np

GROUP = "\N{NARROW NO-BREAK SPACE}"
# As ISO 80000 allows, a number of four digits is written without a space: 1014, 12 345.
SHORTEST_GROUPED = 5
# Learnt decimals never exceed this: data with more are results of computations, not of a sensor's resolution.
MOST_LEARNT_DECIMALS = 9
# Neither arithmetic nor 32-bit numbers leave so few: most numbers need no closer look.
FEW_DECIMALS = 4
SIGNIFICANT_DIGITS = 6
# Averages and the like have at least so many decimals where they need them: 0.67 of whole numbers.
LEAST_DERIVED_DECIMALS = 2
SMALLEST_PLAIN, SMALLEST_SCIENTIFIC = 1e-6, 1e15
FIXED = Context(prec=400, rounding=ROUND_HALF_UP)
SIGNIFICANT = Context(prec=SIGNIFICANT_DIGITS, rounding=ROUND_HALF_UP)


def number_text(value: float, decimals: int | None) -> str:
    """Write a number with `decimals` digits after the point; with None, with six significant digits."""
    if decimals is None or abs(value) >= SMALLEST_SCIENTIFIC:
        return significant_text(value)
    return grouped(fixed_text(value, decimals))


def count_text(number: int) -> str:
    return grouped(str(number))


def derived_text(value: float, decimals: int | None) -> str:
    """Write a figure computed of readings: with at least two decimals, as far as they are not zero."""
    if decimals is None or decimals >= LEAST_DERIVED_DECIMALS or abs(value) >= SMALLEST_SCIENTIFIC:
        return number_text(value, decimals)
    text = fixed_text(value, LEAST_DERIVED_DECIMALS)
    while text.endswith("0") and len(text.partition(".")[2]) > decimals:
        text = text[:-1]
    return grouped(text.removesuffix("."))


def exact_text(value: float) -> str:
    """`repr` as JavaScript writes it: 1 for 1.0, 1e-7 for 1e-07."""
    return re.sub(r"e([+-])0", r"e\1", repr(value)).removesuffix(".0")


def learnt_decimals(values: Iterable[float]) -> int | None:
    """The decimals that readings have: the most that one of them needs. None without values.

    If one needs more than nine, six significant digits of the largest; None also if that is still more.
    """
    seen = list(values)
    if not seen:
        return None
    needed = max(map(decimals_of, seen))
    if needed <= MOST_LEARNT_DECIMALS:
        return needed
    digits_before_point = Decimal(max(map(abs, seen))).adjusted() + 1
    needed = max(0, SIGNIFICANT_DIGITS - digits_before_point)
    return needed if needed <= MOST_LEARNT_DECIMALS else None


def decimals_of(value: float) -> int:
    """Digits after the point of the shortest text of a number, without what arithmetic and float32 add."""
    plain = repr(float(value))
    places = len(plain) - plain.find(".") - 1
    if "e" not in plain and places <= FEW_DECIMALS:
        return 0 if plain.endswith(".0") else places
    with np.errstate(over="ignore"):
        short = np.float32(value)
    # 20.299999237060547 is what a device with 32-bit numbers makes of 20.3.
    text = str(short) if float(short) == value else f"{value:.15g}"
    exponent = Decimal(text).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def fixed_text(value: float, decimals: int) -> str:
    text = f"{Decimal(value).quantize(Decimal(1).scaleb(-decimals), context=FIXED):f}"
    # Zero has no sign: -0.001 is 0.00.
    return text.lstrip("-") if not text.strip("-0.") else text


def significant_text(value: float) -> str:
    rounded = SIGNIFICANT.create_decimal(Decimal(value)).normalize()
    if not rounded:
        return "0"
    if SMALLEST_PLAIN <= abs(rounded) < SMALLEST_SCIENTIFIC:
        return grouped(f"{rounded:f}")
    sign, digits, _ = rounded.as_tuple()
    first, *rest = map(str, digits)
    mantissa = f"{first}.{''.join(rest)}" if rest else first
    return f"{'-' * sign}{mantissa}e{rounded.adjusted():+d}"


def grouped(text: str) -> str:
    """Separate the thousands of a plain decimal by narrow no-break spaces, from five digits on."""
    whole, point, rest = text.partition(".")
    if len(whole.lstrip("-")) >= SHORTEST_GROUPED:
        whole = re.sub(r"(?<=\d)(?=(\d{3})+$)", GROUP, whole)
    return whole + point + rest
