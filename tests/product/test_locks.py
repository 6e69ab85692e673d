"""The advisory locks: each job has its own, and all stand in one list."""

import ast
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from analytics.activity.events import delivery
from analytics.activity.events.event import LOGIN
from analytics.activity.models import PendingEvent
from devices import maintenance
from devices.locks import AdvisoryLock
from devices.storage import change_log
from tests.product.test_structure import TREES
from tests.support import factories
from tests.support.concurrency import own_connection


def on_another_connection(job: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(own_connection(job)).result()


@pytest.mark.django_db(transaction=True, databases=["default", "activity"])
class TestJobsDoNotShutEachOtherOut:
    def test_events_are_delivered_while_changes_are_compacted(self, monkeypatch):
        factories.event_types()
        PendingEvent.note(7, LOGIN)
        monkeypatch.setattr(change_log, "compact", lambda: on_another_connection(delivery.deliver))
        assert maintenance.compact_changes() == 1
        assert not PendingEvent.objects.exists()

    def test_changes_are_compacted_while_events_are_delivered(self, monkeypatch):
        def compact_instead() -> int:
            PendingEvent.objects.all().delete()
            return on_another_connection(maintenance.compact_changes)

        PendingEvent.note(7, LOGIN)
        monkeypatch.setattr(delivery, "deliver_batch", compact_instead)
        monkeypatch.setattr(change_log, "compact", lambda: 5)
        assert delivery.deliver() == 5


def test_each_lock_has_a_number_of_its_own():
    assert len(AdvisoryLock.__members__) == len(set(AdvisoryLock))


def test_no_number_of_a_lock_stands_outside_the_list():
    found = {
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        if name != "devices/locks.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and str(node.value)[:5] == "75862"
    }
    assert not found
