"""How many requests a holder may post in a minute, counted in Redis for all processes together.

A process takes leave for many requests at once, a lease: Redis is asked once for a hundredth of the limit,
not for each request. What was leased and not used lapses with its minute, so that a holder may get a little
less than the limit, never more. While Redis is away everything passes, and is counted.
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
TIMEOUT_SECONDS = 0.25
# While Redis is away: how often it is tried, by nobody's request.
RETRY_SECONDS = 1.0
LOG_SECONDS = 60.0
# Of more holders than this the leases are not kept.
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


# RateLimit-*, for every answer to a request; none where nothing is limited.
Headers = list[tuple[bytes, bytes]]


class RateExceeded(Exception):
    """The request is one too many; the next minute begins in so many seconds."""

    def __init__(self, limit: int, seconds: int, headers: Headers) -> None:
        super().__init__(f"At most {limit} requests a minute are taken; wait as long as Retry-After says.")
        self.seconds = seconds
        self.headers = headers


@dataclass(slots=True)
class Lease:
    """Leave for `left` more requests until `until` (monotonic seconds)."""

    left: int
    until: float
    # What nobody had leased when this process last asked.
    beyond: int


class RateLimiter:
    """The limit of one server process. All but `take_from_thread` belongs to its event loop."""

    window_seconds = WINDOW_SECONDS

    def __init__(self, loop: asyncio.AbstractEventLoop, redis_url: str, per_minute: int) -> None:
        """`per_minute` requests of each holder; 0 is no limit."""
        self.loop = loop
        # A connection that broke while idle is replaced at once; a Redis that hangs is not asked twice.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        timeouts = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
        self.redis = Redis.from_url(redis_url, retry=retry, **timeouts)
        self.script = self.redis.register_script(LEASE)
        self.limit = per_minute
        self.chunk = max(1, per_minute // LEASES_PER_WINDOW)
        # With so many left the next lease is asked for ahead, so that nobody waits for it.
        self.low = self.chunk // 4
        self.limit_header = (b"ratelimit-limit", b"%d" % per_minute)
        self.leases: dict[str, Lease] = {}
        self.lock = threading.Lock()
        # Many holders cost one call.
        self.rounds = Coalescer(self.lease)
        self.is_away = False
        self.retry_at = 0.0
        self.log_at = 0.0
        self.unlimited = 0

    def spend(self, holder: str) -> Headers | None:
        """Count one request, without waiting. None: Redis must be asked first, by `take`. Raises TooFast."""
        now = time.monotonic()
        lease = self.leases.get(holder)
        if lease is not None and now < lease.until:
            if lease.left:
                with self.lock:
                    lease.left -= 1
                if lease.left == self.low and self.low and lease.beyond:
                    self.rounds.ask(holder)
                return self.headers(lease, now)
            if not lease.beyond:
                raise RateExceeded(self.limit, math.ceil(lease.until - now), self.headers(lease, now))
        if not self.limit:
            return []
        if not self.is_away:
            return None
        self.unlimited += 1
        if now >= self.retry_at:
            self.rounds.ask(holder)
        return []

    async def take(self, holder: str) -> Headers:
        """Count one request. Raises TooFast."""
        while (headers := self.spend(holder)) is None:
            await self.rounds.ask(holder).wait()
        return headers

    def take_from_thread(self, holder: str) -> Headers:
        """As `take`. Raises TooFast."""
        now = time.monotonic()
        with self.lock:
            lease = self.leases.get(holder)
            # Near its end the lease is renewed, which is the loop's.
            if lease is not None and now < lease.until and lease.left > self.low + 1:
                lease.left -= 1
                return self.headers(lease, now)
        return asyncio.run_coroutine_threadsafe(self.take(holder), self.loop).result()

    def headers(self, lease: Lease, now: float) -> Headers:
        return [
            self.limit_header,
            (b"ratelimit-remaining", b"%d" % (lease.left + lease.beyond)),
            (b"ratelimit-reset", b"%d" % math.ceil(lease.until - now)),
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
            # From before the question: a lease must not outlive its minute.
            self.keep(holder, taken, began + milliseconds / 1000)

    def keep(self, holder: str, taken: int, until: float) -> None:
        """Add a lease, `taken` being what all processes have leased with it."""
        beyond = self.limit - taken
        granted = min(self.chunk, max(0, beyond + self.chunk))
        old = self.leases.get(holder)
        if old is not None and time.monotonic() < old.until:
            # Its minute is not over, so this is of the same one.
            granted += old.left
        if len(self.leases) >= MAX_LEASES:
            self.leases.clear()
        self.leases[holder] = Lease(granted, until, max(0, beyond))

    def note_away(self, error: RedisError) -> None:
        now = time.monotonic()
        self.is_away = True
        self.retry_at = now + RETRY_SECONDS
        if now >= self.log_at:
            self.log_at = now + LOG_SECONDS
            logger.warning("Rates are not limited, %d requests until now: %s", self.unlimited, error)

    async def close(self) -> None:
        await self.rounds.close()
        await self.redis.aclose()


# The server process's limiter; none in commands, tasks and tests without a server.
current: RateLimiter | None = None


def take_now(holder: str) -> Headers:
    """Count one request from a thread of the server; elsewhere there is no limit. Raises TooFast."""
    return current.take_from_thread(holder) if current is not None else []


def unlimited_count() -> int:
    """Requests that this process let pass uncounted because Redis was away."""
    return current.unlimited if current is not None else 0
