"""The same question about unchanged data gets the same task; a change of the data makes its result stale."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_results.models import TaskResult

from analytics import runs
from analytics.analyses import compute
from analytics.analyses.question import BadQuestion, Question
from analytics.analyses.request import request_analysis
from analytics.analyses.staleness import is_stale
from analytics.models import Analysis, Status
from devices import exclusions
from devices.models import Device
from devices.timeline.periods import Period
from tests.support import factories
from users.models import User

# Snapshots distinguish committed transactions: each write here must be a transaction of its own.
pytestmark = pytest.mark.django_db(transaction=True)
ROWS = [(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]
NOON = factories.NOON
HOUR = timedelta(hours=1)
NOW = NOON + HOUR


def ask(target: Device | User, now: datetime = NOW, **question: Any) -> Analysis:
    return request_analysis(target, Question(**question), asked_by=None, now=now)


def finished(analysis: Analysis, now: datetime = NOW) -> Analysis:
    """Finish the analysis as a worker does."""
    task = str(analysis.pk)
    assert runs.claim(Analysis, task) == analysis
    computed = compute.compute_analysis(analysis, now, lambda _: None)
    runs.owned(Analysis, analysis.pk, task).update(
        readings=computed.readings, snapshot=computed.snapshot, counts=computed.counts
    )
    result = TaskResult.objects.create(task_id=task, result="{}", status="SUCCESS")
    Analysis.objects.filter(pk=analysis.pk).update(status=Status.FINISHED, task_result=result)
    return Analysis.objects.with_target().get(pk=analysis.pk)


@pytest.fixture
def device() -> Device:
    device = factories.device()
    factories.readings(device, ROWS)
    return device


def test_unchanged_readings_give_the_same_task(device: Device) -> None:
    analysis = finished(ask(device))
    assert not is_stale(analysis, NOW)
    assert ask(device).pk == analysis.pk


def test_options_are_part_of_the_question(device: Device) -> None:
    asked = [
        {},
        {"percentiles": "5"},
        {"percentiles": "5,95"},
        {"bucket": "day", "time_zone": "UTC"},
        {"bucket": "day", "time_zone": "Europe/Berlin"},
        {"bucket": "week", "time_zone": "UTC"},
        {"period": Period(NOON)},
    ]
    first = [finished(ask(device, **question)).pk for question in asked]
    assert len(set(first)) == len(asked)
    assert [ask(device, **question).pk for question in asked] == first


def late(device: Device) -> None:
    factories.readings(device, [(7.0, 8.0, 9.0)], NOON - 30 * 24 * HOUR)


def fresh(device: Device) -> None:
    factories.readings(device, [(7.0, 8.0, 9.0)], NOON + timedelta(minutes=5))


def replaced(device: Device) -> None:
    """Replace the readings by as many others."""
    device.clear()
    factories.readings(device, [(7.0, 8.0, 9.0), (7.0, 8.0, 9.0)])


def excluded(device: Device) -> None:
    factories.exclusion(device)


def joined(device: Device) -> None:
    factories.device(device.owner)


def swapped(device: Device) -> None:
    """Replace the device by another with as many readings."""
    factories.readings(factories.device(device.owner), ROWS)
    device.erase()


CHANGES: dict[str, Callable[[Device], None]] = {
    "late reading": late,
    "fresh reading": fresh,
    "deleted and posted anew": replaced,
    "exclusion": excluded,
}
OF_FLEETS = CHANGES | {"device that joined": joined, "device that was erased": swapped}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_makes_a_devices_result_stale(device: Device, change: Callable[[Device], None]) -> None:
    before = finished(ask(device))
    change(device)
    assert is_stale(Analysis.objects.get(pk=before.pk), NOW)
    after = ask(device)
    assert after.pk != before.pk
    assert not is_stale(finished(after), NOW)


@pytest.mark.parametrize("change", OF_FLEETS.values(), ids=OF_FLEETS)
def test_a_change_makes_a_fleets_result_stale(device: Device, change: Callable[[Device], None]) -> None:
    factories.readings(factories.device(device.owner), ROWS)
    before = finished(ask(device.owner))
    assert not is_stale(before, NOW)
    change(device)
    assert is_stale(Analysis.objects.get(pk=before.pk), NOW)
    assert ask(device.owner).pk != before.pk


def test_a_lifted_exclusion_is_a_change(device: Device) -> None:
    exclusion = factories.exclusion(device)
    before = finished(ask(device))
    exclusions.lift(exclusion, by="colleague", now=NOW)
    assert is_stale(before, NOW)


def test_made_and_lifted_again_is_a_change_too(device: Device) -> None:
    """One needless computation is cheaper than knowing whether another analysis saw the exclusion."""
    before = finished(ask(device))
    exclusions.lift(factories.exclusion(device), by="colleague", now=NOW)
    assert is_stale(before, NOW)


@pytest.mark.parametrize("change", [late, excluded, fresh], ids=lambda change: change.__name__)
def test_a_change_outside_of_its_period_leaves_a_result_fresh(
    device: Device, change: Callable[[Device], None]
) -> None:
    factories.readings(device, ROWS, NOON - 48 * HOUR)
    before = finished(ask(device, period=Period(NOON - 50 * HOUR, NOON - 40 * HOUR)))
    change(device)
    assert not is_stale(before, NOW)


def test_a_change_of_another_device_leaves_a_result_fresh(device: Device) -> None:
    before = finished(ask(device))
    other = factories.device(device.owner)
    for change in CHANGES.values():
        change(other)
    assert not is_stale(before, NOW)


def test_a_reading_that_was_of_the_future_comes_into_an_open_period(device: Device) -> None:
    factories.readings(device, [(7.0, 8.0, 9.0)], NOW + timedelta(minutes=1))
    before = finished(ask(device))
    assert not is_stale(before, NOW + timedelta(seconds=59))
    assert is_stale(before, NOW + timedelta(seconds=61))


def test_a_queued_one_is_still_to_come(device: Device) -> None:
    queued = ask(device)
    late(device)
    assert ask(device).pk == queued.pk
    assert not is_stale(queued, NOW)


def test_a_running_one_holds_unless_something_changed_since_it_was_asked_for(device: Device) -> None:
    running = ask(device)
    assert runs.claim(Analysis, "a-task") == running
    assert ask(device).pk == running.pk
    late(device)
    assert ask(device).pk != running.pk


def test_a_list_is_told_which_of_its_results_no_longer_hold(device: Device, client: Client) -> None:
    holds, outdated = finished(ask(device, period=Period(start=NOW))), finished(ask(device))
    late(device)
    client.force_login(device.owner)
    path = reverse("analytics:analysis-stale")
    asked = {"id": [str(analysis.pk) for analysis in (holds, outdated)]}
    assert client.get(path, asked).json() == {"stale": [str(outdated.pk)]}
    assert client.get(path, {"id": "1"}).status_code == 400
    client.force_login(factories.stranger())
    assert client.get(path, asked).json() == {"stale": []}


def test_a_result_of_before_this_was_kept_is_stale(device: Device) -> None:
    analysis = finished(ask(device))
    Analysis.objects.filter(pk=analysis.pk).update(snapshot="", counts={})
    assert is_stale(Analysis.objects.get(pk=analysis.pk), NOW)


def test_too_many_buckets_are_refused_and_nothing_is_queued(device: Device) -> None:
    factories.readings(device, ROWS, NOON - 11_000 * HOUR)
    for period in (Period(), Period(NOON - 11_000 * HOUR), Period(NOON - 11_000 * HOUR, NOON)):
        with pytest.raises(BadQuestion):
            ask(device, period=period, bucket="hour", time_zone="UTC")
    assert not Analysis.objects.exists()


def test_looking_whether_it_is_stale_takes_as_many_queries_for_a_large_fleet() -> None:
    def queries() -> int:
        analysis = finished(ask(owner))
        with CaptureQueriesContext(connection) as captured:
            assert not is_stale(analysis, NOW)
        return len(captured)

    owner = factories.owner()
    factories.readings(factories.device(owner), ROWS)
    few = queries()
    for _ in range(10):
        factories.readings(factories.device(owner), ROWS)
    assert queries() == few
