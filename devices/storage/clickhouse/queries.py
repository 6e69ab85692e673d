"""The table of readings in ClickHouse, and the questions to it. What is in braces is filled in when asked."""

import re
from datetime import UTC, datetime, timedelta

from devices.storage.clickhouse.client import cluster_name
from devices.storage.interface import GAP_FACTOR, MICROSECONDS_PER_SECOND
from devices.timeline.instants import PG_EPOCH

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# The table counts microseconds from 1970 on, spans from 2000.
SHIFT = (PG_EPOCH - EPOCH) // MICROSECOND
HOUR = 3600 * MICROSECONDS_PER_SECOND
DAY = 24 * HOUR

# Partitions as PostgreSQL has them: months only since the product is there, and one at either end of time.
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
# Of inserts: the tokens that are remembered.
WINDOW = "non_replicated_deduplication_window = 100000"
WINDOW_REPLICATED = (
    "replicated_deduplication_window = 100000, replicated_deduplication_window_seconds = 604800"
)
REPLICATED = "ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/readings', '{replica}')"
DISTRIBUTED = """
    CREATE TABLE IF NOT EXISTS readings ON CLUSTER {cluster} AS readings_local
    ENGINE = Distributed({cluster}, currentDatabase(), readings_local, cityHash64(device_id))
"""
OF_CLUSTER = re.compile(r"Distributed\('?([A-Za-z_][A-Za-z0-9_]*)")
INSERT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    # A batch may hold stamps of any age.
    "max_partitions_per_insert_block": 0,
}
DELETE_SETTINGS = {"lightweight_deletes_sync": 2, "mutations_sync": 2}

WITHIN = "device_id IN {devices:Array(Int32)} AND time >= {start:Int64} AND time < {end:Int64}"
NEWEST = "ORDER BY time DESC, device_id DESC, values DESC"
PAGE = f"""
    SELECT device_id, time, values FROM readings
    WHERE {WITHIN} AND (time < {{time:Int64}} OR (time = {{time:Int64}} AND device_id < {{device:Int64}}))
    {NEWEST} LIMIT {{limit:UInt32}}
"""
REST_OF_STAMP = f"""
    SELECT device_id, time, values FROM readings WHERE device_id = {{device:Int64}} AND time = {{time:Int64}}
    {NEWEST} LIMIT {{limit:UInt32}} OFFSET {{seen:UInt32}}
"""
LATEST = f"SELECT device_id, time, values FROM readings WHERE {WITHIN} {NEWEST} LIMIT 1 BY device_id"
SENDERS = f"SELECT DISTINCT device_id FROM readings WHERE {WITHIN}"
FIRST = f"SELECT min(time) FROM readings WHERE {WITHIN} HAVING count() > 0"
COUNTS = f"SELECT device_id, count() FROM readings WHERE {WITHIN} GROUP BY device_id"
FROM_BITS = "arrayMap(bits -> reinterpretAsFloat64(bits), {bits})"
HAS = f"""
    SELECT 1 FROM readings WHERE {WITHIN} AND values = {FROM_BITS.format(bits="{bits:Array(UInt64)}")}
    LIMIT 1
"""

# Readings by cell, the last of some boundaries that is not behind them, and whether they count.
SOURCE = f"""
    SELECT device_id, time, values, roundDown(time, {{cells:Array(Int64)}}) AS cell,
        NOT (
            arrayExists(
                (d, s, e) -> device_id = d AND time >= s AND time < e,
                {{rule_devices:Array(Int32)}}, {{rule_starts:Array(Int64)}}, {{rule_ends:Array(Int64)}}
            )
            OR arrayExists(
                (d, s, e, only) -> device_id = d AND time >= s AND time < e
                    AND values = {FROM_BITS.format(bits="only")},
                {{single_devices:Array(Int32)}}, {{single_starts:Array(Int64)}}, {{single_ends:Array(Int64)}},
                {{single_values:Array(Array(UInt64))}}
            )
        ) AS kept
    FROM readings WHERE {WITHIN}
"""
BITS = "reinterpretAsUInt64(v) AS bits, toUInt16(bitShiftRight(bits, 52)) AS exponent"
# Of mantissas, without the leading 1 that is not stored: halves of 26 bits, which cannot overflow.
SUMS = "sum(bitShiftRight(bitAnd(bits, 0xfffffffffffff), 26)) AS high, sum(bitAnd(bits, 0x3ffffff)) AS low"
# Sorted values at the two ranks of each share, as `segments.rank`.
RANKS = "arrayMap(p -> (s[toUInt64(floor(p * (n - 1))) + 1], s[toUInt64(ceil(p * (n - 1))) + 1]), {shares})"
RANKS = RANKS.format(shares="{shares:Array(Float64)}")
TIMES = f"""
    SELECT *, t[1] AS first, t[-1] AS last, arrayMax(d) AS longest, t[indexOf(d, longest)] AS longest_start,
        length(steps) AS m, steps[intDiv(m + 1, 2)] AS below, steps[intDiv(m, 2) + 1] AS above,
        below + 0.5 * (above - below) AS interval,
        if(expected > 0, expected, interval / {MICROSECONDS_PER_SECOND}.) AS seconds,
        arrayFilter(x -> seconds > 0 AND x > {GAP_FACTOR}. * seconds * {MICROSECONDS_PER_SECOND}., d) AS gaps
    FROM (
        SELECT *, arrayPopFront(arrayDifference(t)) AS d, arraySort(arrayFilter(x -> x > 0, d)) AS steps,
            transform(device_id, {{devices:Array(Int32)}}, {{expected:Array(Float64)}}, 0.) AS expected
        FROM (
            SELECT device_id, cell, countIf(kept) AS n, countIf(NOT kept) AS excluded,
                arraySort(groupArrayIf(time, kept)) AS t,
                min(length(values)) AS narrowest, max(length(values)) AS widest
            FROM ({SOURCE}) GROUP BY device_id, cell
        )
    )
"""
VALUES = f"""
    SELECT device_id, cell, groupArray((channel, n, s[1], s[-1], {RANKS}, sums)) AS channels
    FROM (
        SELECT device_id, cell, channel, sum(of_exponent) AS n, arraySort(groupArrayArray(vs)) AS s,
            groupArray((exponent, of_exponent, high, low)) AS sums
        FROM (
            SELECT device_id, cell, channel, exponent, count() AS of_exponent, groupArray(v) AS vs, {SUMS}
            FROM (
                SELECT device_id, cell, channel, v, {BITS} FROM ({SOURCE})
                ARRAY JOIN values AS v, arrayEnumerate(values) AS channel WHERE kept
            )
            GROUP BY device_id, cell, channel, exponent
        )
        GROUP BY device_id, cell, channel
    )
    GROUP BY device_id, cell
"""
FIGURES = f"""
    SELECT device_id, cell, n, excluded, narrowest, widest, first, last, longest_start, longest, m, interval,
        length(gaps), arraySum(gaps), channels
    FROM ({TIMES}) AS times LEFT JOIN ({VALUES}) AS amounts USING (device_id, cell)
"""
POOL_PARTS = f"""
    SELECT pool, exponent, count() AS of_exponent, groupArray(v) AS vs, {SUMS} FROM (
        SELECT v, {BITS}, {{pools:Array(Array(UInt32))}}[
                transform(device_id, {{devices:Array(Int32)}}, {{kinds:Array(UInt32)}}, 0)
            ][channel] AS pool
        FROM ({SOURCE}) ARRAY JOIN values AS v, arrayEnumerate(values) AS channel WHERE kept
    )
    WHERE pool > 0 GROUP BY pool, exponent
"""
# As a row of FIGURES, of no device: together they are one statement, which sees one state of a plain table.
POOLS = f"""
    SELECT 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, groupArray((pool, n, s[1], s[-1], {RANKS}, sums)) FROM (
        SELECT pool, sum(of_exponent) AS n, arraySort(groupArrayArray(vs)) AS s,
            groupArray((exponent, of_exponent, high, low)) AS sums
        FROM (PARTS) GROUP BY pool
    )
"""
# A mean whose sum is beyond the largest double is taken of smaller numbers.
SERIES = f"""
    SELECT min(time), max(time), count(), minForEach(values), maxForEach(values),
        arrayMap(
            (mean, scaled) -> if(isFinite(mean), mean, scaled * exp2(64)),
            avgForEach(values), avgForEach(arrayMap(v -> v * exp2(-64), values))
        )
    FROM ({SOURCE}) WHERE kept GROUP BY cell
"""
HOURS = f"""
    SELECT hour, groupArray((exponent, n, high, low)) FROM (
        SELECT hour, exponent, count() AS n, {SUMS} FROM (
            SELECT time - positiveModulo(time, {HOUR}) AS hour, values[{{channel:UInt32}}] AS v, {BITS}
            FROM ({SOURCE}) WHERE kept
        )
        GROUP BY hour, exponent
    )
    GROUP BY hour
"""
# As PostgreSQL's timestamptz_send and array_send write a reading: big-endian; the array with its dimensions,
# flags, type, size and lower bound, and before each value its length.
SENT = f"""concat(
    reverse(reinterpretAsFixedString(toInt64(time - {SHIFT}))), unhex('0000000100000000000002BD'),
    reverse(reinterpretAsFixedString(toInt32(length(values)))), unhex('00000001'),
    arrayStringConcat(arrayMap(v -> concat(unhex('00000008'), reverse(reinterpretAsFixedString(v))), values))
)"""
DAYS = f"""
    SELECT intDiv(time - positiveModulo(time, {DAY}), {DAY}) AS day, count(),
        sum(reinterpretAsUInt64(reverse(substring(MD5({SENT}), 1, 8))))
    FROM readings WHERE device_id = {{device:Int32}} GROUP BY day
"""
WIDTHS = f"SELECT DISTINCT length(values) FROM readings WHERE {WITHIN}"
OF_WIDTH = f"SELECT time, values FROM readings WHERE {WITHIN} AND length(values) = {{width:UInt32}}"


def schema(cluster: str) -> list[str]:
    """The statements that make it. Raises ValueError for a name that can be no cluster's."""
    if not cluster:
        return [TABLE.format(name="readings", engine="MergeTree", deduplication=WINDOW)]
    name = f"readings_local ON CLUSTER {cluster_name(cluster)}"
    local = TABLE.format(name=name, engine=REPLICATED, deduplication=WINDOW_REPLICATED)
    return [local, DISTRIBUTED.format(cluster=cluster)]
