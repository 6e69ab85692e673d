"""SQL on a database given by its URL, outside Django."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A connection in autocommit mode."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def execute(url: str, statement: str, *parameters: object) -> list[tuple]:
    with connected(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []
