"""Readiness: the database and the broker answer, and all migrations are applied."""

import logging

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.problems import problem

logger = logging.getLogger(__name__)
broker = redis.Redis.from_url(
    settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0)
)


class Migrations:
    """Remembers that all migrations are applied: reading the migration graph takes some 50 ms."""

    are_applied = False

    @classmethod
    def check(cls) -> bool:
        if not cls.are_applied:
            executor = MigrationExecutor(connection)
            cls.are_applied = not executor.migration_plan(executor.loader.graph.leaf_nodes())
        return cls.are_applied


def healthz(_: HttpRequest) -> HttpResponse:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        migrated = Migrations.check()
        broker.ping()
    except (DatabaseError, redis.RedisError) as error:
        logger.warning("Not ready: %s", error)
        return not_ready("The database or the broker does not answer.")
    return HttpResponse(status=204) if migrated else not_ready("Migrations are not applied.")


def not_ready(detail: str) -> HttpResponse:
    response = problem(503, detail)
    response["Retry-After"] = "1"
    return response
