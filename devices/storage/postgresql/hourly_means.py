"""A channel's past in even steps."""

from datetime import datetime

from django.db import connection

from devices.storage.postgresql import partitions, readings_table
from devices.timeline.periods import Period


def means_by_hour(device_id: int, channel: int, period: Period) -> list[tuple[datetime, float]]:
    """Hours (UTC) that have readings, in order, each with the mean of the channel at this position.

    Excluded readings are left out. The same readings give the same means to the last bit: they are summed in
    the order of their stamps.
    """
    bounds, parameters = readings_table.conditions(period)
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT date_trunc('hour', time, 'UTC') AS hour, sum(value ORDER BY time, value) / count(*)
            FROM (
                SELECT time, values[%s] AS value FROM {partitions.TABLE} AS r WHERE device_id = %s{bounds}
                AND NOT EXISTS (
                    SELECT FROM devices_exclusion AS e
                    WHERE e.device_id = r.device_id AND e.lifted_at IS NULL
                        AND r.time >= e.start_time AND r.time < e.end_time
                        AND (e.values IS NULL OR e.values = r.values)
                )
            ) AS readings
            GROUP BY hour ORDER BY hour
            """,
            [channel + 1, device_id, *parameters],
        )
        return cursor.fetchall()
