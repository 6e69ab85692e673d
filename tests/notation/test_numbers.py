import math
import random
import struct

import pytest

from devices.notation.numbers import derived_text, exact_text, learnt_decimals, number_text
from tests.notation.cases import LEARNT, NUMBERS


@pytest.mark.parametrize(("value", "decimals", "text", "derived"), NUMBERS)
def test_number_has_the_decimals_of_its_channel(
    value: float, decimals: int | None, text: str, derived: str
) -> None:
    assert number_text(value, decimals) == text
    assert derived_text(value, decimals) == derived


@pytest.mark.parametrize(("values", "decimals"), LEARNT)
def test_decimals_are_learnt(values: list[float], decimals: int | None) -> None:
    assert learnt_decimals(values) == decimals


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (1.5e-7, "1.5e-7"),
        (1e16, "1e+16"),
        (7, "7"),
    ],
)
def test_exact_text_reads_back_as_the_same_double(value: float, text: str) -> None:
    assert exact_text(value) == text
    assert float(text) == value


def test_every_double_has_a_text_near_it() -> None:
    draw = random.Random(13)
    for _ in range(2000):
        value = struct.unpack("<d", draw.randbytes(8))[0]
        if not math.isfinite(value):
            continue
        for decimals in (None, 0, 3, 15):
            shown = float(number_text(value, decimals).replace("\u202f", ""))
            nearby = abs(value) * 1e-5 if decimals is None or abs(value) >= 1e15 else 0.5001 * 10**-decimals
            assert abs(shown - value) <= nearby or abs(value) > 1.797e308


def test_decimals_of_rounded_values_are_found_again() -> None:
    draw = random.Random(13)
    for decimals in range(10):
        values = [round(draw.uniform(-1000, 1000), decimals) for _ in range(50)]
        values.append(round(1 + 10**-decimals, decimals))
        assert learnt_decimals(values) == decimals
