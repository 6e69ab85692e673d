"""The API's answer about a calculation: fields, their schema, and the rows as JSON or CSV."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from analytics import csv_rows, runs
from analytics.calculations import stored_rows
from analytics.calculations.columns import columns_of
from analytics.kernels import KERNELS
from analytics.kernels.declaration import Column, Kernel
from analytics.models import Calculation, Status
from users.serializers import Stamp

COLUMN_SCHEMAS = {
    "number": {"type": "number"},
    "date": {"type": "string", "format": "date"},
    "moment": {"type": "string", "format": "date-time"},
}

FieldValue = Callable[[Calculation, datetime], Any]
# What the parameter `fields` can add to ALWAYS.
OPTIONAL: dict[str, FieldValue] = {
    "name": lambda run, _: run.name,
    "duration": lambda run, _: run.duration_seconds,
    "kernel": lambda run, _: run.kernel,
    "kernel_version": lambda run, _: run.kernel_version,
    "parameters": lambda run, _: run.parameters,
    "seed": lambda run, _: run.seed,
    "libraries": lambda run, _: run.libraries,
    "asked_at": lambda run, _: stamp(run.asked_at),
    "asked_by": lambda run, _: run.asked_by_id,
    "finished_at": lambda run, _: stamp(run.finished_at),
    "attempts": lambda run, _: run.attempts,
    "position": lambda run, _: runs.positions(Calculation).get(run.pk),
    "progress": lambda run, _: run.progress,
    "elapsed": Calculation.elapsed_seconds,
    "remaining": Calculation.remaining_seconds,
    "error": lambda run, _: run.error or None,
    "rows": lambda run, _: run.row_count,
    "broken_invariants": lambda run, _: run.broken,
    "rerun_of": lambda run, _: run.rerun_of_id,
}
ALWAYS = ("id", "started_at", "status", "result")


def stamp(time: datetime | None) -> str | None:
    return Stamp().to_representation(time) if time else None


@extend_schema_serializer(component_name="CreatedCalculation")
class CreatedSerializer(serializers.Serializer):
    id = serializers.UUIDField()


@extend_schema_serializer(component_name="CalculationState")
class StateSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    status = serializers.CharField()


@extend_schema_serializer(component_name="ListedCalculation")
class ListedSerializer(serializers.ModelSerializer):
    started_at = Stamp(allow_null=True)
    status = serializers.CharField(help_text=f"One of {', '.join(Status.values)}.")

    class Meta:
        model = Calculation
        fields = ("id", "name", "started_at", "status")


# Rows of a function, whose columns are known once it has run.
ANY_ROW = {
    "type": "object",
    "description": "The first value is a date or a moment, the others are numbers.",
    "additionalProperties": {"type": ["string", "number"]},
}


def result_schema() -> dict[str, Any]:
    """Schema of `result`: rows with the columns of one of the kernels."""
    rows = [
        {"type": "array", "title": f"Rows of {kernel.name}", "items": row_schema(kernel)}
        for kernel in KERNELS.values()
    ]
    # Not oneOf: no rows at all, or those of a function, may match several.
    return {"anyOf": [*rows, {"type": "null"}], "description": "Null until finished."}


def row_schema(kernel: Kernel) -> dict[str, Any]:
    def column_schema(column: Column) -> dict[str, Any]:
        return COLUMN_SCHEMAS[column.kind] | {"description": column.heading}

    if not kernel.columns:
        return ANY_ROW
    return {
        "type": "object",
        "required": [column.name for column in kernel.columns],
        "properties": {column.name: column_schema(column) for column in kernel.columns},
    }


def seconds(help_text: str) -> serializers.Field:
    return serializers.FloatField(required=False, allow_null=True, help_text=f"Seconds; {help_text}")


@extend_schema_serializer(component_name="Calculation")
class DetailSerializer(ListedSerializer):
    """For the schema alone: the view writes the answer itself, as `result` may be large."""

    result = extend_schema_field(result_schema())(serializers.JSONField)(read_only=True)
    name = serializers.CharField(required=False)
    duration = seconds("null until it is over.")
    kernel = serializers.CharField(required=False)
    kernel_version = serializers.CharField(required=False)
    parameters = serializers.DictField(required=False)
    seed = serializers.IntegerField(required=False)
    libraries = serializers.DictField(required=False, help_text="Versions of the libraries that computed it.")
    asked_at = Stamp(required=False)
    asked_by = serializers.IntegerField(required=False, allow_null=True, help_text="A user's id.")
    finished_at = Stamp(required=False, allow_null=True)
    attempts = serializers.IntegerField(required=False)
    position = serializers.IntegerField(
        required=False, allow_null=True, help_text="In the queue, from 1; null unless queued."
    )
    progress = serializers.IntegerField(required=False, help_text="Percent.")
    elapsed = seconds("since it started, or its whole duration once it is over.")
    remaining = seconds("estimated from its pace; null if it is not running or has made no progress.")
    error = serializers.CharField(required=False, allow_null=True)
    rows = serializers.IntegerField(required=False)
    broken_invariants = serializers.DictField(
        required=False, help_text="Number of rows that break an invariant, by its label."
    )
    rerun_of = serializers.UUIDField(required=False, allow_null=True)

    class Meta:
        model = Calculation
        fields = (*ALWAYS, *OPTIONAL)


def detail_response(calculation: Calculation, fields: list[str], now: datetime) -> HttpResponseBase:
    """ALWAYS and the optional `fields`; many rows are streamed."""
    body = {"id": str(calculation.pk), "started_at": stamp(calculation.started_at)}
    body |= {"status": calculation.status, "result": None}
    body |= {name: OPTIONAL[name](calculation, now) for name in fields}
    encoded = stored_rows.encode(body).decode()
    if calculation.status != Status.FINISHED:
        return HttpResponse(encoded, content_type="application/json")
    # The stored rows are JSON already: they take the place of the null.
    head, _, tail = encoded.partition('"result":null')

    def parts() -> Iterator[str]:
        yield f'{head}"result":['
        for number, payload in enumerate(stored_rows.payloads(calculation)):
            yield f",{payload}" if number else payload
        yield f"]{tail}"

    return rows_response(calculation, parts(), content_type="application/json")


def csv_response(calculation: Calculation) -> HttpResponseBase:
    names = [column.name for column in columns_of(calculation)]
    file_name = f"{calculation.kernel}-{calculation.pk}.csv"
    return rows_response(
        calculation,
        csv_rows.lines(names, stored_rows.all_rows(calculation)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{file_name}"'},
    )


def rows_response(calculation: Calculation, parts: Iterator[str], **options: Any) -> HttpResponseBase:
    if calculation.row_count <= stored_rows.BLOCK_ROWS:
        return HttpResponse("".join(parts), **options)
    return StreamingHttpResponse(parts, **options)
