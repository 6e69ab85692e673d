"""Tasks: listed without their results, deleted when they are over, and gone when their results expire."""

import json
from base64 import b64encode
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.http import Http404
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_results.models import TaskResult

from analytics import runs
from analytics.analyses.question import Question
from analytics.analyses.request import is_current, request_analysis
from analytics.analyses.stored_result import MOST_WITHIN
from analytics.analyses.task_api import deleted_is_404, visible_task
from analytics.models import Analysis, Calculation, Status
from analytics.tasks import expire_results
from devices.timeline.periods import Period
from tests.support import factories
from users.models import User

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
OVER = (Status.FINISHED, Status.FAILED, Status.CANCELLED)


def made(result: Any = None, **fields: Any) -> Analysis:
    if "user" not in fields:
        fields.setdefault("device", factories.device())
    analysis = Analysis(claimed_by=f"celery-{factories.numbers.__next__()}", **fields)
    if result is not None:
        analysis.task_result = TaskResult.objects.create(
            task_id=analysis.claimed_by, status="SUCCESS", result=json.dumps(result)
        )
    analysis.save()
    return analysis


def call(method: str, path: str, user: User) -> Any:
    headers = {"Authorization": f"Token {factories.token(user)[1]}"}
    return getattr(Client(), method)(path, headers=headers)


def listed(user: User, query: str = "") -> list[dict[str, Any]]:
    response = call("get", f"/tasks/{query}", user)
    assert response.status_code == 200, response.content
    return response.json()


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["task_id"] for row in rows]


class TestList:
    def test_a_row_has_question_and_state_and_no_result(self):
        now = factories.NOON
        analysis = made(
            {"x": "result"},
            status=Status.FINISHED,
            progress=100,
            start=now,
            bucket="day",
            time_zone="Europe/Berlin",
            percentiles="5,95",
            asked_at=now,
            finished_at=now + DAY,
        )
        assert listed(analysis.device.owner) == [
            {
                "task_id": str(analysis.pk),
                "status": "SUCCESS",
                "progress": 100,
                "error": None,
                "device_id": str(analysis.device.uuid),
                "user_id": None,
                "start": "2026-11-21T12:00:00Z",
                "end": None,
                "percentiles": "5,95",
                "bucket": "day",
                "time_zone": "Europe/Berlin",
                "asked_at": "2026-11-21T12:00:00Z",
                "started_at": None,
                "finished_at": "2026-11-22T12:00:00Z",
                "expires_at": None,
            }
        ]

    def test_newest_first_on_linked_pages(self):
        owner = factories.owner()
        device = factories.device(owner)
        made_at = [factories.NOON + number * DAY for number in (3, 1, 4, 1, 5, 9, 2, 6)]
        for time in made_at:
            made(device=device, asked_at=time)
        seen, path = [], "/tasks/?limit=3"
        while path:
            response = call("get", path, owner)
            assert response["X-Total-Count"] == "8"
            seen += [row["asked_at"] for row in response.json()]
            links = [part for part in response["Link"].split(", ") if 'rel="next"' in part]
            path = links[0].partition("<http://testserver")[2].partition(">")[0] if links else ""
        assert seen == [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in sorted(made_at, reverse=True)]

    def test_who_sees_what(self):
        of_device = made()
        of_fleet = made(user=of_device.device.owner)
        both = {str(of_device.pk), str(of_fleet.pk)}
        for person in (of_device.device.owner, factories.colleague(), factories.admin()):
            assert both <= set(ids(listed(person)))
        assert listed(factories.stranger()) == []

    def test_filters(self):
        owner = factories.owner()
        one, other = factories.device(owner), factories.device(owner)
        queued = made(device=one)
        failed = made(device=other, status=Status.FAILED, error="Too many buckets.")
        fleet = made(user=owner, status=Status.FINISHED)
        for query, expected in {
            f"?device={one.uuid}": [queued],
            f"?user={owner.pk}": [fleet],
            "?status=PENDING": [queued],
            "?status=STARTED": [],
            "?status=SUCCESS": [fleet],
            "?status=FAILURE": [failed],
            f"?status=FAILURE&device={one.uuid}": [],
            f"?user={owner.pk + 10_000}": [],
            "?device=00000000-0000-4000-8000-000000000000": [],
        }.items():
            assert ids(listed(owner, query)) == [str(found.pk) for found in expected], query
        assert listed(owner, "?status=FAILURE")[0]["error"] == "Too many buckets."

    def test_queries_do_not_grow_and_no_result_is_loaded(self):
        staff = factories.colleague()
        headers = {"Authorization": f"Token {factories.token(staff)[1]}"}

        def queries() -> list[str]:
            with CaptureQueriesContext(connection) as captured:
                assert Client().get("/tasks/", headers=headers).status_code == 200
            return [query["sql"] for query in captured.captured_queries]

        queries()  # the first one also notes the token's use
        made({"x": 1}, status=Status.FINISHED)
        before = len(queries())
        for _ in range(20):
            made({"x": 1}, status=Status.FINISHED)
            made({"x": 1}, user=factories.owner(), status=Status.FINISHED)
        after = queries()
        assert len(after) == before
        large = ("django_celery_results_taskresult", '"snapshot"', '"counts"')
        assert not [sql for sql in after for name in large if name in sql]


class TestDelete:
    @pytest.mark.parametrize("status", OVER)
    def test_one_that_is_over_goes_with_its_result(self, status):
        analysis = made({"x": 1}, status=status)
        # Celery stores a failure, too, and the run does not point to it.
        if status == Status.FAILED:
            Analysis.objects.update(task_result=None)
        kept = made({"x": 2}, status=Status.FINISHED)
        owner = analysis.device.owner
        response = call("delete", f"/tasks/{analysis.pk}/", owner)
        assert (response.status_code, response.content) == (204, b"")
        assert list(Analysis.objects.all()) == [kept]
        assert list(TaskResult.objects.all()) == [kept.task_result]
        assert call("get", f"/tasks/{analysis.pk}/", owner).status_code == 404
        assert call("delete", f"/tasks/{analysis.pk}/", owner).status_code == 404

    @pytest.mark.parametrize(("status", "word"), [(Status.QUEUED, "PENDING"), (Status.RUNNING, "STARTED")])
    def test_one_that_is_open_stays(self, status, word):
        analysis = made(status=status)
        response = call("delete", f"/tasks/{analysis.pk}", analysis.device.owner)
        assert (response.status_code, response.json()["detail"]) == (409, f"It is {word}: cancel it first.")
        assert Analysis.objects.get() == analysis

    def test_a_strangers_attempt_is_404(self):
        analysis = made({"x": 1}, status=Status.FINISHED)
        assert call("delete", f"/tasks/{analysis.pk}/", factories.stranger()).status_code == 404
        assert TaskResult.objects.exists()
        assert Analysis.objects.exists()

    def test_results_are_not_loaded_to_be_deleted(self):
        made({"x": 1}, status=Status.FINISHED)
        with CaptureQueriesContext(connection) as captured:
            assert runs.discard(Analysis.objects.all()) == 1
        assert not [
            query["sql"]
            for query in captured.captured_queries
            if '"django_celery_results_taskresult"."result"' in query["sql"]
        ]
        assert not TaskResult.objects.exists()


class TestExpiry:
    def test_the_answer_says_when(self, settings):
        ended = timezone.now() - DAY
        analysis = made({"x": 1}, status=Status.FINISHED, finished_at=ended)
        path, owner = f"/tasks/{analysis.pk}/", analysis.device.owner
        assert call("get", path, owner).json()["expires_at"] is None
        settings.RESULT_DAYS = 3
        text = (ended + 3 * DAY).isoformat().replace("+00:00", "Z")
        assert call("get", path, owner).json()["expires_at"] == text
        assert listed(owner)[0]["expires_at"] == text

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
    def test_one_that_is_open_does_not_expire(self, settings, status):
        settings.RESULT_DAYS = 3
        assert made(status=status, asked_at=timezone.now() - 9 * DAY).expires_at is None
        assert expire_results() == 0

    def test_the_job_deletes_what_is_over_and_old_in_batches(self, settings, monkeypatch):
        monkeypatch.setattr(runs, "EXPIRE_BATCH", 3)
        settings.RESULT_DAYS = 3
        now = timezone.now()
        for number in range(8):
            made({"x": 1}, status=OVER[number % 3], finished_at=now - 4 * DAY)
        young = made({"x": 1}, status=Status.FINISHED, finished_at=now - 2 * DAY)
        running = made(status=Status.RUNNING, asked_at=now - 9 * DAY)
        assert expire_results() == 8
        assert set(Analysis.objects.all()) == {young, running}
        assert list(TaskResult.objects.all()) == [young.task_result]
        assert expire_results() == 0

    def test_without_the_setting_nothing_goes(self, settings):
        assert settings.RESULT_DAYS == 0
        made({"x": 1}, status=Status.FINISHED, finished_at=timezone.now() - 9999 * DAY)
        assert expire_results() == 0

    def test_calculations_stay(self, settings):
        settings.RESULT_DAYS = 3
        old = timezone.now() - 9 * DAY
        Calculation.objects.create(
            kernel="well",
            kernel_version="1",
            parameters={},
            seed=1,
            status=Status.FINISHED,
            finished_at=old,
        )
        assert expire_results() == 0
        assert Calculation.objects.exists()

    def test_the_same_question_after_it_expired_gets_a_new_task(self, settings):
        now, question = timezone.now(), Question(Period(None, factories.NOON))
        device = factories.device()
        factories.readings(device, [(1.0, 2.0, 3.0)])
        first = request_analysis(device, question, asked_by=None, now=now)
        result = TaskResult.objects.create(task_id="done", status="SUCCESS", result="{}")
        Analysis.objects.update(status=Status.FINISHED, finished_at=now, task_result=result)
        first.refresh_from_db()
        assert is_current(first, now + 4 * DAY)
        settings.RESULT_DAYS = 3
        assert is_current(first, now + 2 * DAY)
        assert not is_current(first, now + 4 * DAY)


class TestDevicesOfAFleet:
    def fleet(self, count: int) -> tuple[Analysis, dict[str, Any]]:
        names = [f"00000000-0000-4000-8000-{number:012}" for number in range(count)]
        result = {
            "aggregate": {"x": {"count": count}},
            "devices": {name: {"x": {"count": 1}} for name in reversed(names)},
            "details": {name: {"first": None, "coverage": None} for name in names},
        }
        return made(result, user=factories.owner(), status=Status.FINISHED), result

    def test_up_to_a_thousand_are_within_the_result(self):
        task, result = self.fleet(MOST_WITHIN)
        assert call("get", f"/tasks/{task.pk}/", task.user).json()["result"] == result

    def test_more_are_on_pages_of_their_own(self):
        task, result = self.fleet(MOST_WITHIN + 1)
        answered = call("get", f"/tasks/{task.pk}/", task.user).json()["result"]
        link = f"/tasks/{task.pk}/devices/"
        assert answered == {
            "aggregate": result["aggregate"],
            "devices": None,
            "details": None,
            "devices_link": link,
        }
        seen, path = [], f"{link}?limit=400"
        while path:
            response = call("get", path, task.user)
            assert response["X-Total-Count"] == str(MOST_WITHIN + 1)
            seen.append(response.json())
            _, _, after = response["Link"].partition('rel="first", <http://testserver')
            path = after.partition(">")[0]
        assert [len(page) for page in seen] == [400, 400, 201]
        rows = [row for page in seen for row in page]
        assert [row["device_id"] for row in rows] == sorted(result["devices"])
        assert rows[0] == {
            "device_id": "00000000-0000-4000-8000-000000000000",
            "first": None,
            "coverage": None,
            "x": {"count": 1},
        }

    def test_what_has_no_such_pages(self):
        running = made(user=factories.owner(), status=Status.RUNNING)
        assert call("get", f"/tasks/{running.pk}/devices/", running.user).status_code == 409
        single = made({"x": 1}, status=Status.FINISHED)
        assert call("get", f"/tasks/{single.pk}/devices/", single.device.owner).status_code == 404
        fleet, _ = self.fleet(1)
        path = f"/tasks/{fleet.pk}/devices/"
        assert call("get", path, factories.stranger()).status_code == 404
        for query in ("?limit=0", "?limit=1001", "?cursor=x", "?cursor="):
            [error] = call("get", path + query, fleet.user).json()["errors"]
            assert error["field"] == query[1:].partition("=")[0]


def test_one_that_is_deleted_while_it_is_read_is_not_found() -> None:
    analysis = made({"x": "result"}, status=Status.FINISHED, bucket="day")
    found = visible_task(SimpleNamespace(user=analysis.device.owner), analysis.pk)
    runs.discard(Analysis.objects.filter(pk=analysis.pk))
    with pytest.raises(Http404), deleted_is_404():
        assert found.result


@pytest.mark.parametrize("offset", ["+23:00", "+00:00:30.5", ""])
def test_a_cursor_that_no_list_made_is_refused(offset: str) -> None:
    cursor = b64encode(f"p=2026-01-01T00:00:00{quote(offset)}".encode()).decode()
    response = call("get", f"/tasks/?cursor={quote(cursor)}", factories.colleague())
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "cursor")


def test_results_of_erased_devices_are_deleted_after_a_day() -> None:
    erased, owned = (made({"x": "result"}, status=Status.FINISHED) for _ in range(2))
    young = TaskResult.objects.create(task_id="young", status="SUCCESS", result="{}")
    old = timezone.now() - 2 * DAY
    TaskResult.objects.exclude(pk=young.pk).update(date_done=old)
    erased.device.delete()
    assert expire_results() == 1
    assert set(TaskResult.objects.values_list("pk", flat=True)) == {owned.task_result_id, young.pk}
