"""PostgreSQL's COPY in its binary format, through Django's connection."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from devices.storage.row_codec import copied_rows

COPY_PIECE_BYTES = 256 * 1024
Parameters = Sequence[object] | Mapping[str, object]


def copy_expert(cursor: Any, statement: str, file: Any) -> None:
    """Run a COPY; its errors are raised as Django's, which Django does for `execute` only."""
    with connection.wrap_database_errors:
        cursor.copy_expert(statement, file, COPY_PIECE_BYTES)


def binary_copy(query: str, parameters: Parameters) -> memoryview:
    """Return the result of a query in the binary format, with the format's header and end."""
    buffer = io.BytesIO()
    with connection.cursor() as cursor:
        statement = cursor.mogrify(f"COPY ({query}) TO STDOUT (FORMAT binary)", parameters)
        copy_expert(cursor, statement.decode(), buffer)
    return buffer.getbuffer()


def binary_rows(query: str, parameters: Parameters) -> list[list[memoryview]]:
    """Return the fields of each row in the binary format: no bytea is written as text on its way.

    NULL is returned as an empty field.
    """
    data = copied_rows(binary_copy(query, parameters))
    rows, place = [], 0
    while place < len(data):
        fields = int.from_bytes(data[place : place + 2], "big")
        place += 2
        row: list[memoryview] = []
        for _ in range(fields):
            # NULL has the size -1.
            size = max(int.from_bytes(data[place : place + 4], "big", signed=True), 0)
            place += 4
            row.append(data[place : place + size])
            place += size
        rows.append(row)
    return rows
