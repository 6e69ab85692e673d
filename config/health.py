"""Readiness and liveness, for an orchestrator's probes; neither needs credentials."""

import logging
from collections.abc import Callable

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from redis.backoff import NoBackoff
from redis.retry import Retry

from config.problems import problem

logger = logging.getLogger(__name__)
broker, cache = (
    redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1, retry=Retry(NoBackoff(), 0))
    for url in (settings.REDIS_URL, settings.CACHE_URL)
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
    """204 if readings can be stored. Redis is not asked: without it readings are stored all the same."""
    try:
        fault = database_fault()
    except DatabaseError as error:
        logger.warning("Not ready: %s", error)
        fault = "The database does not answer."
    return not_ready(fault) if fault else no_content()


def livez(request: HttpRequest) -> HttpResponse:
    """204 while the process works. With `?details` the state of what it depends on, in words."""
    unknown = sorted(set(request.GET) - {"details"})
    if unknown:
        return problem(
            400, errors=[{"field": name, "message": "Unknown query parameter."} for name in unknown]
        )
    if "details" not in request.GET:
        return no_content()
    checks = {"database": database_is_ready, "broker": broker.ping, "cache": cache.ping}
    return JsonResponse({name: state(check) for name, check in checks.items()})


def state(check: Callable[[], object]) -> str:
    try:
        return "ok" if check() else "not ready"
    except (DatabaseError, redis.RedisError):
        return "away"


def database_is_ready() -> bool:
    return not database_fault()


def database_fault() -> str:
    """Why the database takes no readings although it answers; empty if it does. Raises DatabaseError."""
    with connection.cursor() as cursor:
        # On in a standby, too, and where the provider forbids writing because the disk is full.
        cursor.execute("SHOW transaction_read_only")
        [is_read_only] = cursor.fetchone()
    if is_read_only == "on":
        return "The database cannot be written to."
    return "" if Migrations.check() else "Migrations are not applied."


def no_content() -> HttpResponse:
    response = HttpResponse(status=204)
    del response["Content-Type"]
    return response


def not_ready(detail: str) -> HttpResponse:
    response = problem(503, detail)
    response["Retry-After"] = "1"
    return response
