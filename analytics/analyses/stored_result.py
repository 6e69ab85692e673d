"""The stored result of an analysis, which may have megabytes: sent as it is stored, in pieces.

The web process neither parses it nor has all of it in memory. Where a part is left out, PostgreSQL does that:
its type `json` keeps the text of every value.
"""

import json
from collections.abc import Iterator
from typing import Any

from django.db import connection
from django.urls import reverse

from analytics.models import Analysis, Status

# Of more devices the task's answer has none: a link stands for them.
MOST_WITHIN = 1000
PIECE_BYTES = 256 * 1024
PIECES_AT_ONCE = 2
WHOLE = "result"
# Instead of devices and their details null, and at the end a link to them.
WITHOUT_DEVICES = """
    CASE
        WHEN (SELECT count(*) FROM json_object_keys(result::json -> 'devices')) <= %(most)s THEN result
        ELSE (
            SELECT '{' || string_agg(to_json(key)::text || ':' || CASE
                WHEN key IN ('devices', 'details') THEN 'null' ELSE value::text
            END, ',' ORDER BY number) || ',"devices_link":' || to_json(%(link)s::text)::text || '}'
            FROM json_each(result::json) WITH ORDINALITY AS part (key, value, number)
        )
    END
"""
# Bytes, as a slice of text is found only by reading all before it.
PIECES = """
    WITH stored AS MATERIALIZED (
        SELECT convert_to({text}, 'UTF8') AS bytes FROM django_celery_results_taskresult WHERE id = %(id)s
    )
    SELECT substring(bytes FROM start FOR %(piece)s)
    FROM stored, generate_series(1, octet_length(bytes), %(piece)s) AS start ORDER BY start
"""
DEVICE_COUNT = """
    SELECT count(*) FROM django_celery_results_taskresult, json_object_keys(result::json -> 'devices')
    WHERE id = %(id)s
"""
DEVICE_ROWS = """
    WITH stored AS MATERIALIZED (
        SELECT result::json AS result FROM django_celery_results_taskresult WHERE id = %(id)s
    )
    SELECT device.key, device.value::text, details.value::text
    FROM stored CROSS JOIN LATERAL json_each(result -> 'devices') AS device
    LEFT JOIN LATERAL json_each(result -> 'details') AS details ON details.key = device.key
    WHERE device.key > %(after)s ORDER BY device.key COLLATE "C" LIMIT %(limit)s
"""


def answered_pieces(analysis: Analysis) -> Iterator[bytes]:
    """The result as the task's answer has it; nothing if it has been deleted meanwhile."""
    text = WHOLE if analysis.user_id is None else WITHOUT_DEVICES
    link = reverse("analytics:api-task-devices", args=[analysis.pk])
    parameters = {"id": analysis.task_result_id, "piece": PIECE_BYTES, "most": MOST_WITHIN, "link": link}
    with connection.chunked_cursor() as cursor:
        cursor.execute(PIECES.format(text=text), parameters)
        while rows := cursor.fetchmany(PIECES_AT_ONCE):
            yield from (bytes(piece) for (piece,) in rows)


def shown_result(analysis: Analysis) -> dict[str, Any] | None:
    """The result as the task's answer has it, for pages; None until it is finished."""
    if analysis.status != Status.FINISHED or analysis.task_result_id is None:
        return None
    return json.loads(b"".join(answered_pieces(analysis)) or b"null")


def device_rows(analysis: Analysis, *, after: str, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Rows of the devices behind the id `after`, as flat as the result of a device; and the number of all."""
    parameters = {"id": analysis.task_result_id, "after": after, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(DEVICE_COUNT, parameters)
        [total] = cursor.fetchone()
        cursor.execute(DEVICE_ROWS, parameters)
        found = cursor.fetchall()
    rows = [
        {"device_id": device_id, **json.loads(details or "{}"), **json.loads(channels)}
        for device_id, channels, details in found
    ]
    return rows, total
