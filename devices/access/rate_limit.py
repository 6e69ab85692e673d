"""Limit of a holder's requests in a minute, counted in Redis for all processes together.

A process takes many requests at once, a lease: Redis is called once for a hundredth of the limit, not for
each request. The unused rest of a lease lapses with its minute, so a holder may get a little less than the
limit, never more. While Redis is away all requests pass, and their number is logged.
"""

import asyncio
import logging
import math
import threading
import time
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from devices.access.coalescing import Coalescer

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 60
LEASES_PER_WINDOW = 100
# Longer, and a request passes as if Redis were away.
TIMEOUT_SECONDS = 0.25
# While Redis is away it is tried again after RETRY_SECONDS; no request waits for that.
RETRY_SECONDS = 1.0
LOG_SECONDS = 60.0
MAX_LEASES = 100_000

# A holder's minute begins with its first request and ends by Redis' clock, the same for all processes.
LEASE = """
local answer = {}
for number, key in ipairs(KEYS) do
    local taken = redis.call('INCRBY', key, ARGV[1])
    local milliseconds = redis.call('PTTL', key)
    if milliseconds < 0 then
        milliseconds = tonumber(ARGV[2])
        redis.call('PEXPIRE', key, milliseconds)
    end
    answer[2 * number - 1] = taken
    answer[2 * number] = milliseconds
end
return answer
"""


# RateLimit-* of an answer; empty without a limit.
Headers = list[tuple[bytes, bytes]]


class RateExceeded(Exception):
    """The request exceeds the limit; the next minute begins in `seconds`."""

    def __init__(self, limit: int, seconds: int, headers: Headers) -> None:
        super().__init__(f"At most {limit} requests a minute are taken; wait as long as Retry-After says.")
        self.seconds = seconds
        self.headers = headers


@dataclass(slots=True)
class Lease:
    """Requests that this process may still accept, `left`, until `ends_at` (monotonic seconds)."""

    left: int
    ends_at: float
    # Requests that no process had leased when this lease was taken.
    unleased: int


class RateLimiter:
    """The limit in one server process. Only `take_from_thread` may be called off its event loop."""

    window_seconds = WINDOW_SECONDS
    timeout_seconds = TIMEOUT_SECONDS

    def __init__(self, loop: asyncio.AbstractEventLoop, redis_url: str, per_minute: int) -> None:
        """`per_minute` counts the requests of one holder; 0 is no limit."""
        self.loop = loop
        # A connection that broke while idle is replaced at once; a Redis that hangs is not called twice.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        seconds = self.timeout_seconds
        self.redis = Redis.from_url(
            redis_url, retry=retry, socket_timeout=seconds, socket_connect_timeout=seconds
        )
        self.script = self.redis.register_script(LEASE)
        self.limit = per_minute
        self.chunk = max(1, per_minute // LEASES_PER_WINDOW)
        # With `low` requests left the next lease is taken ahead, so that no request waits for it.
        self.low = self.chunk // 4
        self.limit_header = (b"ratelimit-limit", b"%d" % per_minute)
        self.leases: dict[str, Lease] = {}
        self.lock = threading.Lock()
        self.pending = Coalescer(self.lease)
        self.is_away = False
        self.retry_at = 0.0
        self.log_at = 0.0
        self.unlimited = 0

    def spend(self, holder: str) -> Headers | None:
        """Count one request without waiting. None: `take` must call Redis first. Raises RateExceeded."""
        now = time.monotonic()
        lease = self.leases.get(holder)
        if lease is not None and now < lease.ends_at:
            if lease.left:
                with self.lock:
                    lease.left -= 1
                if lease.left == self.low and self.low and lease.unleased:
                    self.pending.ask(holder)
                return self.headers(lease, now)
            if not lease.unleased:
                raise RateExceeded(self.limit, math.ceil(lease.ends_at - now), self.headers(lease, now))
        if not self.limit:
            return []
        if not self.is_away:
            return None
        self.unlimited += 1
        if now >= self.retry_at:
            self.pending.ask(holder)
        return []

    async def take(self, holder: str) -> Headers:
        """Count one request. Raises RateExceeded."""
        while (headers := self.spend(holder)) is None:
            await self.pending.ask(holder).wait()
        return headers

    def take_from_thread(self, holder: str) -> Headers:
        now = time.monotonic()
        with self.lock:
            lease = self.leases.get(holder)
            # A lease near its end is renewed, which only the event loop may do.
            if lease is not None and now < lease.ends_at and lease.left > self.low + 1:
                lease.left -= 1
                return self.headers(lease, now)
        return asyncio.run_coroutine_threadsafe(self.take(holder), self.loop).result()

    def headers(self, lease: Lease, now: float) -> Headers:
        return [
            self.limit_header,
            (b"ratelimit-remaining", b"%d" % (lease.left + lease.unleased)),
            (b"ratelimit-reset", b"%d" % math.ceil(lease.ends_at - now)),
        ]

    async def lease(self, holders: list[str]) -> None:
        began = time.monotonic()
        keys = [f"ingest-rate:{holder}" for holder in holders]
        try:
            answer = await self.script(keys=keys, args=[self.chunk, self.window_seconds * 1000])
        except RedisError as error:
            self.note_away(error)
            return
        self.is_away = False
        for holder, taken, milliseconds in zip(holders, answer[::2], answer[1::2], strict=True):
            # Counted from before the call: a lease must not outlive its minute.
            self.add_lease(holder, taken, began + milliseconds / 1000)

    def add_lease(self, holder: str, taken: int, ends_at: float) -> None:
        """Add a lease; `taken` counts what all processes have leased in this minute, with this lease."""
        unleased = self.limit - taken
        granted = min(self.chunk, max(0, unleased + self.chunk))
        old = self.leases.get(holder)
        if old is not None and time.monotonic() < old.ends_at:
            # Its minute is not over, so both leases belong to the same minute.
            granted += old.left
        if len(self.leases) >= MAX_LEASES:
            self.leases.clear()
        self.leases[holder] = Lease(granted, ends_at, max(0, unleased))

    def note_away(self, error: RedisError) -> None:
        now = time.monotonic()
        self.is_away = True
        self.retry_at = now + RETRY_SECONDS
        if now >= self.log_at:
            self.log_at = now + LOG_SECONDS
            logger.warning("Rates are not limited, %d requests until now: %s", self.unlimited, error)

    async def close(self) -> None:
        await self.pending.close()
        await self.redis.aclose()


# The limiter of this server process; None in commands, tasks and tests without a server.
current: RateLimiter | None = None


def take_now(holder: str) -> Headers:
    """Count one request from a thread of a server; elsewhere there is no limit. Raises RateExceeded."""
    return current.take_from_thread(holder) if current is not None else []


def unlimited_count() -> int:
    """Return how many requests of this process passed without a limit because Redis was away."""
    return current.unlimited if current is not None else 0
