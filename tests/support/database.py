"""SQL on a database given by its URL, outside Django."""

import threading
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
    with connected(url) as connection:
        return rows_of(connection, statement, *parameters)


class KeptConnections:
    """Connections to a database that stay open, one for each thread; each is opened anew once it is broken.

    For a new one the server starts a process that reads the catalogue of all partitions.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.of_thread = threading.local()

    def execute(self, statement: str, *parameters: object) -> list[tuple]:
        connection = getattr(self.of_thread, "connection", None)
        if connection is None or not answers(connection):
            connection = self.of_thread.connection = psycopg2.connect(self.url)
            connection.autocommit = True
        return rows_of(connection, statement, *parameters)


def answers(connection: Any) -> bool:
    try:
        rows_of(connection, "SELECT 1")
    except psycopg2.Error:
        return False
    return True


def rows_of(connection: Any, statement: str, *parameters: object) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []
