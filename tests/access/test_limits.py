"""A holder never exceeds the limit, at the gate or the view, in any process, with any state of Redis."""

import asyncio
import json
import logging
import multiprocessing
import socket
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from django.conf import settings

from devices.access.rate_limit import RateExceeded, RateLimiter
from tests.support.portal import Portal, Sender, eventually, free_port

GOOD = {"x": 1.0, "y": 2.0, "z": 3.0}
NAMES = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


class Patient(RateLimiter):
    """One that counts on a busy machine, too: a Redis that does not answer in time would stop no request."""

    timeout_seconds = 30


class Hasty(Patient):
    window_seconds = 1


def with_limiter(
    scenario: Callable[[RateLimiter], Coroutine],
    *,
    per_minute: int,
    kind: type[RateLimiter] = Patient,
    url: str = "",
) -> Any:
    """Run the scenario on a limiter of its own."""

    async def run() -> Any:
        limiter = kind(asyncio.get_running_loop(), url or settings.CACHE_URL, per_minute)
        try:
            return await scenario(limiter)
        finally:
            await limiter.close()

    return asyncio.run(run())


def somebody() -> str:
    return f"test:{uuid4()}"


async def passed(limiter: RateLimiter, holder: str, requests: int) -> int:
    """Send requests at once and count those that were accepted."""
    answers = await asyncio.gather(*(limiter.take(holder) for _ in range(requests)), return_exceptions=True)
    assert all(isinstance(answer, list | RateExceeded) for answer in answers), answers
    return sum(isinstance(answer, list) for answer in answers)


def passed_in_process(url: str, holder: str) -> int:
    async def in_turns(limiter: RateLimiter) -> int:
        return sum([await passed(limiter, holder, 20) for _ in range(50)])

    return with_limiter(in_turns, per_minute=1000, url=url)


def scripts_run() -> int:
    with redis.Redis.from_url(settings.CACHE_URL) as client:
        return client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)


# --- The limiter


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
def test_exactly_the_limit_passes(limit: int) -> None:
    holder = somebody()
    assert with_limiter(lambda limiter: passed(limiter, holder, limit + 50), per_minute=limit) == limit


def test_processes_together_never_pass_more() -> None:
    holder = somebody()
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as processes:
        each = list(processes.map(passed_in_process, [settings.CACHE_URL] * 3, [holder] * 3))
    # All but what the first to end had leased and could not spend.
    assert 950 <= sum(each) <= 1000, each


def test_a_full_redis_lets_requests_pass() -> None:
    """Readings come in whatever state Redis is in."""
    with redis.Redis.from_url(settings.CACHE_URL) as server:
        server.config_set("maxmemory", 1)
        try:
            assert with_limiter(lambda limiter: passed(limiter, somebody(), 20), per_minute=10) == 20
        finally:
            server.config_set("maxmemory", 0)


def test_a_new_window_begins_when_the_old_one_is_over() -> None:
    holder = somebody()

    async def scenario(limiter: RateLimiter) -> None:
        assert await passed(limiter, holder, 20) == 10
        with pytest.raises(RateExceeded) as refused:
            await limiter.take(holder)
        assert refused.value.seconds == 1
        deadline = time.monotonic() + 5
        while not await passed(limiter, holder, 1):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert await passed(limiter, holder, 20) == 9

    with_limiter(scenario, per_minute=10, kind=Hasty)


def test_holders_do_not_share() -> None:
    async def scenario(limiter: RateLimiter) -> None:
        assert await passed(limiter, somebody(), 10) == 5
        assert await passed(limiter, somebody(), 10) == 5

    with_limiter(scenario, per_minute=5)


def test_headers_count_down() -> None:
    holder = somebody()

    async def scenario(limiter: RateLimiter) -> list[dict[bytes, bytes]]:
        answers = [await limiter.take(holder) for _ in range(3)]
        with pytest.raises(RateExceeded) as refused:
            await limiter.take(holder)
        return [dict(answer) for answer in [*answers, refused.value.headers]]

    headers = with_limiter(scenario, per_minute=3)
    assert [answer[b"ratelimit-remaining"] for answer in headers] == [b"2", b"1", b"0", b"0"]
    assert {answer[b"ratelimit-limit"] for answer in headers} == {b"3"}
    assert {answer[b"ratelimit-reset"] for answer in headers} <= {b"60", b"59"}


def test_zero_is_no_limit() -> None:
    before = scripts_run()
    assert with_limiter(lambda limiter: passed(limiter, somebody(), 500), per_minute=0) == 500
    assert scripts_run() == before


def test_redis_is_asked_once_for_a_hundredth_of_the_limit() -> None:
    holder, before = somebody(), scripts_run()

    async def scenario(limiter: RateLimiter) -> int:
        """Count how many of 6,000 requests, one after another, had to wait."""
        waits = 0
        for _ in range(6000):
            if limiter.spend(holder) is None:
                waits += 1
                await limiter.take(holder)
            await asyncio.sleep(0)
        return waits

    waits = with_limiter(scenario, per_minute=60_000)
    assert scripts_run() - before <= 12
    assert waits <= 6000 // 600


def test_many_holders_at_once_cost_few_calls() -> None:
    before = scripts_run()

    async def scenario(limiter: RateLimiter) -> int:
        return sum(await asyncio.gather(*(passed(limiter, somebody(), 2) for _ in range(300))))

    assert with_limiter(scenario, per_minute=60_000) == 600
    assert scripts_run() - before <= 5


@pytest.fixture
def hanging_redis() -> Iterator[str]:
    """A server that takes connections and bytes and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/1"


def test_without_redis_everything_passes_at_once_and_is_counted(
    hanging_redis: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(limiter: RateLimiter) -> None:
        began = time.monotonic()
        assert await passed(limiter, somebody(), 200) == 200
        # Those that came first wait for one timeout together.
        assert time.monotonic() - began < 10
        for _ in range(3):
            limiter.retry_at = 0.0
            began = time.monotonic()
            assert await passed(limiter, somebody(), 200) == 200
            assert time.monotonic() - began < 10
            await limiter.pending.close()
        assert limiter.unlimited == 800

    with caplog.at_level(logging.WARNING, "devices.access.rate_limit"):
        with_limiter(scenario, per_minute=10, kind=RateLimiter, url=hanging_redis)
        assert len(caplog.records) == 1
        with_limiter(
            lambda limiter: passed(limiter, somebody(), 50),
            per_minute=10,
            kind=RateLimiter,
            url=f"redis://127.0.0.1:{free_port()}/1",
        )
    assert len(caplog.records) == 2


# --- Both doors, over HTTP


def post(
    portal: Portal, device: Sender, body: Any = GOOD, *, path: str = "stats/", url: str = "", **headers: str
) -> Any:
    return portal.request(
        "POST",
        f"{url or portal.url}/devices/{device.id}/{path}",
        data=json.dumps(body),
        headers={
            "Authorization": f"Device {device.key}",
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )


def has_rate(answer: Any) -> bool:
    return all(name in answer.headers for name in NAMES)


# The gate leaves these to the REST view.
DOORS = pytest.mark.parametrize("unusual", [{}, {"Content_Encoding": "identity"}], ids=["gate", "view"])


@pytest.fixture(scope="module")
def device(portal: Portal) -> Sender:
    return portal.new_device(portal.new_user())


@pytest.fixture(scope="module")
def strict(portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a second web server, of two processes, that allows 30 requests a minute."""
    port = free_port()
    env = portal.env | {"INGEST_RATE_PER_MINUTE": "30", "PORT": str(port), "WEB_PROCESSES": "2"}
    log = Path(tmp_path_factory.mktemp("strict"), "web.log")
    process = replace(portal.command("web"), env=env).start(log)
    url = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        try:
            return portal.request("GET", f"{url}/healthz").status_code == 204
        except OSError:
            return False

    try:
        eventually(is_ready)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@DOORS
def test_every_answer_to_a_known_holder_says_what_is_left(
    portal: Portal, device: Sender, unusual: dict[str, str]
) -> None:
    key = uuid4().hex
    post(portal, device, Idempotency_Key=key, **unusual)
    answers = {
        201: post(portal, device, **unusual),
        400: post(portal, device, {"x": "1"}, **unusual),
        409: post(portal, device, GOOD | {"x": 5}, Idempotency_Key=key, **unusual),
        413: post(portal, device, [GOOD] * 10_001, path="stats/batch", **unusual),
    }
    assert {expected: answer.status_code for expected, answer in answers.items()} == {
        status: status for status in answers
    }
    for answer in answers.values():
        assert has_rate(answer)
        assert answer.headers["RateLimit-Limit"] == "1200000"
        assert 0 < int(answer.headers["RateLimit-Remaining"]) < 1_200_000
        assert 0 < int(answer.headers["RateLimit-Reset"]) <= 60


def test_a_request_counts_once_whichever_doors_it_passes(portal: Portal, strict: str) -> None:
    """A bad body goes through the gate to the view and counts once: the 31st request is refused."""
    device = portal.new_device(portal.new_user())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(portal, device, {"x": "1"}, url=strict), range(60)))
    assert Counter(answer.status_code for answer in answers) == {400: 30, 429: 30}


def test_both_doors_and_all_processes_have_one_limit(portal: Portal, strict: str) -> None:
    device = portal.new_device(portal.new_user())
    kinds = ({}, {"Content_Encoding": "identity"}) * 40
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda kind: post(portal, device, url=strict, **kind), kinds))
    assert Counter(answer.status_code for answer in answers) == {201: 30, 429: 50}
    [(stored,)] = portal.query(
        "SELECT count(*) FROM devices_reading JOIN devices_device d ON d.id = device_id WHERE d.uuid = %s",
        device.id,
    )
    assert stored == 30


@DOORS
def test_one_too_many_is_429(portal: Portal, strict: str, unusual: dict[str, str]) -> None:
    device = portal.new_device(portal.new_user())
    for _ in range(30):
        assert post(portal, device, url=strict, **unusual).status_code == 201
    refused = post(portal, device, url=strict, **unusual)
    assert refused.status_code == 429
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["title"] == "Too Many Requests"
    assert refused.json()["detail"].startswith("At most 30 requests a minute")
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]


def test_tokens_of_a_user_share_one_rate_apart_from_the_devices(portal: Portal, strict: str) -> None:
    owner = portal.new_user()
    device = portal.new_device(owner)
    tokens = [owner.token, portal.new_token(owner.id)] * 20
    statuses = Counter(
        portal.request("POST", f"{strict}/data", token=token, json=[]).status_code for token in tokens
    )
    assert statuses == {201: 30, 429: 10}
    assert post(portal, device, url=strict).status_code == 201


def test_ingestion_goes_on_while_redis_is_away(portal: Portal, device: Sender) -> None:
    """Old devices may have a lease; a new one has none."""

    def answer() -> Any:
        return post(portal, portal.new_device(owner))

    owner = portal.new_user()
    portal.kill("redis")
    try:
        unlimited = [answer() for _ in range(10)]
        portal.start("redis")
        with portal.frozen("redis"):
            unlimited += [answer() for _ in range(10)]
    finally:
        portal.start("redis")
    assert {each.status_code for each in unlimited} == {201}
    assert not has_rate(unlimited[0])
    eventually(lambda: has_rate(answer()))


def test_a_bad_credential_is_slowed_down_and_no_other(portal: Portal, device: Sender) -> None:
    bad = replace(device, key=f"pld_00000000.{uuid4().hex}")
    # Each of two processes counts to 20.
    answers = [post(portal, bad) for _ in range(41)]
    assert answers[0].status_code == 401
    assert {answer.status_code for answer in answers} == {401, 429}
    answer = next(answer for answer in answers if answer.status_code == 429)
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "refused too often" in answer.json()["detail"]
    assert post(portal, device).status_code == 201
    other = replace(device, key=f"pld_00000001.{uuid4().hex}")
    assert post(portal, other).status_code == 401
