"""Logs in ClickHouse, for what outgrows one machine. The same answers as PostgreSQL, to the last event.

Once only: an append looks first which of its events are there, alone of all appends. Should a replica not
know of them yet, the engine still keeps one row for each event of a user, and questions read with FINAL.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from analytics.activity.events.event import BLOG_ACTIONS, COMMENT, EARLIEST, LATEST, LOGIN, LOGOUT, Event
from analytics.activity.storage.interface import ActiveDay
from devices.locks import AdvisoryLock
from devices.storage.clickhouse.client import Server, cluster_name
from devices.timeline.periods import Period

MICROSECOND = timedelta(microseconds=1)
COLUMNS = ("event_id", "user_id", "event", "at", "object_id")
# Ids in one question: they travel as its text.
LOOK_UP = 5000

TABLE = """
    CREATE TABLE IF NOT EXISTS {name} (
        event_id UUID,
        user_id Int64,
        event LowCardinality(String),
        at DateTime64(6, 'UTC'),
        object_id Nullable(Int64),
        INDEX by_event event_id TYPE bloom_filter GRANULARITY 1
    )
    ENGINE = {engine} ORDER BY (user_id, event_id)
"""
REPLICATED = "ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/{database}/activity_log', '{replica}')"
DISTRIBUTED = """
    CREATE TABLE IF NOT EXISTS activity_log ON CLUSTER {cluster} AS activity_log_local
    ENGINE = Distributed({cluster}, currentDatabase(), activity_log_local, cityHash64(user_id))
"""

KNOWN = "SELECT event_id FROM activity_log WHERE event_id IN {ids:Array(UUID)}"
OF_USER = """
    activity_log FINAL WHERE user_id = {user:Int64}
    AND at >= fromUnixTimestamp64Micro({start:Int64}) AND at < fromUnixTimestamp64Micro({end:Int64})
"""
COMMENTS = f"""
    SELECT object_id, count() AS total FROM {OF_USER} AND event = '{COMMENT}'
    GROUP BY object_id ORDER BY total DESC, object_id
"""
GENERAL = f"""
    SELECT
        toDate32(toTimeZone(at, {{zone:String}})) AS day,
        countIf(event = '{LOGIN}'), countIf(event = '{LOGOUT}'), countIf(event IN {BLOG_ACTIONS})
    FROM {OF_USER} GROUP BY day ORDER BY day
"""
COUNTS = f"SELECT event, count() FROM {OF_USER} GROUP BY event"


class ClickHouseActivity(Server):
    def create_schema(self, cluster: str = "") -> None:
        """One table; of a cluster a replicated one on each shard, and one over all. Raises Unavailable."""
        self.run(schema(cluster))

    def append(self, events: Sequence[Event]) -> int:
        first: dict[Any, Event] = {}
        for event in events:
            first.setdefault(event.id, event)
        with alone():
            known = self.known(list(first))
            rows = [[e.id, e.user_id, e.name, e.at, e.object_id] for e in first.values() if e.id not in known]
            if rows:
                self.call(lambda client: client.insert("activity_log", rows, column_names=COLUMNS))
        return len(rows)

    def known(self, ids: list[Any]) -> set[Any]:
        parts = (ids[start : start + LOOK_UP] for start in range(0, len(ids), LOOK_UP))
        return {
            row[0] for part in parts for row in self.query(KNOWN, ids=[str(event_id) for event_id in part])
        }

    def comments(self, user_id: int, period: Period) -> list[tuple[int, int]]:
        return self.query(COMMENTS, **of_user(user_id, period))

    def general(self, user_id: int, period: Period, zone: str) -> list[ActiveDay]:
        return [ActiveDay(*row) for row in self.query(GENERAL, **of_user(user_id, period), zone=zone)]

    def counts(self, user_id: int, period: Period) -> dict[str, int]:
        return dict(self.query(COUNTS, **of_user(user_id, period)))


def schema(cluster: str) -> list[str]:
    """The statements that make it. Raises ValueError for a name that can be no cluster's."""
    if not cluster:
        return [TABLE.format(name="activity_log", engine="ReplacingMergeTree")]
    local = TABLE.format(name=f"activity_log_local ON CLUSTER {cluster_name(cluster)}", engine=REPLICATED)
    return [local, DISTRIBUTED.format(cluster=cluster)]


def of_user(user_id: int, period: Period) -> dict[str, int]:
    """Parameters; bounds in microseconds since 1970, no further than any stamp is."""
    start = max(period.start or EARLIEST, EARLIEST)
    end = min(period.end or LATEST, LATEST)
    return {"user": user_id, "start": microseconds(start), "end": microseconds(end)}


def microseconds(time: datetime) -> int:
    return (time - EARLIEST) // MICROSECOND


@contextmanager
def alone() -> Iterator[None]:
    """No other append of any process meanwhile: ClickHouse itself has no unique keys."""
    with connection.cursor() as portal:
        portal.execute("SELECT pg_advisory_lock(%s)", [AdvisoryLock.APPEND_EVENTS])
        try:
            yield
        finally:
            portal.execute("SELECT pg_advisory_unlock(%s)", [AdvisoryLock.APPEND_EVENTS])
