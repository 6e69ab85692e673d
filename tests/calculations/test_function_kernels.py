"""Kernels made from plain functions: parameters from the signature, rows from what is returned."""

import random
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analytics.calculations.compute import RowWriter
from analytics.calculations.serializers import serializer_of
from analytics.calculations.stored_rows import decode
from analytics.kernels import well
from analytics.kernels.declaration import MAX_ROWS, BadDeclaration, BadRow, Kernel
from analytics.kernels.function import kernel_of
from analytics.kernels.parameters import REQUIRED, DayParameter, WholeParameter
from analytics.kernels.tables import table_of

DAYS = [date(2026, 1, 1), date(2026, 1, 2)]
STAMP = "2026-01-01T00:00:00Z"


def source_function(date_start, date_fin, lag):
    """Figures
    of a well.

    More text.
    """
    dates = pd.date_range(date_start, date_fin, freq=f"{lag}D")
    return pd.DataFrame({"date": dates, "liquid": np.random.normal(size=len(dates))})


def every_kind(
    day: date, at: datetime, count: int, share: float, *, text: str = "a", half: float = 1, seed, rng: object
): ...


def kernel(function: Any, name: str = "made-up") -> Kernel:
    return kernel_of(function, name, "1")


def rows_of(returned: Any) -> list[dict[str, Any]]:
    """The rows as they would be stored."""
    table = table_of(returned)
    writer = RowWriter(table.columns, ())
    return decode(writer.block(list(table.rows)))


class TestParameters:
    def test_those_of_the_contract_need_no_annotation_and_are_those_of_the_well(self):
        declared = kernel(source_function)
        assert declared.parameters == list(well.KERNEL.parameters[:3])
        assert declared.check is well.check
        assert declared.example == {"date_start": "2026-01-01", "date_fin": "2026-12-31", "lag": 7}
        assert (declared.label, declared.description) == ("Made up", "Figures of a well.")

    def test_annotations_give_kinds_and_defaults(self):
        declared = kernel(every_kind)
        kinds = {p.name: type(p).__name__ for p in declared.parameters}
        assert kinds == {
            "day": "DayParameter",
            "at": "MomentParameter",
            "count": "WholeParameter",
            "share": "NumberParameter",
            "text": "TextParameter",
            "half": "NumberParameter",
        }
        defaults = {p.name: p.default for p in declared.parameters if p.default is not REQUIRED}
        assert defaults == {"text": "a", "half": 1.0}
        assert list(declared.example) == ["day", "at", "count", "share"]

    def test_the_example_and_the_form_are_accepted_by_the_api(self):
        declared = kernel(every_kind)
        serializer = serializer_of(declared)(
            data=declared.example | {"kernel": "made-up"}, context={"asker": None}
        )
        serializer.is_valid(raise_exception=True)
        parameters = serializer.validated_data["parameters"]
        assert declared.read(declared.written(parameters)) == parameters
        assert all(p.form_field(None).label for p in declared.parameters)

    def test_annotations_may_be_texts(self):
        def later(day: "date", lag: "int" = 2): ...

        day, lag = kernel(later).parameters
        assert isinstance(day, DayParameter)
        assert isinstance(lag, WholeParameter)
        assert (lag.minimum, lag.default) == (1, 2)

    def test_another_type_of_a_known_name_is_taken_at_its_word(self):
        def texts(date_start: str, date_fin: str, lag: float): ...

        declared = kernel(texts)
        assert [type(p).__name__ for p in declared.parameters] == [
            *["TextParameter"] * 2,
            "NumberParameter",
        ]
        assert declared.check is not well.check

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ("pressure", "pressure needs an annotation: date, datetime, int, float or str"),
            ("pressure=1.0", "the argument pressure needs an annotation"),
            ("*days", "*days can't be given by name"),
            ("**options", "**options can't be given by name"),
            ("day, /", "day can't be given by name"),
            ("lag=0", "lag=0 is no int within its bounds"),
            ("lag=True", "lag=True is no int"),
            ("lag=None", "lag=None is no int"),
            ("date_start='2026-01-01'", "is no date"),
            ("share: float = float('nan')", "share: float = nan is no float within its bounds"),
            ("count: int | None = None", "must be annotated with date, datetime, int, float or str"),
            ("name: str", "every calculation has a field 'name'"),
            ("kernel: str", "every calculation has a field 'kernel'"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, arguments, reason):
        scope: dict[str, Any] = {}
        exec(f"def made({arguments}): ...", scope)  # noqa: S102
        with pytest.raises(BadDeclaration) as error:
            kernel(scope["made"])
        assert reason in str(error.value)

    @pytest.mark.parametrize("name", ["Calculate", "_run", "", "a b", "x" * 51, "ä"])
    def test_the_name_must_fit_into_a_request(self, name):
        with pytest.raises(BadDeclaration, match="is not of the form"):
            kernel(source_function, name)


class TestSeed:
    def drawn(self, function: Any, seed: int) -> list[dict]:
        made = kernel(function).run({}, np.random.Generator(np.random.PCG64(seed)), lambda *_: None)
        return [dict(zip([c.name for c in made.columns], row, strict=True)) for row in made.rows]

    def test_both_global_generators_start_from_it(self):
        def draw():
            return [{"date": "2026-01-01", "a": np.random.random(), "b": random.random()}]

        first, same, other, large = (self.drawn(draw, seed) for seed in (1, 1, 2, 1 + 2**32))
        assert first == same
        assert len({row["a"] for [row] in (first, other, large)}) == 3
        assert len({row["b"] for [row] in (first, other, large)}) == 3

    def test_a_function_that_asks_for_seed_or_generator_gets_them(self):
        def draw(seed, rng):
            return [{"date": "2026-01-01", "seed": seed, "drawn": rng.random()}]

        [row] = self.drawn(draw, 2**53 - 1)
        assert row["seed"] == 2**53 - 1
        assert row["drawn"] == np.random.Generator(np.random.PCG64(2**53 - 1)).random()


class TestTables:
    @pytest.mark.parametrize(
        "returned",
        [
            pd.DataFrame({"date": DAYS, "oil": [1, 2]}),
            pd.DataFrame({"date": pd.to_datetime(DAYS), "oil": [1.0, 2.0]}),
            pd.DataFrame({"date": ["2026-01-01", "2026-01-02"], "oil": np.array([1, 2], "float32")}),
            pd.DataFrame({"oil": [1, 2]}, index=pd.DatetimeIndex(DAYS)),
            pd.DataFrame({"oil": [1, 2]}, index=pd.Index(DAYS, name="date")),
            [{"date": day, "oil": oil} for day, oil in zip(DAYS, (1, 2), strict=True)],
            (
                {"date": np.datetime64(day), "oil": np.int64(oil)}
                for day, oil in zip(DAYS, (1, 2), strict=True)
            ),
        ],
    )
    def test_dates_and_numbers_of_every_kind(self, returned):
        assert rows_of(returned) == [{"date": "2026-01-01", "oil": 1}, {"date": "2026-01-02", "oil": 2}]

    def test_moments_are_in_utc_with_the_same_digits(self):
        index = pd.date_range("2026-01-01", periods=2, freq="90min", tz="Europe/Berlin", name="time")
        rows = rows_of(pd.DataFrame({"value": [1.0, 2.0]}, index=index))
        assert [row["time"] for row in rows] == ["2025-12-31T23:00:00Z", "2026-01-01T00:30:00Z"]
        moments = [datetime(2026, 1, 1), datetime(2026, 1, 1, microsecond=5, tzinfo=UTC)]
        rows = rows_of([{"time": moment} for moment in moments])
        assert [row["time"] for row in rows] == [f"2026-01-01T00:00:00.00000{i}Z" for i in (0, 5)]

    @pytest.mark.parametrize("returned", [[], pd.DataFrame(), pd.DataFrame({"date": [], "oil": []})])
    def test_no_row_is_a_table(self, returned):
        assert rows_of(returned) == []

    @pytest.mark.parametrize(
        ("returned", "reason"),
        [
            (pd.DataFrame({"date": DAYS, "oil": [1, np.nan]}), "oil of row 2 is not a finite number."),
            (pd.DataFrame({"date": DAYS, "oil": [1, np.inf]}), "oil of row 2 is not a finite number."),
            (pd.DataFrame({"date": DAYS, "oil": [1, None]}), "oil of row 2 is not a finite number."),
            (pd.DataFrame({"date": DAYS, "oil": [1, "x"]}), "oil of row 2 is of the type str, not a number."),
            (pd.DataFrame({"date": DAYS, "oil": [True, False]}), "oil of row 1 is of the type bool"),
            ([{"date": DAYS[0], "oil": 10**400}], "oil of row 1 is not a finite number."),
            ([{"date": DAYS[0], "oil": np.float64("nan")}], "oil of row 1 is not a finite number."),
            (pd.DataFrame({"date": [DAYS[0], None]}), "date of row 2 is not a date (YYYY-MM-DD)."),
            (pd.DataFrame({"date": [DAYS[0], pd.NaT]}), "date of row 2 is not a date (YYYY-MM-DD)."),
            ([{"date": STAMP}, {"date": "soon"}], "date of row 2 is not a moment in UTC"),
            ([{"date": DAYS[1]}, {"date": DAYS[0]}], "date of row 2 is before that of the row above it."),
            (
                pd.DataFrame({"oil": [1, 2]}),
                "Neither the first column of the DataFrame nor its",
            ),
            (
                pd.DataFrame([[DAYS[0], 1, 2]], columns=["date", "a", "a"]),
                "Two columns have the same name",
            ),
            ([{"date": DAYS[0], "oil": 1}, {"date": DAYS[1]}], "Row 2 has other columns than row 1: date."),
            (({"date": STAMP} for _ in range(MAX_ROWS + 5)), f"More than {MAX_ROWS} rows."),
            (pd.DataFrame({"date": [STAMP] * (MAX_ROWS + 5)}), f"More than {MAX_ROWS} rows."),
        ],
    )
    def test_what_cannot_be_stored_is_named_by_row_and_column(self, returned, reason):
        with pytest.raises(BadRow) as error:
            rows_of(returned)
        assert reason in str(error.value)

    @pytest.mark.parametrize("returned", [None, 5, "text", {"date": DAYS}, [(DAYS[0], 1)], pd.Series([1])])
    def test_what_is_no_table_is_refused(self, returned):
        with pytest.raises(TypeError, match="must"):
            rows_of(returned)


def test_the_libraries_that_its_module_imports_are_told():
    assert {"numpy", "pandas"} <= set(kernel(source_function).libraries)
