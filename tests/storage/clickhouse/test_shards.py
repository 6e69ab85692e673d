"""All queries give the same answers over two shards."""

from dataclasses import replace
from typing import Any

import pytest

from devices import statistics, storage
from devices.models import Device
from devices.timeline.periods import Period
from devices.timeline.spans import Span
from tests.storage.clickhouse.portal import EVER, HOUR, MINUTE
from tests.support import factories
from tests.support.factories import NOON

pytestmark = [
    pytest.mark.clickhouse,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("clickhouse_readings"),
]


SHARDS = "remote('127.0.0.1,localhost', "


def test_all_queries_give_the_same_answers_over_shards(clickhouse_readings, settings):
    """Both shards are in this process and share the devices between them."""
    owner, pair = factories.owner(), factories.profile("pair", ("x", "b"))
    devices = [
        *(factories.device(owner) for _ in range(3)),
        *(factories.device(owner, profile=pair) for _ in range(3)),
    ]
    settings.READINGS_URL = "postgresql"
    for i, device in enumerate(devices):
        rows = [[i * j % 7 + 0.1, -j, j / 3][: len(device.channels)] for j in range(300)]
        factories.readings(device, rows)
        clickhouse_readings.take_over(
            storage.current().rows_of(Span.of(device.pk, Period(NOON, NOON + HOUR)))
        )
    factories.exclusion(devices[0], NOON, NOON + MINUTE)
    ours = answers(devices)

    clickhouse_readings.run(
        [
            "DROP DATABASE IF EXISTS sharded",
            "CREATE DATABASE sharded",
            "CREATE VIEW sharded.readings_local AS"
            " SELECT * FROM default.readings WHERE device_id % 2 = shardNum() - 1",
            f"CREATE TABLE sharded.readings AS {SHARDS}'sharded', 'readings_local')",
        ]
    )
    settings.READINGS_URL = f"{clickhouse_readings.url}?database=sharded"
    sharded = storage.current()
    sharded.shards = SHARDS
    for client in (sharded.client, sharded.patient_client):
        # chDB has no socket behind which it could look for itself.
        client.set_client_setting("prefer_localhost_replica", 1)
    by_shard = "SELECT shardNum(), count() FROM readings GROUP BY 1 ORDER BY 1"
    assert sharded.query(by_shard) == [(1, 900), (2, 900)]
    assert answers(devices) == ours


def answers(devices: list[Device]) -> list[Any]:
    ids, readings = [device.pk for device in devices], storage.current()
    period = Period(NOON, NOON + 10 * MINUTE)
    pooled, each = statistics.of_devices(devices, EVER, percentiles=["5", "99.9"])
    parts = statistics.of_periods(devices[0], [EVER, period, Period(NOON - MINUTE, NOON)])
    series = readings.series(ids[0], 3, period, 50)
    return [
        *(replace(found, snapshot="", segments_used=0) for found in (pooled, *each.values(), *parts)),
        [reading[:3] for reading in readings.page(ids, EVER, limit=50)],
        {pk: reading.time for pk, reading in readings.latest(ids).items()},
        {pk: [reading.time for reading in newest] for pk, newest in readings.newest(ids, 20).items()},
        (readings.sent_since(ids, NOON + MINUTE), readings.first_time(ids), readings.counts(ids, period)),
        readings.has(ids[0], NOON, [0.1, 0, 0]),
        [array.tolist() for array in (series.starts, series.ends, series.counts, series.lows, series.highs)],
        series.means.round(9).tolist(),
        [(hour, round(mean, 9)) for hour, mean in readings.hourly_means(ids[0], 2, period)],
        [readings.days(pk) for pk in ids],
        sorted(readings.rows_of(Span.of(ids[0], period)).times),
    ]
