"""Connection to a ClickHouse server; its passing faults become StorageUnavailable."""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from operator import methodcaller
from typing import Any
from urllib.parse import parse_qs, urlsplit

import clickhouse_connect
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from devices.storage.interface import QueryBound, StorageUnavailable

# The server answers, but cannot serve at the moment: a replica without its keeper, a shard that is down.
PASSING_ERRORS = re.compile(
    r"\((?:ALL_CONNECTION_TRIES_FAILED|ALL_REPLICAS_LOST|KEEPER_EXCEPTION|MEMORY_LIMIT_EXCEEDED|NETWORK_ERROR"
    r"|SOCKET_TIMEOUT|TABLE_IS_READ_ONLY|TIMEOUT_EXCEEDED|TOO_MANY_PARTS|TOO_MANY_SIMULTANEOUS_QUERIES"
    r"|UNKNOWN_STATUS_OF_INSERT)\)"
)
CLUSTER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NO_SCHEMA = "ClickHouse has no schema yet: run manage.py clickhouse_schema."
CLUSTER_SETTINGS = {
    # An insert is answered only when the shards have stored it.
    "distributed_foreground_insert": 1,
    # All clients query the same replica of a shard while it lives: it has what was stored a moment ago.
    "load_balancing": "in_order",
    "prefer_localhost_replica": 0,
}


class Server:
    """A server at `clickhouse://user:password@host:8123/database`; `?secure=true` for TLS."""

    def __init__(self, url: str) -> None:
        """Raises ValueError for a URL without a host or database, or with an invalid port."""
        self.url = url
        self.split_url = urlsplit(url)
        is_complete = self.split_url.hostname and self.split_url.path.strip("/") and self.split_url.port != 0
        if self.split_url.scheme == "clickhouse" and not is_complete:
            raise ValueError("The URL names no host or no database.")

    @property
    def database(self) -> str:
        return parse_qs(self.split_url.query).get("database", [self.split_url.path.strip("/")])[0]

    @property
    def address(self) -> str:
        """Host and port, without user and password."""
        return self.split_url.netloc.rpartition("@")[2]

    @cached_property
    def client(self) -> Client:
        return self.connect(timeout_seconds=max(60, QueryBound.seconds + 5))

    @cached_property
    def patient_client(self) -> Client:
        """A client for queries that may take as long as a background task."""
        return self.connect(timeout_seconds=3600)

    def connect(self, *, timeout_seconds: int) -> Client:
        return clickhouse_connect.get_client(
            dsn=self.url,
            connect_timeout=5,
            send_receive_timeout=timeout_seconds,
            # Threads share the client, and a session runs one query at a time.
            autogenerate_session_id=False,
            # Thousands of ids don't fit into a URL.
            form_encode_query_params=True,
            settings=CLUSTER_SETTINGS,
        )

    def run(self, statements: Iterable[str], **settings: Any) -> None:
        """Execute statements that return nothing. Raises StorageUnavailable."""
        for statement in statements:
            self.call(methodcaller("command", statement, settings=settings))

    def query(self, statement: str, *, is_patient: bool = False, **parameters: Any) -> list[tuple]:
        """Return the rows of a query. Raises StorageUnavailable."""
        settings = {"max_execution_time": QueryBound.seconds} if QueryBound.seconds else {}
        found = self.call(
            lambda client: client.query(statement, parameters=parameters, settings=settings),
            is_patient=is_patient and not QueryBound.seconds,
        )
        return [tuple(row) for row in found.result_rows]

    def call(self, action: Callable[[Client], Any], *, is_patient: bool = False) -> Any:
        """Call `action` with a client and return its result. Raises StorageUnavailable."""
        try:
            return action(self.patient_client if is_patient else self.client)
        except OperationalError as error:
            cause = first_cause(error)
            raise StorageUnavailable(f"ClickHouse does not answer at {self.address}: {cause}.") from error
        except DatabaseError as error:
            if "(UNKNOWN_DATABASE)" in str(error):
                raise StorageUnavailable(
                    f"ClickHouse has no database {self.database}: create it, and a user with access to it."
                ) from error
            if "(UNKNOWN_TABLE)" in str(error):
                raise StorageUnavailable(NO_SCHEMA) from error
            if PASSING_ERRORS.search(str(error)):
                raise StorageUnavailable(f"ClickHouse cannot serve at the moment: {error}") from error
            raise


def first_cause(error: BaseException) -> str:
    """Return the operating system's message: the exceptions raised from it repeat the whole request."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error).rstrip(".")


def cluster_name(text: str) -> str:
    """Return the text if it is a valid cluster name. Raises ValueError otherwise."""
    if not CLUSTER_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a valid cluster name: use letters, digits and _ only.")
    return text
