"""Numbers as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.imports.cells.decimals import BadNumber, guess_sign, is_number, parse, parse_usual

PLAIN = {
    "0": 0, "1": 1, "-1": -1, "+1": 1, "007": 7, "1.5": 1.5, "-1.5": -1.5, "+1.5": 1.5, ".5": 0.5,
    "-.5": -0.5,
    "5.": 5, "1e3": 1000, "1E3": 1000, "1e+3": 1000, "1e-3": 0.001, "1.5e2": 150, "-1.5E-2": -0.015,
    " 1.5 ": 1.5, "\t1.5": 1.5, "1.5\u00a0": 1.5, "\u22121.5": -1.5, "0.1": 0.1,
    "123456789.123": 123456789.123,
    "1.7976931348623157e308": 1.7976931348623157e308, "5e-324": 5e-324, "1e-400": 0, "-0": -0.0,
}  # fmt: skip
GROUPED = {
    "1,234.5": 1234.5, "12,345.678": 12345.678, "1,234,567": 1234567, "-1,234,567.25": -1234567.25,
    "1 234.5": 1234.5, "1 234": 1234, "1\u00a0234": 1234, "1\u202f234\u202f567.5": 1234567.5,
    "1\u2009234": 1234,
    "1'234.5": 1234.5, "1\u2019234": 1234, "+1,234,567": 1234567, "999,999,999.9": 999999999.9,
}  # fmt: skip
BAD = (
    "", " ", "x", "1x", "x1", "1.2.3", "1..2", "--1", "+-1", "1-", "1e", "e1", "1e1.5", "0x10", "1_000",
    "nan", "NaN",
    "inf", "-inf", "Infinity", "1/2", "50%", "20 °C", "1 2", "1 23", "1 2345", "1234 567", "12 34.5", "١",
    "１",
    "½", "1.5.", ".", "-", "+", "TRUE", "#N/A", "null", "1,23,456", "1,2345", ",234", "1'23", "1 234'567",
    "1;2",
)  # fmt: skip


def swapped(text: str) -> str:
    return text.translate({ord("."): ",", ord(","): "."})


@pytest.mark.parametrize(("text", "value"), {**PLAIN, **GROUPED}.items())
@pytest.mark.parametrize("sign", [".", ","])
def test_numbers(text, value, sign):
    found = parse(text if sign == "." else swapped(text), sign)
    assert (found, math.copysign(1, found)) == (value, math.copysign(1, value))


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("sign", [".", ","])
def test_what_is_no_number(text, sign):
    with pytest.raises(BadNumber):
        parse(text if sign == "." else swapped(text), sign)


@pytest.mark.parametrize("text", ["1e309", "-1e309", "9" * 400])
def test_what_is_too_large(text):
    with pytest.raises(BadNumber, match="too large"):
        parse(text, ".")


@pytest.mark.parametrize(
    ("text", "sign"), [("1,234", "."), ("-12,345", "."), ("1.234", ","), ("999.999", ",")]
)
def test_one_group_is_ambiguous_until_it_is_said(text, sign):
    with pytest.raises(BadNumber, match="May mean"):
        parse(text, sign)
    assert parse(text, sign, is_grouped=True) == float(text.replace(",", "").replace(".", ""))


@pytest.mark.parametrize("text", ["1,5", "1,25", "1234,5", "0,5", "-3,14159"])
def test_the_other_decimal_sign_is_refused_and_never_a_thousand(text):
    for is_grouped in (False, True):
        with pytest.raises(BadNumber):
            parse(text, ".", is_grouped=is_grouped)
        with pytest.raises(BadNumber):
            parse(swapped(text), ",", is_grouped=is_grouped)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_comes_back_with_either_sign(value):
    for sign in ".,":
        text = repr(value).replace(".", sign)
        assert parse(text, sign) == value
        assert parse_usual([text], sign) in ([value], None)


@given(st.integers(-(10**12), 10**12), st.integers(0, 99))
def test_thousands_with_decimals_come_back(whole, cents):
    assert parse(f"{whole:,}.{cents:02}", ".") == float(f"{whole}.{cents:02}")
    assert parse(swapped(f"{whole:,}.{cents:02}"), ",") == float(f"{whole}.{cents:02}")


@given(st.text(max_size=20), st.sampled_from(".,"))
def test_any_text_is_a_finite_number_or_refused(text, sign):
    try:
        assert math.isfinite(parse(text, sign))
    except BadNumber:
        assert not parse_usual([text], sign)


@given(
    st.lists(st.one_of(st.sampled_from([*PLAIN, *BAD]), st.text(max_size=8)), min_size=1),
    st.sampled_from(".,"),
)
def test_a_column_read_at_once_has_the_same_values(texts, sign):
    found = parse_usual(texts, sign)
    if found is not None:
        assert found == [parse(text, sign) for text in texts]


def test_usual_columns_are_read_at_once():
    assert parse_usual(["1.5", "-2", "3e5"], ".") == [1.5, -2, 3e5]
    assert parse_usual(["1,5", "-2"], ",") == [1.5, -2]
    for texts, sign in (
        (["1,5"], "."),
        (["1.5"], ","),
        (["1", ""], "."),
        (["1\n2"], "."),
        ([" 1"], "."),
        (["9" * 400], "."),
    ):
        assert parse_usual(texts, sign) is None


@pytest.mark.parametrize(
    ("texts", "sign"),
    [
        (["1.5", "2.5"], "."),
        (["1,5", "2,5"], ","),
        (["1,234", "1,5"], ","),
        (["1.234", "1.5"], "."),
        (["1.234,5"], ","),
        (["1,234.5"], "."),
        (["1.234.567"], ","),
        (["1,234,567"], "."),
        (["0,123"], ","),
        (["1234,567"], ","),
        (["1", "2"], "."),
        (["1.234"], "."),
        ([], "."),
    ],
)
def test_the_sign_is_guessed_by_cells_that_have_one_reading(texts, sign):
    assert guess_sign(texts) == sign


def test_without_evidence_the_sign_is_the_given_one():
    assert guess_sign(["1.234", "7"], otherwise=",") == ","
    assert guess_sign(["1,234", "1.234"], otherwise=",") == ","


@pytest.mark.parametrize("text", [*PLAIN, *GROUPED, *map(swapped, GROUPED)])
def test_numbers_of_either_sign_are_known_as_numbers(text):
    assert is_number(text)


@pytest.mark.parametrize("text", ["", "x", "12:30", "2026-01-01", "1.2.3", "01.02.2026"])
def test_other_cells_are_not(text):
    assert not is_number(text)
