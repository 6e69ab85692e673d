"""Times of answers with their value cached in Redis, and with the cache flushed before each."""

import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from statistics import median

import redis

from config.processes import Command
from config.supervisor import Supervisor
from tests.bench import sides
from tests.bench.http_analysis import Client

DEVICES = 200_000
BUCKETS = 10_000
HOUR = timedelta(hours=1)
END = datetime(2026, 1, 1, tzinfo=UTC)


def table(supervisor: Supervisor, urls: Mapping[str, str], rounds: int) -> str:
    """Median milliseconds of `rounds` answers each, flushed and cached, and their ratio. Raises Failed."""
    portal = sides.start_portal("redis_cache", supervisor, urls, devices=1)
    argv = [sys.executable, sides.ROOT / "manage.py", "worker"]
    supervisor.add(Command("redis-cache-worker", argv, portal.env, sides.ROOT))
    client, token = Client(portal.port), f"Token {portal.token}"
    task_id = analysed(client, portal, token)
    portal.database.query(
        "INSERT INTO devices_device (uuid, name, time_zone, is_active, created_at, owner_id, profile_id)"
        " SELECT gen_random_uuid(), 'device ' || n, 'UTC', true, now(), d.owner_id, d.profile_id"
        " FROM (SELECT * FROM devices_device LIMIT 1) d, generate_series(1, %(count)s) n",
        {"count": DEVICES},
    )
    # The server has closed the idle connection.
    client = Client(portal.port)
    paths = {
        "the OpenAPI document": "/schema/",
        f"a page of {DEVICES:,} devices": "/devices/?limit=1",
        f"a result of {BUCKETS:,} buckets": f"/tasks/{task_id}/",
    }
    lines = ["| answer | flushed, ms | cached, ms | ratio |", "|---|---|---|---|"]
    with redis.Redis.from_url(urls["REDIS_URL"], db=1) as cache:
        for name, path in paths.items():
            flushed, cached = times(lambda path=path: client.get(path, token), cache.flushdb, rounds)
            lines.append(f"| {name} | {1000 * flushed:.1f} | {1000 * cached:.1f} | {flushed / cached:.1f} |")
    return "\n".join(lines)


def analysed(client: Client, portal: sides.Side, token: str) -> str:
    """The id of a finished analysis of BUCKETS buckets, each with a reading."""
    [(device, key)] = portal.devices.items()
    stamps = [END - HOUR * (number + 1) for number in range(BUCKETS)]
    readings = [
        {"timestamp": stamp.isoformat(), "x": n, "y": n / 3, "z": -n} for n, stamp in enumerate(stamps)
    ]
    client.answer("POST", f"/devices/{device}/stats/batch", key, readings, expected=201)
    question = {"start": stamps[-1].isoformat(), "end": END.isoformat(), "bucket": "hour"}
    return client.result(f"/devices/{device}/analytics/", token, question)["task_id"]


def times(ask: Callable[[], object], flush: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of an answer with nothing cached, and of one just after it; they take turns."""
    flushed, cached = [], []
    ask()
    for _ in range(rounds):
        flush()
        for found in (flushed, cached):
            began = time.perf_counter()
            ask()
            found.append(time.perf_counter() - began)
    return median(flushed), median(cached)
