"""Numbers as people write them: decimal point or comma, thousands separated where that is unambiguous."""

import math
import re
from collections.abc import Iterable, Sequence

SIGNS = {".": "point", ",": "comma"}
OTHER_SIGN = {".": ",", ",": "."}
# Space, no-break space, thin space, narrow no-break space, apostrophes: none of them is ever a decimal sign.
SPACES = " \u00a0\u2009\u202f'\u2019"
PLAIN = {
    sign: re.compile(rf"[+-]?(?:[0-9]+(?:\{sign}[0-9]*)?|\{sign}[0-9]+)(?:[eE][+-]?[0-9]{{1,4}})?")
    for sign in SIGNS
}
GROUPED = {
    sign: re.compile(
        rf"[+-]?[0-9]{{1,3}}(?P<mark>[{SPACES}\{OTHER_SIGN[sign]}])[0-9]{{3}}"
        rf"(?P<more>(?:(?P=mark)[0-9]{{3}})*)(?P<decimals>\{sign}[0-9]+)?"
    )
    for sign in SIGNS
}
# A column of these, each followed by a line end, is read at once.
USUAL = {
    sign: re.compile(rf"(?:[+-]?[0-9]+(?:\{sign}[0-9]+)?(?:[eE][+-]?[0-9]{{1,2}})?\n)*") for sign in SIGNS
}
# A decimal sign that cannot separate thousands: not three digits behind it, or another sign before it.
CLEARLY = {
    sign: re.compile(
        rf"[+-]?(?:[0-9]{{4,}}\{sign}[0-9]+|0\{sign}[0-9]+|[0-9]*\{sign}(?:[0-9]{{1,2}}|[0-9]{{4,}})"
        rf"|[0-9]{{1,3}}(?:\{OTHER_SIGN[sign]}[0-9]{{3}})+\{sign}[0-9]+"
        rf"|[0-9]{{1,3}}(?:\{OTHER_SIGN[sign]}[0-9]{{3}}){{2,}})"
    )
    for sign in SIGNS
}


class BadNumber(ValueError):
    """The text is no number; the message says why."""


def parse(text: str, sign: str, *, is_grouped: bool = False) -> float:
    """Read a finite number with the decimal `sign`. Raises BadNumber.

    One group after the other sign, as in 1.234 with a decimal comma, is a thousand only if `is_grouped`.
    """
    cell = text.strip().replace("\u2212", "-")
    if not cell:
        raise BadNumber("Is empty.")
    if PLAIN[sign].fullmatch(cell):
        return finite(cell.replace(sign, "."))
    grouped = GROUPED[sign].fullmatch(cell)
    if grouped is None:
        raise BadNumber(f"Is not a number with a decimal {SIGNS[sign]}.")
    mark = grouped["mark"]
    if mark == OTHER_SIGN[sign] and not (grouped["more"] or grouped["decimals"] or is_grouped):
        whole = cell.replace(mark, "")
        raise BadNumber(
            f"May mean {whole} or {cell.replace(mark, '.')}: say whether thousands are separated."
        )
    return finite(cell.replace(mark, "").replace(sign, "."))


def finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadNumber("Is too large for a number.")
    return value


def parse_usual(texts: Sequence[str], sign: str) -> list[float] | None:
    """Read a column of plain numbers at a tenth of the cost; None if a cell needs a closer look."""
    joined = "\n".join(texts) + "\n"
    if joined.count("\n") != len(texts) or not USUAL[sign].fullmatch(joined):
        return None
    if sign != ".":
        joined = joined.replace(sign, ".")
    values = list(map(float, joined.splitlines()))
    return values if all(map(math.isfinite, values)) else None


def is_number(text: str) -> bool:
    """Tell whether the text is a number with either decimal sign."""
    cell = text.strip().replace("\u2212", "-")
    return any(PLAIN[sign].fullmatch(cell) or GROUPED[sign].fullmatch(cell) for sign in SIGNS)


def guess_sign(texts: Iterable[str], *, otherwise: str = ".") -> str:
    """Guess the decimal sign by the cells that can be read in one way only; `otherwise` without any."""
    clear = dict.fromkeys(SIGNS, 0)
    for text in texts:
        for sign in SIGNS:
            clear[sign] += CLEARLY[sign].fullmatch(text.strip()) is not None
    if clear["."] == clear[","]:
        return otherwise
    return max(clear, key=lambda sign: clear[sign])
