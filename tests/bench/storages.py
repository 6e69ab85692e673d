"""Compares PostgreSQL and ClickHouse (in process) as storages of readings, for the table in docs/scaling.md.

Run `.venv/bin/python -m pytest -qs tests/bench/storages.py`; READINGS sets the number of readings of one
device. They have three channels and come once a second, first random doubles and then curves with two
decimals.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from statistics import median
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.utils import timezone

from devices import statistics, storage, transfer
from devices.access.grants import Target
from devices.ingestion import group_commit
from devices.ingestion.intake import take_one
from devices.models import Device
from devices.storage import row_codec
from devices.storage.interface import Storage
from devices.storage.postgresql import segment_schedule
from devices.timeline.instants import unix_microseconds
from devices.timeline.periods import Period
from tests.support import factories

pytestmark = pytest.mark.django_db(transaction=True)
READINGS = int(os.environ.get("READINGS", "1000000"))
BATCH = 10_000
ROUNDS = 5
CONNECTIONS = 1000
SECONDS = 3
OWN = "postgresql"


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def timed(what: str, work: Callable[[], Any], rounds: int = ROUNDS) -> Any:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - began)
    say(f"  {what}: {median(seconds) * 1000:.1f} ms")
    return found


def curves(random: np.random.Generator, numbers: np.ndarray) -> np.ndarray:
    waves = 20 + 5 * np.sin(numbers[:, None] / 5000 + np.arange(3))
    return np.round(waves + random.normal(0, 0.2, waves.shape), 2)


def noise(random: np.random.Generator, numbers: np.ndarray) -> np.ndarray:
    return random.normal(20, 5, (len(numbers), 3))


def fill(target: Storage, device: Device, values: Callable) -> None:
    random, last = np.random.default_rng(READINGS), unix_microseconds(timezone.now() - timedelta(hours=1))
    began = time.perf_counter()
    for first in range(0, READINGS, BATCH):
        numbers = np.arange(first, min(first + BATCH, READINGS))
        times = last - (READINGS - numbers) * 1_000_000
        target.take_over(row_codec.encode_rows(device.pk, times, values(random, numbers)))
    say(f"  stored in inserts of {BATCH:,}: {READINGS / (time.perf_counter() - began):,.0f}/s")


def ask(device: Device) -> None:
    current, now = storage.current(), timezone.now()
    whole = timed("all figures", lambda: statistics.of_device(device, Period()))
    middle = whole.first + (whole.last - whole.first) / 2
    day = Period(middle, middle + timedelta(days=1))
    timed("of a day", lambda: statistics.of_device(device, day))
    timed("five percentiles", lambda: statistics.of_device(device, Period(), percentiles=[1, 5, 25, 75, 95]))
    timed("1,000 columns", lambda: current.series(device.pk, 3, Period(whole.first, now), 1000))
    timed("latest", lambda: current.latest([device.pk]))
    timed("page", lambda: current.page([device.pk], Period(), limit=100))
    timed("count", lambda: statistics.count([device.pk], Period()))


def own_bytes() -> int:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) devices_reading")
        cursor.execute(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits"
            " WHERE inhparent = 'devices_reading'::regclass"
        )
        return int(cursor.fetchone()[0])


@pytest.fixture
def far(chdb_readings: str) -> Storage:
    found = storage.opened(chdb_readings)
    found.client.command("TRUNCATE TABLE readings")
    return found


@pytest.mark.parametrize("values", [noise, curves])
def test_storing_and_asking(values: Callable, far: Storage, settings: Any) -> None:
    own, device, before = storage.opened(OWN), factories.device(), own_bytes()
    say(f"\n{READINGS:,} readings, {values.__name__}\nPostgreSQL")
    fill(own, device, values)
    say(f"  bytes per reading, with the index: {(own_bytes() - before) / READINGS:.1f}")
    timed("all figures, from rows", lambda: statistics.of_device(device, Period()), 1)
    segment_schedule.build(device.pk, 3)
    ask(device)

    say("Copying")
    timed("all", lambda: transfer.copy(own, far, [device], lambda *_: None, transfer.Surplus.DIFFERS), 1)
    timed("comparing", lambda: transfer.compare(own, far, [device], lambda *_: None), 1)

    say("ClickHouse")
    far.run(["TRUNCATE TABLE readings"])
    fill(far, device, values)
    far.run(["OPTIMIZE TABLE readings FINAL"])
    parts = "SELECT sum(bytes_on_disk) FROM system.parts WHERE table = 'readings' AND active"
    say(f"  bytes per reading: {far.rows(parts)[0][0] / READINGS:.1f}")
    settings.READINGS_URL = far.url
    ask(device)


@pytest.mark.parametrize("name", [OWN, "clickhouse"])
def test_single_readings(name: str, far: Storage, settings: Any) -> None:
    """Store single readings through the group commit of one process, without HTTP."""
    settings.READINGS_URL = OWN if name == OWN else far.url
    body = json.dumps({"x": 1.5, "y": 2, "z": 3}).encode()
    taken = take_one(Target.of(factories.device()), body, timezone.now())
    latencies: list[float] = []

    async def client(queue: group_commit.GroupCommit, until: float) -> None:
        while (began := time.perf_counter()) < until:
            await queue.store(taken, None)
            latencies.append(time.perf_counter() - began)

    async def run() -> None:
        queue = group_commit.GroupCommit(asyncio.get_running_loop())
        until = time.perf_counter() + SECONDS
        await asyncio.gather(*(client(queue, until) for _ in range(CONNECTIONS)))
        await queue.close()

    asyncio.run(run())
    say(
        f"\n{name}, {CONNECTIONS} requests at a time: {len(latencies) / SECONDS:,.0f} readings/s,"
        f" median {median(latencies) * 1000:.1f} ms"
    )
