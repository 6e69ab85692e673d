"""A ClickHouse server as a storage asks it; its faults in the words of every storage."""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

import clickhouse_connect
from clickhouse_connect.driver import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from devices.storage.interface import StorageUnavailable

# Of a server that answers, but not this, and not now: a replica without its keeper, a shard that is away.
PASSING = re.compile(
    r"\((?:ALL_CONNECTION_TRIES_FAILED|ALL_REPLICAS_LOST|KEEPER_EXCEPTION|MEMORY_LIMIT_EXCEEDED|NETWORK_ERROR"
    r"|SOCKET_TIMEOUT|TABLE_IS_READ_ONLY|TIMEOUT_EXCEEDED|TOO_MANY_PARTS|TOO_MANY_SIMULTANEOUS_QUERIES"
    r"|UNKNOWN_STATUS_OF_INSERT)\)"
)
CLUSTER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NO_SCHEMA = "ClickHouse has no schema yet: run manage.py clickhouse_schema."
OF_CLUSTERS = {
    # An answer means that the shards have it.
    "distributed_foreground_insert": 1,
    # All ask the same replica of a shard, while it lives: it has what was stored a moment ago.
    "load_balancing": "in_order",
    "prefer_localhost_replica": 0,
}


class Server:
    """By `clickhouse://user:password@host:8123/database`; `?secure=true` for TLS."""

    def __init__(self, url: str) -> None:
        """Raises ValueError for an address that lacks its host or database, or has no number for a port."""
        self.url = url
        self.parts = urlsplit(url)
        is_complete = self.parts.hostname and self.parts.path.strip("/") and self.parts.port != 0
        if self.parts.scheme == "clickhouse" and not is_complete:
            raise ValueError("The URL names no host or no database.")

    @property
    def database(self) -> str:
        return parse_qs(self.parts.query).get("database", [self.parts.path.strip("/")])[0]

    @property
    def address(self) -> str:
        """Without user and password."""
        return self.parts.netloc.rpartition("@")[2]

    @cached_property
    def client(self) -> Client:
        return self.connect(timeout_seconds=60)

    @cached_property
    def patient_client(self) -> Client:
        """For what may take as long as a task."""
        return self.connect(timeout_seconds=3600)

    def connect(self, *, timeout_seconds: int) -> Client:
        return clickhouse_connect.get_client(
            dsn=self.url,
            connect_timeout=5,
            send_receive_timeout=timeout_seconds,
            # Threads share the client, and a session takes one question at a time.
            autogenerate_session_id=False,
            # Thousands of ids don't fit into a URL.
            form_encode_query_params=True,
            settings=OF_CLUSTERS,
        )

    def run(self, statements: Iterable[str], **settings: Any) -> None:
        """Raises Unavailable."""
        for statement in statements:
            self.asked(lambda client, text=statement: client.command(text, settings=settings))

    def rows(self, statement: str, *, is_patient: bool = False, **parameters: Any) -> list[tuple]:
        """Raises Unavailable."""
        found = self.asked(
            lambda client: client.query(statement, parameters=parameters), is_patient=is_patient
        )
        return [tuple(row) for row in found.result_rows]

    def asked(self, ask: Callable[[Client], Any], *, is_patient: bool = False) -> Any:
        """Raises Unavailable."""
        try:
            return ask(self.patient_client if is_patient else self.client)
        except OperationalError as error:
            cause = first_cause(error)
            raise StorageUnavailable(f"ClickHouse does not answer at {self.address}: {cause}.") from error
        except DatabaseError as error:
            if "(UNKNOWN_DATABASE)" in str(error):
                raise StorageUnavailable(
                    f"There is no database {self.database} there: create it, and a user who may use it."
                ) from error
            if "(UNKNOWN_TABLE)" in str(error):
                raise StorageUnavailable(NO_SCHEMA) from error
            if PASSING.search(str(error)):
                raise StorageUnavailable(f"ClickHouse cannot do this now: {error}") from error
            raise


def first_cause(error: BaseException) -> str:
    """The system's own words: what is raised on top of them repeats the request."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error).rstrip(".")


def cluster_name(text: str) -> str:
    """Raises ValueError for a name that can be no cluster's."""
    if not CLUSTER.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a cluster: letters, digits and _ only.")
    return text
