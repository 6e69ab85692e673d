import numpy as np
import pytest
from django.utils import timezone

from analytics import analyses, queue
from analytics.asking import ask_for_analysis
from analytics.models import Analysis, Status
from devices.periods import Period
from tests import factories

pytestmark = pytest.mark.django_db
ROWS = [(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]


def ask(device) -> Analysis:
    return ask_for_analysis(device, Period(), asked_by=None, now=timezone.now())


def finished(analysis: Analysis) -> Analysis:
    """As a worker leaves it, but for the stored result, which is of no account here."""
    queue.claim(Analysis, analysis.pk, "a-task")
    Analysis.objects.filter(pk=analysis.pk).update(status=Status.RUNNING, readings=len(ROWS))
    return Analysis.objects.get(pk=analysis.pk)


def test_unchanged_readings_give_the_same_task():
    device = factories.device()
    factories.readings(device, ROWS)
    assert ask(device).pk == finished(ask(device)).pk


def test_as_many_readings_after_clearing_are_not_the_same_readings():
    device = factories.device()
    factories.readings(device, ROWS)
    before = finished(ask(device))
    device.clear()
    factories.readings(device, [(7.0, 8.0, 9.0), (7.0, 8.0, 9.0)])
    device.refresh_from_db()
    assert ask(device).pk != before.pk


def test_a_channel_of_one_name_with_and_without_a_unit_is_two():
    values = {("level", ""): np.array([1.0, 2.0]), ("level", "m"): np.array([3.0])}
    assert {name: summary["count"] for name, summary in analyses.summaries(values).items()} == {
        "level (no unit)": 2,
        "level (m)": 1,
    }
