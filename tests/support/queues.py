from collections.abc import Iterator
from contextlib import contextmanager

import redis
from django.conf import settings


@contextmanager
def emptied_queue(name: str) -> Iterator[redis.Redis]:
    """The broker, with no message in the queue before and after."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(name)
        yield client
        client.delete(name)
