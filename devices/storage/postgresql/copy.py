import io
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

COPY_PIECE_BYTES = 256 * 1024


def copy_expert(cursor: Any, statement: str, file: Any) -> None:
    """psycopg2's COPY, whose errors Django does not turn into its own unasked."""
    with connection.wrap_database_errors:
        cursor.copy_expert(statement, file, COPY_PIECE_BYTES)


def binary_copy(query: str, parameters: Sequence[object] | Mapping[str, object]) -> memoryview:
    """The result in PostgreSQL's binary COPY format: 19 bytes of header, rows, 2 bytes of end."""
    buffer = io.BytesIO()
    with connection.cursor() as cursor:
        statement = cursor.mogrify(f"COPY ({query}) TO STDOUT (FORMAT binary)", parameters)
        copy_expert(cursor, statement.decode(), buffer)
    return buffer.getbuffer()


def binary_rows(
    query: str, parameters: Sequence[object] | Mapping[str, object]
) -> list[list[memoryview | None]]:
    """The fields of each row as PostgreSQL's binary format has them: bytea is not made text on its way."""
    data = binary_copy(query, parameters)
    rows, place = [], 19
    while (fields := int.from_bytes(data[place : place + 2], "big", signed=True)) >= 0:
        place += 2
        row: list[memoryview | None] = []
        for _ in range(fields):
            size = int.from_bytes(data[place : place + 4], "big", signed=True)
            place += 4
            row.append(None if size < 0 else data[place : place + size])
            place += max(size, 0)
        rows.append(row)
    return rows
