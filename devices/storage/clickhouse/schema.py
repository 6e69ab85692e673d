"""Schema of the readings table in ClickHouse: a plain table, or a sharded and replicated one on a cluster."""

import re

from devices.storage.clickhouse.client import cluster_name

# Partitions as PostgreSQL has them: months for the years in which the product runs, years before, and one
# partition at either end of time. The bounds are 2000, 2026 and 2100.
TABLE = """
    CREATE TABLE IF NOT EXISTS {name} (
        device_id Int32,
        time Int64 COMMENT 'microseconds since 1970' CODEC(Delta, ZSTD),
        values Array(Float64) CODEC(ZSTD),
        at DateTime64(6, 'UTC') ALIAS fromUnixTimestamp64Micro(time, 'UTC'),
        CONSTRAINT values_finite CHECK notEmpty(values) AND arrayAll(v -> isFinite(v), values)
    )
    ENGINE = {engine} ORDER BY (device_id, time)
    PARTITION BY multiIf(
        time < 946684800000000, 0,
        time < 1767225600000000, toYear(fromUnixTimestamp64Micro(time, 'UTC')) * 100,
        time < 4102444800000000, toYYYYMM(fromUnixTimestamp64Micro(time, 'UTC')),
        210000
    )
    SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, {deduplication}
"""
# How many insert tokens ClickHouse remembers.
DEDUPLICATION = "non_replicated_deduplication_window = 100000"
REPLICATED_DEDUPLICATION = (
    "replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800"
)
REPLICATED = "ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/readings', '{replica}')"
DISTRIBUTED = """
    CREATE TABLE IF NOT EXISTS readings ON CLUSTER {cluster} AS readings_local
    ENGINE = Distributed({cluster}, currentDatabase(), readings_local, cityHash64(device_id))
"""
# Finds the cluster's name in the engine of a distributed table.
DISTRIBUTED_ENGINE = re.compile(r"Distributed\('?([A-Za-z_][A-Za-z0-9_]*)")


def schema(cluster: str) -> list[str]:
    """Return the statements that create the schema; `cluster` is empty for a plain table.

    Raises ValueError for an invalid cluster name.
    """
    if not cluster:
        return [TABLE.format(name="readings", engine="MergeTree", deduplication=DEDUPLICATION)]
    name = f"readings_local ON CLUSTER {cluster_name(cluster)}"
    local = TABLE.format(name=name, engine=REPLICATED, deduplication=REPLICATED_DEDUPLICATION)
    return [local, DISTRIBUTED.format(cluster=cluster)]
