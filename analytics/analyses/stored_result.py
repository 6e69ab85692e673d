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
PIECE_BYTES = 512 * 1024
WHOLE = "result"
# Instead of devices and their details null, and at the end a link to them.
WITHOUT_DEVICES = """
    (
        SELECT '{' || string_agg(to_json(key)::text || ':' || CASE
            WHEN key IN ('devices', 'details') THEN 'null' ELSE value::text
        END, ',' ORDER BY number) || ',"devices_link":' || to_json(%(link)s::text)::text || '}'
        FROM json_each(result::json) WITH ORDINALITY AS part (key, value, number)
    )
"""
# Bytes, as a slice of text is found only by reading all before it. OFFSET 0: made once, and in memory.
PIECE = """
    SELECT substring(bytes FROM %(start)s FOR %(piece)s), octet_length(bytes)
    FROM (
        SELECT convert_to({text}, 'UTF8') AS bytes FROM django_celery_results_taskresult WHERE id = %(id)s
        OFFSET 0
    ) AS stored
    WHERE bytes IS NOT NULL
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


class ResultGone(Exception):
    """The rest of a stored result is no longer there."""


def answered_pieces(analysis: Analysis) -> Iterator[bytes]:
    """The result as the task's answer has it; nothing if it is no longer there.

    Each query is complete: a streamed answer goes on in another thread, which has another connection. Raises
    ResultGone if the result is deleted between two pieces.
    """
    link = reverse("analytics:api-task-devices", args=[analysis.pk])
    parameters = {"id": analysis.task_result_id, "piece": PIECE_BYTES, "link": link}
    statement = PIECE.format(text=answered_text(analysis))
    taken, total = 0, 1
    while taken < total:
        row = one_row(statement, parameters | {"start": taken + 1})
        if row is None and taken:
            raise ResultGone(f"The result of analysis {analysis.pk} was deleted.")
        if row is None:
            return
        piece, total = bytes(row[0]), row[1]
        taken += len(piece)
        yield piece


def answered_text(analysis: Analysis) -> str:
    """SQL of the text that the task's answer has."""
    if analysis.user_id is None:
        return WHOLE
    [devices] = one_row(DEVICE_COUNT, {"id": analysis.task_result_id}) or (0,)
    return WHOLE if devices <= MOST_WITHIN else WITHOUT_DEVICES


def one_row(statement: str, parameters: dict[str, Any]) -> Any:
    """The first row; None without one."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone()


def shown_result(analysis: Analysis) -> dict[str, Any] | None:
    """The result as the task's answer has it, for pages; None until it is finished."""
    if analysis.status != Status.FINISHED or analysis.task_result_id is None:
        return None
    return json.loads(b"".join(answered_pieces(analysis)) or b"null")


def device_rows(analysis: Analysis, *, after: str, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Rows of the devices behind the id `after`, as flat as the result of a device; and the number of all."""
    parameters = {"id": analysis.task_result_id, "after": after, "limit": limit}
    [total] = one_row(DEVICE_COUNT, parameters)
    with connection.cursor() as cursor:
        cursor.execute(DEVICE_ROWS, parameters)
        found = cursor.fetchall()
    rows = [
        {"device_id": device_id, **json.loads(details or "{}"), **json.loads(channels)}
        for device_id, channels, details in found
    ]
    return rows, total
