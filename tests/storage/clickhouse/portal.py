"""A portal whose readings are in ClickHouse: addresses, a reading, and what the tests do with them."""

import json
from datetime import timedelta

from celery.app.trace import build_tracer
from django.utils import timezone

from analytics.models import Analysis, Status
from analytics.tasks import run_analysis
from devices import storage
from devices.access.grants import Target
from devices.ingestion.flusher import Flusher, Outcomes, PendingWrite
from devices.ingestion.idempotency import IdempotencyClaim
from devices.ingestion.intake import take_one
from devices.models import Device
from devices.timeline.periods import Period

NOWHERE = "clickhouse://somebody:hush@127.0.0.1:1/readings"
EVER = Period()
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
STAMP = "2026-11-02T08:00:00Z"
READING = {"x": 1.5, "y": 2, "z": 3}


def number_of(device: Device) -> int:
    return storage.current().counts([device.pk], EVER)[device.pk]


def work(task_id: str) -> dict:
    """Compute the analysis as a worker's process does, and return its row."""
    build_tracer(run_analysis.name, run_analysis, app=run_analysis.app)(
        task_id, [task_id], {}, {"id": task_id}
    )
    analysis = Analysis.objects.get(pk=task_id)
    assert analysis.status == Status.FINISHED, analysis.error
    return analysis


def requests_of(device: Device, *keys: str | None) -> list[PendingWrite]:
    taken = take_one(Target.of(device), json.dumps(READING | {"timestamp": STAMP}).encode(), timezone.now())
    return [
        PendingWrite(
            taken, None if key is None else IdempotencyClaim.of(f"device:{device.pk}", key, "/data", b"{}")
        )
        for key in keys
    ]


def flushed(requests: list[PendingWrite]) -> Outcomes:
    flusher = Flusher()
    try:
        return flusher.flush(requests)
    finally:
        flusher.disconnect()
        flusher.executor.shutdown()
