"""Times of answers with their value cached in Redis, and with the cache flushed before each."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import redis

from config.supervisor import Supervisor
from tests.bench import sides
from tests.bench.http_analysis import Client

DEVICES = 200_000


def table(supervisor: Supervisor, urls: Mapping[str, str], rounds: int) -> str:
    """Median milliseconds of `rounds` answers each, flushed and cached, and their ratio. Raises Failed."""
    portal = sides.start_portal("redis_cache", supervisor, urls, devices=1)
    portal.database.query(
        "INSERT INTO devices_device (uuid, name, time_zone, is_active, created_at, owner_id, profile_id)"
        " SELECT gen_random_uuid(), 'device ' || n, 'UTC', true, now(), d.owner_id, d.profile_id"
        " FROM (SELECT * FROM devices_device LIMIT 1) d, generate_series(1, %(count)s) n",
        {"count": DEVICES},
    )
    client, token = Client(portal.port), f"Token {portal.token}"
    paths = {
        "the OpenAPI document": "/schema/",
        f"a page of {DEVICES:,} devices": "/devices/?limit=1",
    }
    lines = ["| answer | flushed, ms | cached, ms | ratio |", "|---|---|---|---|"]
    with redis.Redis.from_url(urls["REDIS_URL"], db=1) as cache:
        for name, path in paths.items():
            flushed, cached = times(lambda path=path: client.get(path, token), cache.flushdb, rounds)
            lines.append(f"| {name} | {1000 * flushed:.1f} | {1000 * cached:.1f} | {flushed / cached:.1f} |")
    return "\n".join(lines)


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
