"""Whose run is next: people take turns, and nobody has more than so many open runs."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery.app.trace import build_tracer
from django.test import Client
from django.utils import timezone

from analytics import runs, turns
from analytics.calculations.request import queue_calculation
from analytics.models import Analysis, Calculation, Status
from analytics.tasks import run_calculation
from tests.support import factories
from tests.support.concurrency import at_the_same_time
from users.limits import LimitReached
from users.models import User

pytestmark = pytest.mark.django_db
WELL = {"date_start": "2026-01-01", "date_fin": "2026-01-07", "lag": 1}
WELL_RUN: dict[str, Any] = {"kernel": "well", "kernel_version": "1", "parameters": {}, "seed": 1}
MANY = 1000


@pytest.fixture(autouse=True)
def _few_open_runs(settings: Any) -> None:
    settings.OPEN_RUNS = 3


def calculation(who: User) -> Calculation:
    return Calculation(**WELL_RUN, asked_by=who)


def queued(who: User, count: int = 1) -> list[Calculation]:
    """Runs that this person requests one after another, however many may be open."""
    made = [calculation(who) for _ in range(count)]
    for run in made:
        turns.take_turn(run, most_open=0)
        run.save(force_insert=True)
    return made


def names(people: dict[str, User], count: int) -> str:
    """Whose runs the next claims get."""
    of = {user.pk: name for name, user in people.items()}
    claims = [runs.claim(Calculation, str(uuid4())) for _ in range(count)]
    return "".join(of[run.asked_by_id] for run in claims if run is not None)


@pytest.fixture
def people() -> dict[str, User]:
    return {name: factories.owner() for name in "abc"}


def test_a_thousand_runs_of_one_person_move_anothers_first_behind_one(people: dict[str, User]) -> None:
    queued(people["a"])
    runs.claim(Calculation, "first")
    now = timezone.now()
    Calculation.objects.bulk_create(
        Calculation(
            **WELL_RUN,
            asked_by=people["a"],
            asked_at=now - timedelta(hours=1),
            turn=2 + number,
        )
        for number in range(MANY)
    )
    [run] = queued(people["b"])
    assert turns.positions(Calculation)[run.pk] == 2
    assert names(people, 3) == "aba"


def test_people_take_turns_and_each_has_the_oldest_first(people: dict[str, User]) -> None:
    of_a = queued(people["a"], 3)
    queued(people["b"], 2)
    queued(people["c"])
    places = turns.positions(Calculation)
    assert [places[run.pk] for run in of_a] == [1, 4, 6]
    assert names(people, 6) == "abcaba"


def test_who_comes_late_or_comes_again_gains_nothing(people: dict[str, User]) -> None:
    queued(people["a"], 4)
    assert names(people, 2) == "aa"
    queued(people["b"], 4)
    assert names(people, 3) == "aba"
    # All of a's are claimed, and b has three left: a's new one goes between them.
    queued(people["a"])
    assert names(people, 4) == "bbab"


def test_cancelled_runs_cost_no_turn(people: dict[str, User]) -> None:
    for run in queued(people["a"], 5):
        runs.cancel(run)
    queued(people["b"], 2)
    queued(people["a"])
    assert names(people, 3) == "bab"


def test_a_run_that_is_taken_up_again_keeps_its_turn(people: dict[str, User]) -> None:
    [first] = queued(people["a"])
    runs.claim(Calculation, "dies")
    queued(people["b"], 2)
    Calculation.objects.filter(pk=first.pk).update(status=Status.QUEUED, claimed_by="")
    assert turns.positions(Calculation)[first.pk] == 1


@pytest.mark.django_db(transaction=True)
def test_simultaneous_requests_of_a_person_count_each_other() -> None:
    factories.profile()
    who = factories.owner()

    def ask() -> bool:
        try:
            queue_calculation(calculation(who))
        except LimitReached:
            return False
        return True

    assert sorted(at_the_same_time(ask, times=5)) == [False, False, True, True, True]
    assert sorted(Calculation.objects.values_list("turn", flat=True)) == [1, 2, 3]


def post(path: str, user: User, body: Any = None, **token: Any) -> Any:
    headers = {"Authorization": f"Token {factories.token(user, **token)[1]}"}
    return Client().post(path, json.dumps(body or {}), content_type="application/json", headers=headers)


class TestOpenRuns:
    def test_one_too_many_is_refused_by_name(self) -> None:
        who = factories.owner()
        queued(who, 3)
        answer = post("/calculations/", who, WELL)
        assert (answer.status_code, answer["Retry-After"]) == (429, "60")
        assert answer["Content-Type"] == "application/problem+json"
        detail = answer.json()["detail"]
        assert "3 of your runs" in detail
        assert "at most 3" in detail
        assert "OPEN_RUNS" in detail
        again = Calculation.objects.first()
        Calculation.objects.filter(pk=again.pk).update(parameters=WELL)
        assert post(f"/calculations/{again.pk}/rerun", who).status_code == 429
        assert Calculation.objects.count() == 3

    def test_both_kinds_of_runs_count_and_others_do_not(self) -> None:
        device = factories.device()
        queued(device.owner, 3)
        queued(factories.stranger(), 2)
        path = f"/devices/{device.uuid}/analytics/"
        assert post(path, device.owner).status_code == 429
        Calculation.objects.filter(asked_by=device.owner).first().delete()
        first = post(path, device.owner)
        # The same question gets the task that exists, and none is added.
        assert post(path, device.owner).json()["task_id"] == first.json()["task_id"]
        assert post("/calculations/", device.owner, WELL).status_code == 429
        assert post("/calculations/", factories.stranger(), WELL).status_code == 201

    def test_a_run_that_is_over_makes_room(self) -> None:
        who = factories.owner()
        for run in queued(who, 3):
            runs.cancel(run)
        assert post("/calculations/", who, WELL).status_code == 201

    def test_a_token_that_only_reads_leaves_half_to_its_holder(self, settings: Any) -> None:
        settings.OPEN_RUNS = 4
        device = factories.device()
        paths = [f"/devices/{device.uuid}/analytics/?end=2026-0{month}-01T00:00:00Z" for month in range(1, 5)]
        answers = [post(path, device.owner, scopes=["read"]).status_code for path in paths]
        assert answers == [202, 202, 429, 429]
        assert post(paths[3], device.owner, scopes=["read", "write"]).status_code == 202

    def test_a_page_says_so(self) -> None:
        device = factories.device()
        queued(device.owner, 3)
        browser = Client()
        browser.force_login(device.owner)
        said = "3 of your runs are queued or running"
        for path in ("/portal/calculations/new/", f"/portal/devices/{device.uuid}/statistics/"):
            assert said in browser.post(path, WELL | {"pause": 0}).content.decode()
        analysis = Analysis.objects.create(device=device, status=Status.FAILED, asked_by=device.owner)
        assert said in browser.post(f"/portal/analyses/{analysis.pk}/").content.decode()
        Calculation.objects.update(parameters=WELL)
        rerun = f"/portal/calculations/{Calculation.objects.first().pk}/rerun/"
        assert said in browser.post(rerun, follow=True).content.decode()

    def test_no_limit(self, settings: Any) -> None:
        settings.OPEN_RUNS = 0
        who = factories.owner()
        queued(who, 5)
        assert post("/calculations/", who, WELL).status_code == 201


def test_results_of_a_person_may_take_so_much(settings: Any) -> None:
    settings.RESULT_MEBIBYTES = 1
    who, device = factories.owner(), factories.device()
    run = Calculation.objects.create(**WELL_RUN, asked_by=who, result_bytes=600_000)
    Analysis.objects.create(device=device, asked_by=who, result_bytes=600_000, status=Status.FINISHED)
    answer = post("/calculations/", who, WELL)
    assert answer.status_code == 409
    assert "RESULT_MEBIBYTES" in answer.json()["detail"]
    assert "take 1 MiB" in answer.json()["detail"]
    assert post("/calculations/", device.owner, WELL).status_code == 201
    Calculation.objects.filter(pk=run.pk).update(status=Status.FINISHED)
    path = f"/calculations/{run.pk}/"
    assert delete(path, device.owner) == 404
    assert delete(path, who) == 204
    assert post("/calculations/", who, WELL).status_code == 201


def delete(path: str, user: User) -> int:
    return Client().delete(path, headers={"Authorization": f"Token {factories.token(user)[1]}"}).status_code


def test_what_a_result_takes_is_noted() -> None:
    run = queue_calculation(
        Calculation(**WELL_RUN | {"parameters": WELL | {"pause": 0}}, asked_by=factories.owner())
    )
    work = run_calculation
    build_tracer(work.name, work, app=work.app)("a task", [str(run.pk)], {}, {"id": "a task"})
    run.refresh_from_db()
    assert run.status == Status.FINISHED
    assert run.result_bytes == sum(len(block.payload) for block in run.blocks.all()) > 100


def test_a_request_takes_two_statements_more(django_assert_num_queries: Any) -> None:
    who = factories.owner()
    queued(who, 3)
    with django_assert_num_queries(2):
        turns.take_turn(calculation(who), most_open=0)
