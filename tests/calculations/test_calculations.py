"""Calculations through the API: requested, computed, listed, read, repeated. The tests act as the worker."""

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery.app.trace import build_tracer
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from analytics import csv_rows
from analytics.calculations import compute, stored_rows, thinning
from analytics.calculations.request import new_calculation
from analytics.calculations.serializers import LARGEST_SEED, serializer_of
from analytics.calculations.stored_rows import BLOCK_ROWS
from analytics.kernels import KERNELS
from analytics.kernels.declaration import MAX_ROWS, Column, Invariant, Kernel
from analytics.kernels.parameters import WholeParameter
from analytics.models import Calculation, CalculationRows, Status
from analytics.runs import claim
from analytics.tasks import run_calculation
from tests.support import factories
from tests.support.queues import emptied_queue
from users.models import User

pytestmark = pytest.mark.django_db
QUEUE = "calculations"
WEEK = {"date_start": "2026-01-01", "date_fin": "2026-01-07", "lag": 1}
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def broker() -> Iterator[redis.Redis]:
    with emptied_queue(QUEUE) as client:
        yield client


class Caller:
    """A user's program."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.headers = {"Authorization": f"Token {factories.token(user)[1]}"}

    def get(self, path: str, expected: int = 200, **query: Any) -> Any:
        response = Client().get(path, query, headers=self.headers)
        assert response.status_code == expected, response.content
        return response

    def post(self, path: str, body: Any = None, expected: int = 201) -> dict:
        options = {"content_type": "application/json", "headers": self.headers}
        response = Client().post(path, json.dumps(body) if body is not None else "", **options)
        assert response.status_code == expected, response.content
        return response.json()

    def ask(self, **fields: Any) -> str:
        return self.post("/calculations/", WEEK | fields)["id"]

    def read(self, run_id: str, *fields: str) -> dict:
        response = self.get(f"/calculations/{run_id}/", fields=",".join(fields))
        return json.loads(b"".join(response.streaming_content) if response.streaming else response.content)


@pytest.fixture
def owner() -> Caller:
    return Caller(factories.owner())


def work(task_id: str = "") -> None:
    """Process one message as a worker does."""
    task_id = task_id or str(uuid4())
    trace = build_tracer(run_calculation.name, run_calculation, app=run_calculation.app)
    trace(task_id, ["any"], {}, {"id": task_id})


def finished(owner: Caller, **fields: Any) -> str:
    run_id = owner.ask(**fields)
    work()
    return run_id


def rows_of_a_hundred_thousand(owner: Caller) -> str:
    last = date(2026, 1, 1) + timedelta(days=MAX_ROWS - 1)
    return finished(owner, date_fin=last.isoformat(), name="large")


class TestAsking:
    def test_the_answer_is_the_id_and_the_message_is_sent(
        self, owner, broker, django_capture_on_commit_callbacks
    ):
        with django_capture_on_commit_callbacks(execute=True):
            answer = owner.post("/calculations/", WEEK)
        assert list(answer) == ["id"]
        assert broker.llen(QUEUE) == 1
        assert Calculation.objects.get().asked_by == owner.user

    def test_it_is_queued_with_no_result(self, owner):
        run_id = owner.ask()
        assert owner.read(run_id) == {"id": run_id, "started_at": None, "status": "queued", "result": None}
        assert owner.read(run_id, "position", "parameters") == owner.read(run_id) | {
            "position": 1,
            "parameters": WEEK | {"pause": 0.0},
        }

    def test_a_seed_is_drawn_and_recorded_where_none_is_given(self, owner):
        seeds = {owner.read(owner.ask(), "seed")["seed"] for _ in range(3)}
        assert len(seeds) == 3
        assert all(0 <= seed <= LARGEST_SEED for seed in seeds)
        assert owner.read(owner.ask(seed=LARGEST_SEED), "seed")["seed"] == LARGEST_SEED

    def test_positions_count_from_one_in_the_order_asked_for(self, owner):
        runs = [owner.ask() for _ in range(3)]
        assert [owner.read(run, "position")["position"] for run in runs] == [1, 2, 3]


class TestResult:
    def test_it_is_a_list_of_rows(self, owner):
        run = owner.read(finished(owner))
        assert list(run) == ["id", "started_at", "status", "result"]
        assert run["status"] == "finished"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", run["started_at"])
        assert [row["date"] for row in run["result"]] == [f"2026-01-0{day}" for day in range(1, 8)]
        assert all(list(row) == ["date", "liquid", "oil", "water", "wct"] for row in run["result"])

    def test_all_that_it_takes_to_repeat_it_is_told(self, owner):
        fields = (
            "kernel",
            "kernel_version",
            "parameters",
            "seed",
            "libraries",
            "rows",
            "duration",
            "progress",
        )
        run = owner.read(finished(owner, seed=5, name="a"), *fields, "name", "error", "attempts", "asked_by")
        assert (run["name"], run["kernel"], run["kernel_version"], run["seed"]) == ("a", "well", "1", 5)
        assert run["libraries"].keys() == {"python", "numpy"}
        assert (run["rows"], run["progress"], run["attempts"], run["error"]) == (7, 100, 1, None)
        assert run["asked_by"] == owner.user.pk
        assert 0 <= run["duration"] < 60

    def test_the_same_seed_gives_the_same_table_and_another_does_not(self, owner):
        one, same, other = (owner.read(finished(owner, seed=seed))["result"] for seed in (1, 1, 2))
        assert one == same != other

    def test_csv_is_a_file_of_the_same_rows(self, owner):
        run_id = finished(owner)
        response = owner.get(f"/calculations/{run_id}/", format="csv")
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        assert response["Content-Disposition"] == f'attachment; filename="well-{run_id}.csv"'
        rows = list(csv.DictReader(io.StringIO(response.content.decode())))
        read = [{name: text if name == "date" else float(text) for name, text in row.items()} for row in rows]
        assert read == owner.read(run_id)["result"]

    def test_there_is_no_file_before_there_are_rows(self, owner):
        run_id = owner.ask()
        owner.get(f"/calculations/{run_id}/", 409, format="csv")
        owner.post(f"/calculations/{run_id}/cancel/", expected=202)
        owner.get(f"/calculations/{run_id}/", 409, format="csv")

    @pytest.mark.parametrize("query", [{"fields": "name,nonsense"}, {"fields": "Name"}, {"format": "xml"}])
    def test_what_is_unknown_is_refused_by_name(self, owner, query):
        [name] = query
        errors = owner.get(f"/calculations/{owner.ask()}/", 400, **query).json()["errors"]
        assert [error["field"] for error in errors] == [name]

    def test_an_unknown_field_is_named(self, owner):
        errors = owner.get(f"/calculations/{owner.ask()}/", 400, fields="nonsense,name,more").json()["errors"]
        assert ["'nonsense'" in errors[0]["message"], "'more'" in errors[1]["message"]] == [True, True]


class TestList:
    def test_ten_a_page_with_links_newest_first(self, owner):
        runs = [owner.ask(name=str(i)) for i in range(23)]
        pages = [owner.get("/calculations/", page=page) for page in (1, 2, 3)]
        assert [len(page.json()) for page in pages] == [10, 10, 3]
        assert [run["id"] for page in pages for run in page.json()] == runs[::-1]
        assert list(pages[0].json()[0]) == ["id", "name", "started_at", "status"]
        assert [page["X-Total-Count"] for page in pages] == ["23"] * 3
        links = re.findall(r'page=(\d)>; rel="(\w+)"', pages[1]["Link"])
        assert links == [("1", "first"), ("3", "last"), ("1", "prev"), ("3", "next")]
        assert 'rel="prev"' not in pages[0]["Link"]
        assert 'rel="next"' not in pages[2]["Link"]

    def test_links_keep_the_filters(self, owner):
        for _ in range(11):
            owner.ask()
        link = owner.get("/calculations/", status="queued", ordering="started_at")["Link"]
        assert "status=queued&ordering=started_at&page=2" in link

    def test_both_orders_a_queued_one_by_when_it_was_asked_for(self, owner):
        first, second, third = owner.ask(), owner.ask(), owner.ask()
        now = timezone.now()
        Calculation.objects.filter(pk=first).update(started_at=now + SECOND, status=Status.FINISHED)
        Calculation.objects.filter(pk=second).update(asked_at=now)
        Calculation.objects.filter(pk=third).update(started_at=now - SECOND, status=Status.RUNNING)
        ascending = [run["id"] for run in owner.get("/calculations/", ordering="started_at").json()]
        assert ascending == [third, second, first]
        assert [run["id"] for run in owner.get("/calculations/", ordering="-started_at").json()] == ascending[
            ::-1
        ]

    def test_by_status_and_kernel(self, owner):
        done, open_one = finished(owner), owner.ask()
        assert [run["id"] for run in owner.get("/calculations/", status="finished").json()] == [done]
        assert [run["id"] for run in owner.get("/calculations/", status="queued").json()] == [open_one]
        assert len(owner.get("/calculations/", kernel="well").json()) == 2
        assert owner.get("/calculations/", kernel="forecast").json() == []

    def test_an_empty_list_has_a_first_page(self, owner):
        assert owner.get("/calculations/").json() == owner.get("/calculations/", page=1).json() == []

    @pytest.mark.parametrize(
        "query",
        [
            *({"page": page} for page in ("2", "0", "-1", "1.0", "01", "one", "", "٢", "9" * 30)),
            *({"ordering": text} for text in ("name", "+started_at", "--started_at")),
            {"status": "done"},
            {"kernel": "unknown"},
            {"limit": "5"},
            {"nonsense": "1"},
        ],
    )
    def test_bad_queries_are_refused_by_name(self, owner, query):
        owner.ask()
        errors = owner.get("/calculations/", 400, **query).json()["errors"]
        assert [error["field"] for error in errors] == list(query)

    def test_it_takes_as_many_queries_for_many_as_for_one_and_never_reads_rows(self, owner):
        finished(owner)
        with CaptureQueriesContext(connection) as one:
            owner.get("/calculations/")
        for _ in range(9):
            finished(owner)
        with CaptureQueriesContext(connection) as ten:
            assert len(owner.get("/calculations/").json()) == 10
        assert len(ten) == len(one)
        assert not [query for query in ten if "calculationrows" in query["sql"]]
        assert not [query for query in ten if '"parameters"' in query["sql"]]


class TestWhoseTheyAre:
    def test_a_stranger_sees_none_and_staff_all(self, owner):
        run_id = finished(owner)
        stranger, colleague = Caller(factories.owner()), Caller(factories.colleague())
        assert stranger.get("/calculations/").json() == []
        for path in ("", "cancel/", "rerun/"):
            asked = stranger.post if path else stranger.get
            asked(f"/calculations/{run_id}/{path}", expected=404)
        assert [run["id"] for run in colleague.get("/calculations/").json()] == [run_id]
        copy = colleague.post(f"/calculations/{run_id}/rerun/")["id"]
        assert [run["id"] for run in owner.get("/calculations/").json()] == [run_id]
        assert colleague.read(copy, "asked_by")["asked_by"] == colleague.user.pk


class TestCancelling:
    def test_a_queued_one_never_runs(self, owner):
        run_id = owner.ask()
        assert owner.post(f"/calculations/{run_id}/cancel/", expected=202) == {
            "id": run_id,
            "status": "cancelled",
        }
        work()
        assert owner.read(run_id, "attempts")["attempts"] == 0

    def test_twice_is_once(self, owner):
        run_id = owner.ask()
        for _ in range(2):
            owner.post(f"/calculations/{run_id}/cancel/", expected=202)

    def test_what_is_over_cannot_be(self, owner):
        run_id = finished(owner)
        owner.post(f"/calculations/{run_id}/cancel/", expected=409)
        assert owner.read(run_id)["status"] == "finished"

    def test_whoever_lost_the_run_stores_no_row(self, owner):
        run_id = owner.ask()
        run = claim(Calculation, "task")
        assert str(run.pk) == run_id
        owner.post(f"/calculations/{run_id}/cancel/", expected=202)
        assert not compute.compute_calculation(run, int)
        assert CalculationRows.objects.count() == 0


class TestRunningAgain:
    def test_it_copies_what_it_takes_and_gives_the_same_table(self, owner):
        run_id = finished(owner, name="a", lag=2)
        copy = owner.post(f"/calculations/{run_id}/rerun/")["id"]
        assert copy != run_id
        work()
        fields = ("name", "kernel", "kernel_version", "parameters", "seed", "rerun_of")
        first, second = owner.read(run_id, *fields), owner.read(copy, *fields)
        assert second["rerun_of"] == run_id
        for name in (*fields[:-1], "result"):
            assert second[name] == first[name], name

    def test_of_a_kernel_that_is_no_more_there_is_no_other_run(self, owner):
        run_id = finished(owner)
        Calculation.objects.update(kernel="gone")
        owner.post(f"/calculations/{run_id}/rerun/", expected=409)
        assert len(owner.read(run_id)["result"]) == 7


class TestLargeOnes:
    def test_a_hundred_thousand_rows_are_stored_in_blocks_and_streamed(self, owner):
        run_id = rows_of_a_hundred_thousand(owner)
        assert CalculationRows.objects.count() == MAX_ROWS // BLOCK_ROWS
        response = owner.get(f"/calculations/{run_id}/")
        assert response.streaming
        rows = json.loads(b"".join(response.streaming_content))["result"]
        assert len(rows) == MAX_ROWS
        lines = b"".join(owner.get(f"/calculations/{run_id}/", format="csv").streaming_content).splitlines()
        assert len(lines) == MAX_ROWS + 1
        run = Calculation.objects.get(pk=run_id)
        self.assert_a_page_reads_one_block(run, rows)
        self.assert_a_chart_is_thinned(run, rows)

    def assert_a_page_reads_one_block(self, run, rows):
        with CaptureQueriesContext(connection) as queries:
            assert stored_rows.row_slice(run, 98_950, 99_000) == rows[98_950:99_000]
        assert len(queries) == 1
        assert stored_rows.row_slice(run, 990, 1010) == rows[990:1010]

    def assert_a_chart_is_thinned(self, run, rows):
        drawn = thinning.result_chart(run)
        names = [column["name"] for column in drawn["columns"]]
        assert len(drawn["data"][0]) <= thinning.MOST_POINTS
        assert drawn["data"][0] == sorted(drawn["data"][0])
        for name, values in zip(names, drawn["data"], strict=True):
            whole = [row[name] for row in rows]
            assert (min(values), max(values)) == (min(whole), max(whole))


def kernel(run: Any, **fields: Any) -> Kernel:
    declared = {
        "name": "made-up",
        "label": "Made up",
        "description": "For a test.",
        "version": "7",
        "parameters": (WholeParameter(name="count", label="Count", minimum=0, maximum=10**6),),
        "columns": (Column("date", "Date", kind="date"), Column("value", "Value")),
        "invariants": (Invariant("value is even", lambda row: row["value"] % 2 == 0),),
        "example": {"count": 1},
        "run": run,
    }
    return Kernel(**declared | fields)


def counted(parameters: Any, rng: Any, progress: Any) -> Iterator[tuple]:
    for i in range(parameters["count"]):
        yield (date(2000, 1, 1) + timedelta(days=i)).isoformat(), float(i)


def made_up(monkeypatch: Any, run: Any = counted, count: int = 5, **fields: Any) -> Calculation:
    """A computed calculation of a kernel that the test defines."""
    declared = kernel(run, **fields)
    monkeypatch.setitem(KERNELS, declared.name, declared)
    calculation = new_calculation(declared, {"count": count})
    calculation.save()
    work()
    calculation.refresh_from_db()
    return calculation


class TestKernels:
    def test_each_is_in_the_table_under_its_own_name(self):
        assert all(name == kernel.name for name, kernel in KERNELS.items())
        assert {"well", "forecast"} <= KERNELS.keys()

    def test_the_one_that_the_documentation_writes_works(self, monkeypatch):
        text = (settings.BASE_DIR / "docs" / "calculations.md").read_text()
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        [source] = [block for block in blocks if "KERNEL = " in block]
        written: dict[str, Any] = {}
        exec(source, written)  # noqa: S102
        declared = written["KERNEL"]
        serializer = serializer_of(declared)(
            data=declared.example | {"kernel": "growth"}, context={"asker": None}
        )
        serializer.is_valid(raise_exception=True)
        monkeypatch.setitem(KERNELS, declared.name, declared)
        calculation = new_calculation(declared, serializer.validated_data["parameters"], seed=1)
        calculation.save()
        work()
        rows = list(stored_rows.all_rows(calculation))
        assert len(rows) == declared.example["years"]
        assert rows[-1]["date"] == "2045-12-31"

    def test_rows_that_break_an_invariant_are_counted(self, monkeypatch):
        calculation = made_up(monkeypatch)
        assert (calculation.status, calculation.row_count) == (Status.FINISHED, 5)
        assert calculation.broken == {"value is even": 2}

    def test_no_row_at_all_is_a_result(self, monkeypatch):
        calculation = made_up(monkeypatch, count=0)
        assert (calculation.status, list(stored_rows.all_rows(calculation))) == (Status.FINISHED, [])

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_number_that_is_not_finite_fails_the_run(self, monkeypatch, value):
        calculation = made_up(monkeypatch, lambda *_: iter([("2000-01-01", 1.0), ("2000-01-02", value)]))
        assert (calculation.status, calculation.row_count) == (Status.FAILED, 0)
        assert calculation.error == "BadRow: value of row 2 is not a finite number."

    def test_more_rows_than_are_allowed_fail_the_run(self, monkeypatch):
        calculation = made_up(monkeypatch, count=MAX_ROWS + 1)
        assert calculation.error == f"BadRow: More than {MAX_ROWS} rows."
        assert CalculationRows.objects.count() == 0

    def test_what_a_kernel_raises_is_the_reason(self, monkeypatch):
        def broken(*_: Any) -> Iterator[tuple]:
            yield "2000-01-01", 1.0
            raise ArithmeticError("no oil")

        calculation = made_up(monkeypatch, broken)
        assert (calculation.status, calculation.error) == (Status.FAILED, "ArithmeticError: no oil")
        assert CalculationRows.objects.count() == 0

    def test_a_soft_time_limit_is_told_in_words(self, monkeypatch):
        def slow(*_: Any) -> Iterator[tuple]:
            raise SoftTimeLimitExceeded

        assert made_up(monkeypatch, slow).error == "It exceeded its time limit and was stopped."

    def test_parameters_come_back_as_they_were(self):
        well = KERNELS["well"]
        parameters = {"date_start": date(2024, 2, 29), "date_fin": date(2025, 1, 1), "lag": 3, "pause": 0.5}
        written = well.written(parameters)
        assert json.loads(json.dumps(written)) == written
        assert well.read(written) == parameters


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((text, f"'{text}") for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx")),
        *((value, value) for value in ("2026-01-01", "a-b", "", -1.5, 7, 1e-7)),
    ],
)
def test_a_cell_of_text_is_never_a_formula(value, shown):
    assert csv_rows.cell(value) == shown
    [_, line] = csv.reader(io.StringIO("".join(csv_rows.lines(["a"], [{"a": value}])), newline=""))
    assert line == [str(shown)] or (value == "" and line == [])
