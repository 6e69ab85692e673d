"""SQL of the readings table in ClickHouse, with typed parameters in braces.

Times are microseconds since 1970, as the table stores them.
"""

from devices.storage.interface import GAP_FACTOR
from devices.timeline.instants import MICROSECONDS_PER_SECOND, PG_EPOCH_IN_UNIX

HOUR = 3600 * MICROSECONDS_PER_SECOND
DAY = 24 * HOUR

# --- Rows

WITHIN = "device_id IN {devices:Array(Int32)} AND time >= {start:Int64} AND time < {end:Int64}"
# Equal readings are interchangeable, so the values complete the order and no row needs an id.
NEWEST_FIRST = "ORDER BY time DESC, device_id DESC, values DESC"
# Readings that follow the position (time, device), which excludes the rest of that device's stamp.
PAGE = f"""
    SELECT device_id, time, values FROM readings
    WHERE {WITHIN} AND (time < {{time:Int64}} OR (time = {{time:Int64}} AND device_id < {{device:Int64}}))
    {NEWEST_FIRST} LIMIT {{limit:UInt32}}
"""
# Readings of one device and stamp, without the first `seen`.
REST_OF_STAMP = f"""
    SELECT device_id, time, values FROM readings WHERE device_id = {{device:Int64}} AND time = {{time:Int64}}
    {NEWEST_FIRST} LIMIT {{limit:UInt32}} OFFSET {{seen:UInt32}}
"""
# The newest readings of each device.
NEWEST = f"""
    SELECT device_id, time, values FROM readings WHERE {WITHIN}
    {NEWEST_FIRST} LIMIT {{limit:UInt32}} BY device_id
"""
NEWEST_TIMES = f"""
    SELECT device_id, time FROM readings WHERE {WITHIN}
    ORDER BY time DESC LIMIT {{limit:UInt32}} BY device_id
"""
# The devices that have readings.
SENDERS = f"SELECT DISTINCT device_id FROM readings WHERE {WITHIN}"
# The smallest stamp, or no row.
FIRST = f"SELECT min(time) FROM readings WHERE {WITHIN} HAVING count() > 0"
# The number of readings of each device that has any.
COUNTS = f"SELECT device_id, count() FROM readings WHERE {WITHIN} GROUP BY device_id"
VALUES_FROM_BITS = "arrayMap(bits -> reinterpretAsFloat64(bits), {bits})"
# One row if a reading has exactly these values.
HAS = f"""
    SELECT 1 FROM readings WHERE {WITHIN} AND values = {VALUES_FROM_BITS.format(bits="{bits:Array(UInt64)}")}
    LIMIT 1
"""
# All readings of the devices at these times.
AT_TIMES = f"SELECT device_id, time, values FROM readings WHERE {WITHIN} AND time IN {{times:Array(Int64)}}"
# The numbers of values that readings have.
WIDTHS = f"SELECT DISTINCT length(values) FROM readings WHERE {WITHIN}"
# Readings with `width` values, for one read in RowBinary.
ROWS_OF_WIDTH = f"SELECT time, values FROM readings WHERE {WITHIN} AND length(values) = {{width:UInt32}}"

# --- Figures

# Each reading with its boundary, the last one at or before its time, and whether no exclusion covers it.
READINGS = f"""
    SELECT device_id, time, values, roundDown(time, {{boundaries:Array(Int64)}}) AS boundary,
        NOT (
            arrayExists(
                (d, s, e) -> device_id = d AND time >= s AND time < e,
                {{rule_devices:Array(Int32)}}, {{rule_starts:Array(Int64)}}, {{rule_ends:Array(Int64)}}
            )
            OR arrayExists(
                (d, s, e, only) -> device_id = d AND time >= s AND time < e
                    AND values = {VALUES_FROM_BITS.format(bits="only")},
                {{single_devices:Array(Int32)}}, {{single_starts:Array(Int64)}}, {{single_ends:Array(Int64)}},
                {{single_values:Array(Array(UInt64))}}
            )
        ) AS is_counted
    FROM readings WHERE {WITHIN}
"""
# A value's 64 bits, and the 12 of them that are its sign and exponent.
BITS = "reinterpretAsUInt64(v) AS bits, toUInt16(bitShiftRight(bits, 52)) AS exponent"
# Exact sums of stored mantissas, without the leading 1, in halves of 26 bits, which cannot overflow.
SUMS = "sum(bitShiftRight(bitAnd(bits, 0xfffffffffffff), 26)) AS high, sum(bitAnd(bits, 0x3ffffff)) AS low"
# For each share the two of the n sorted values between which its quantile lies, see devices.exact.ranks.rank.
RANKS = (
    "arrayMap(p -> (ordered[toUInt64(floor(p * (n - 1))) + 1], ordered[toUInt64(ceil(p * (n - 1))) + 1]),"
    " {shares:Array(Float64)})"
)
# One row per device and boundary: counts, first and last time, median interval, gaps.
TIMES = f"""
    SELECT *, times[1] AS first, times[-1] AS last,
        arrayMax(intervals) AS longest, times[indexOf(intervals, longest)] AS longest_start,
        length(steps) AS m, steps[intDiv(m + 1, 2)] AS below, steps[intDiv(m, 2) + 1] AS above,
        below + 0.5 * (above - below) AS median_interval,
        if(expected > 0, expected, median_interval / {MICROSECONDS_PER_SECOND}.) AS seconds,
        arrayFilter(
            x -> seconds > 0 AND x > {GAP_FACTOR}. * seconds * {MICROSECONDS_PER_SECOND}., intervals
        ) AS gaps
    FROM (
        SELECT *, arrayPopFront(arrayDifference(times)) AS intervals,
            arraySort(arrayFilter(x -> x > 0, intervals)) AS steps,
            transform(device_id, {{devices:Array(Int32)}}, {{expected:Array(Float64)}}, 0.) AS expected
        FROM (
            SELECT device_id, boundary, countIf(is_counted) AS n, countIf(NOT is_counted) AS excluded,
                arraySort(groupArrayIf(time, is_counted)) AS times,
                min(length(values)) AS narrowest, max(length(values)) AS widest
            FROM ({READINGS}) GROUP BY device_id, boundary
        )
    )
"""
# One row per device and boundary: figures of each channel. Each channel is grouped by exponent first, so that
# mantissas can be summed exactly.
VALUES = f"""
    SELECT device_id, boundary, groupArray((channel, n, ordered[1], ordered[-1], {RANKS}, sums)) AS channels
    FROM (
        SELECT device_id, boundary, channel, sum(of_exponent) AS n,
            arraySort(groupArrayArray(some_values)) AS ordered,
            groupArray((exponent, of_exponent, high, low)) AS sums
        FROM (
            SELECT device_id, boundary, channel, exponent, count() AS of_exponent,
                groupArray(v) AS some_values, {SUMS}
            FROM (
                SELECT device_id, boundary, channel, v, {BITS} FROM ({READINGS})
                ARRAY JOIN values AS v, arrayEnumerate(values) AS channel WHERE is_counted
            )
            GROUP BY device_id, boundary, channel, exponent
        )
        GROUP BY device_id, boundary, channel
    )
    GROUP BY device_id, boundary
"""
# All figures, one row per device and boundary, in the order that `answers.figures_from` reads.
FIGURES = f"""
    SELECT device_id, boundary, n, excluded, narrowest, widest, first, last, longest_start, longest, m,
        median_interval, length(gaps), arraySum(gaps), channels
    FROM ({TIMES}) AS of_times LEFT JOIN ({VALUES}) AS of_values USING (device_id, boundary)
"""
# The values that go into each pool, grouped by exponent; runs on each shard.
POOL_PARTS = f"""
    SELECT pool, exponent, count() AS of_exponent, groupArray(v) AS some_values, {SUMS} FROM (
        SELECT v, {BITS}, {{layouts:Array(Array(UInt32))}}[
                transform(device_id, {{devices:Array(Int32)}}, {{layout_of_device:Array(UInt32)}}, 0)
            ][channel] AS pool
        FROM ({READINGS}) ARRAY JOIN values AS v, arrayEnumerate(values) AS channel WHERE is_counted
    )
    WHERE pool > 0 GROUP BY pool, exponent
"""
# Figures of all pools in one row that has the columns of FIGURES and the device 0. UNION ALL makes both one
# statement, which sees one state of a plain table.
POOLS = f"""
    SELECT 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        groupArray((pool, n, ordered[1], ordered[-1], {RANKS}, sums))
    FROM (
        SELECT pool, sum(of_exponent) AS n, arraySort(groupArrayArray(some_values)) AS ordered,
            groupArray((exponent, of_exponent, high, low)) AS sums
        FROM (POOL_PARTS) GROUP BY pool
    )
"""
# The columns of a chart. A mean whose sum overflows is computed from values scaled down by 2^64.
SERIES = f"""
    SELECT min(time), max(time), count(), minForEach(values), maxForEach(values),
        arrayMap(
            (mean, scaled) -> if(isFinite(mean), mean, scaled * exp2(64)),
            avgForEach(values), avgForEach(arrayMap(v -> v * exp2(-64), values))
        )
    FROM ({READINGS}) WHERE is_counted GROUP BY boundary
"""
# One channel's exact sum by hour.
HOURS = f"""
    SELECT hour, groupArray((exponent, n, high, low)) FROM (
        SELECT hour, exponent, count() AS n, {SUMS} FROM (
            SELECT time - positiveModulo(time, {HOUR}) AS hour, values[{{channel:UInt32}}] AS v, {BITS}
            FROM ({READINGS}) WHERE is_counted
        )
        GROUP BY hour, exponent
    )
    GROUP BY hour
"""

# --- Copying

# A reading as PostgreSQL's timestamptz_send and array_send write it, big-endian: the time; the array's
# dimensions, flags, element type, size and lower bound; before each value its length.
AS_SENT = f"""concat(
    reverse(reinterpretAsFixedString(toInt64(time - {PG_EPOCH_IN_UNIX}))), unhex('0000000100000000000002BD'),
    reverse(reinterpretAsFixedString(toInt32(length(values)))), unhex('00000001'),
    arrayStringConcat(arrayMap(v -> concat(unhex('00000008'), reverse(reinterpretAsFixedString(v))), values))
)"""
# The number of readings and their checksum on each day, in days since 1970.
DAYS = f"""
    SELECT intDiv(time - positiveModulo(time, {DAY}), {DAY}) AS day, count(),
        sum(reinterpretAsUInt64(reverse(substring(MD5({AS_SENT}), 1, 8))))
    FROM readings WHERE device_id = {{device:Int32}} GROUP BY day
"""
