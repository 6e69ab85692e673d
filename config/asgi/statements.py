"""Bounds of the statements of a web process: a page or an answer of the API does not wait for ever."""

from typing import Any

from django.conf import settings
from django.db.backends.signals import connection_created

from devices.storage.interface import QueryBound


def bound_statements() -> None:
    """Set the bounds on each connection to PostgreSQL or ClickHouse that this process opens from now on."""
    connection_created.connect(set_timeouts)
    QueryBound.seconds = settings.STATEMENT_SECONDS


def set_timeouts(connection: Any, **_: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)",
            [f"{settings.STATEMENT_SECONDS}s", f"{settings.LOCK_SECONDS}s"],
        )
