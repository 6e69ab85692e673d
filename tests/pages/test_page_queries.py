"""The number of queries that a page makes doesn't grow with its rows."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django_celery_results.models import TaskResult

from analytics.models import Analysis, Calculation, Status
from devices.models import Device
from tests.support import factories

MANY = 20

pytestmark = pytest.mark.django_db(databases=["default", "activity"])


@pytest.fixture
def queries() -> Callable[..., int]:
    """A function: number of queries of a page for staff, which must contain `text` `times` times."""
    client = Client()
    client.force_login(factories.colleague())

    def count(page: str, *ids: object, text: str, times: int, **query: str) -> int:
        logs = connections["activity"]
        with CaptureQueriesContext(connection) as captured, CaptureQueriesContext(logs) as of_logs:
            response = client.get(reverse(page, args=ids), query)
        assert response.content.decode().count(text) == times
        return len(captured) + len(of_logs)

    return count


def add_device() -> Device:
    """A device with readings, and with an owner and a profile of its own."""
    name = f"profile-{next(factories.numbers)}"
    device = factories.device(profile=factories.profile(name, ["load"]), name="Pump")
    factories.readings(device, [[1.5], [2.5]])
    return device


def add_finished(**target: object) -> None:
    result = TaskResult.objects.create(task_id=f"task-{next(factories.numbers)}", result="{}")
    Analysis.objects.create(**target, status=Status.FINISHED, task_result=result, asked_by=factories.owner())


def test_device_list(queries: Callable[..., int]) -> None:
    add_device()
    few = queries("devices:device-list", text=">Pump<", times=1)
    for _ in range(MANY - 1):
        add_device()
    assert queries("devices:device-list", text=">Pump<", times=MANY) == few


def test_analysis_list(queries: Callable[..., int]) -> None:
    def add() -> None:
        device = add_device()
        add_finished(device=device)
        add_finished(user=device.owner)

    add()
    few = queries("analytics:analysis-list", text='"badge finished"', times=2)
    for _ in range(MANY - 1):
        add()
    assert queries("analytics:analysis-list", text='"badge finished"', times=2 * MANY) == few


@pytest.mark.parametrize("page", ["analytics:device-statistics", "analytics:device-runs"])
def test_analyses_of_a_device(queries: Callable[..., int], page: str) -> None:
    device = add_device()
    add_finished(device=device)
    few = queries(page, device.uuid, text='"badge finished"', times=1)
    for _ in range(5):
        add_finished(device=device)
    assert queries(page, device.uuid, text='"badge finished"', times=6) == few


def test_readings_of_a_device(queries: Callable[..., int]) -> None:
    device = add_device()
    few = queries("analytics:device-readings", device.uuid, text=">Exclude<", times=2)
    factories.readings(device, [[3.5]] * MANY)
    assert queries("analytics:device-readings", device.uuid, text=">Exclude<", times=2 + MANY) == few


def test_statistics_of_what_a_chart_shows(queries: Callable[..., int]) -> None:
    device = add_device()
    factories.exclusion(device)
    page = ("analytics:device-stretch", device.uuid)
    few = queries(*page, text="data-exclusion ", times=1, **{"from": "first", "to": "now"})
    for _ in range(MANY):
        factories.exclusion(device)
    assert queries(*page, text="data-exclusion ", times=1 + MANY, **{"from": "first", "to": "now"}) == few


def test_page_of_exclusions(queries: Callable[..., int]) -> None:
    device = add_device()
    factories.exclusion(device)
    page = ("devices:exclusion-list", device.uuid)
    few = queries(*page, text=">Lift<", times=1)
    for _ in range(MANY - 1):
        factories.exclusion(device)
    assert queries(*page, text=">Lift<", times=MANY) == few


def test_device_page_with_exclusions(queries: Callable[..., int]) -> None:
    device = add_device()
    factories.exclusion(device)
    page = ("analytics:device", device.uuid)
    few = queries(*page, text='inactive">Excluded<', times=2)
    for _ in range(MANY):
        factories.exclusion(device)
    factories.readings(device, [[3.5]] * 5)
    assert queries(*page, text='inactive">Excluded<', times=7) == few


def test_analysis_of_a_fleet(queries: Callable[..., int]) -> None:
    device = add_device()
    analysis = Analysis.objects.create(user=device.owner, status=Status.FINISHED)
    page = ("analytics:analysis", analysis.pk)

    def finish() -> None:
        """Store a result that has each device of the fleet."""
        devices = {str(device.uuid): {} for device in analysis.devices}
        result = {"start": None, "end": None, "aggregate": {}, "devices": devices}
        result |= {"rows_read": 0, "segments_used": 0}
        task_id = f"task-{next(factories.numbers)}"
        analysis.task_result = TaskResult.objects.create(task_id=task_id, result=json.dumps(result))
        analysis.save()

    finish()
    few = queries(*page, text="<span>Pump</span>", times=1)
    for _ in range(MANY - 1):
        Device.objects.filter(pk=add_device().pk).update(owner=device.owner)
    finish()
    assert queries(*page, text="<span>Pump</span>", times=MANY) == few


def test_calculation_list(queries: Callable[..., int]) -> None:
    def add() -> None:
        known = {"kernel": "well", "kernel_version": "1", "parameters": {}, "seed": 1}
        for status in (Status.QUEUED, Status.FINISHED):
            Calculation.objects.create(**known, status=status, asked_by=factories.owner())

    add()
    few = queries("analytics:calculation-list", text='"badge queued"', times=1)
    for _ in range(MANY // 2 - 1):
        add()
    assert queries("analytics:calculation-list", text='"badge queued"', times=MANY // 2) == few


def test_start_page_of_the_admin(queries: Callable[..., int]) -> None:
    add_device()
    few = queries("admin:index", text=">1</data></strong> devices", times=1)
    for _ in range(MANY - 1):
        add_finished(device=add_device())
    assert queries("admin:index", text=f">{MANY}</data></strong> devices", times=1) == few


def test_activity_of_a_person(queries: Callable[..., int]) -> None:
    factories.event_types()
    ada = factories.owner()

    def add(number: int) -> None:
        day = factories.NOON - number * timedelta(days=1)
        factories.log(ada, "comment", day, factories.post(header="Frost").pk)

    add(0)
    page = ("activity:activity",)
    few = queries(*page, text='">Frost<', times=1, login=ada.login)
    for number in range(1, MANY):
        add(number)
    assert queries(*page, text='">Frost<', times=MANY, login=ada.login) == few


def test_latest_readings_of_a_device(queries: Callable[..., int]) -> None:
    device = add_device()
    factories.exclusion(device)
    page = ("analytics:device-latest", device.uuid)
    few = queries(*page, text='inactive">Excluded<', times=2)
    factories.exclusion(device)
    factories.readings(device, [[3.5]] * 5)
    assert queries(*page, text='inactive">Excluded<', times=7) == few
