"""API of stored readings: pages by keyset, newest first, at the same cost for any number of devices."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any
from uuid import UUID

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param
from rest_framework.views import APIView

from devices import statistics, storage
from devices.api import DONE_EXAMPLE
from devices.authentication import visible_device
from devices.models import Device, DeviceQuerySet
from devices.serializers import listed_reading, stamp_text
from devices.storage.interface import Position
from devices.timeline.periods import BadPeriod, Period, parse_period
from users.permissions import signed_in
from users.serializers import component, component_list

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
READING = {"device_id": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10", "timestamp": "2026-11-21T09:31:00Z"}
READING_LIST: dict[str, Any] = {
    "parameters": [
        OpenApiParameter(
            "start",
            OpenApiTypes.DATETIME,
            description="Start, inclusive; the device's time zone if it has no offset.",
        ),
        OpenApiParameter("end", OpenApiTypes.DATETIME, description="End, exclusive, after `start`."),
        OpenApiParameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
            description=f"Readings per page (default {DEFAULT_LIMIT}).",
        ),
        OpenApiParameter(
            "cursor", str, description="From the `Link` header of the previous page; any other text is 400."
        ),
    ],
    "responses": {200: component_list("ListedReading")},
    "examples": [OpenApiExample("Readings", [READING | {"x": 1.0, "y": 2.0, "z": 3.0}])],
}


class SensorStatistics(APIView):
    query_parameters = ()

    @extend_schema(
        operation_id="sensor_statistics",
        responses={200: component("SensorStatistics")},
        examples=[
            OpenApiExample(
                "Statistics", {"last_measurement": "2026-11-21T09:31:00Z", "count": 2, "avg": 60.25}
            )
        ],
    )
    def get(self, request: Request, sensor: str) -> Response:
        """Get the count, average and latest timestamp of a sensor.

        Includes every reading whose post has been answered, whichever process took it. Excluded readings are
        left out. An unknown sensor has null, 0 and 0.0.
        """
        device = sensor_device(request, sensor_name(request, sensor))
        if device is None:
            return Response({"last_measurement": None, "count": 0, "avg": 0.0})
        answer = statistics.of_device(device, Period())
        last, mean = answer.last and stamp_text(answer.last), next(iter(answer.channels.values())).avg
        return Response({"last_measurement": last, "count": answer.readings, "avg": mean or 0.0})

    @extend_schema(operation_id="sensor_clear", responses={204: None}, examples=DONE_EXAMPLE)
    def delete(self, request: Request, sensor: str) -> Response:
        """Delete all readings of a sensor; it starts again from zero."""
        device = sensor_device(request, sensor_name(request, sensor))
        if device is not None:
            device.clear()
        return Response(status=204)


class ReadingList(APIView):
    query_parameters = ("start", "end", "limit", "cursor")

    @extend_schema(operation_id="reading_list", **READING_LIST)
    def get(self, request: Request) -> Response:
        """List the readings of all devices that you may see, newest first."""
        return reading_page(request, Device.objects.visible_to(request.user), UTC)


class DeviceReadingList(APIView):
    query_parameters = ("start", "end", "limit", "cursor")

    @extend_schema(operation_id="device_reading_list", **READING_LIST)
    def get(self, request: Request, uuid: UUID) -> Response:
        """List a device's readings, newest first."""
        device = visible_device(request, uuid)
        return reading_page(request, Device.objects.filter(pk=device.pk), device.zone)


def sensor_name(request: Request, path: str) -> str:
    """Drop a trailing slash, optional on every route; one sent as %2F belongs to the sensor's name."""
    scope = request.META.get("asgi.scope")
    is_literal = scope is None or scope["raw_path"].endswith(b"/")
    return path.removesuffix("/") if is_literal else path


def sensor_device(request: Request, sensor: str) -> Device | None:
    """The user's own device with this external id, else the oldest such device that they may see."""
    if "\0" in sensor:
        return None
    found = Device.objects.visible_to(request.user).with_channels()
    found = found.filter(external_id=sensor).order_by("id")
    return found.filter(owner=signed_in(request)).first() or found.first()


def reading_page(request: Request, devices: DeviceQuerySet, zone: tzinfo) -> Response:
    """Answer one page of the devices' readings, with `Link` to the next; bounds default to `zone`."""
    period = asked_period(request, zone)
    limit = requested_limit(request)
    after = decode_cursor(request.query_params["cursor"]) if "cursor" in request.query_params else None
    ids = list(devices.values_list("pk", flat=True))
    # One row more than `limit` shows whether there is a next page.
    rows = storage.current().page(ids, period, limit=limit + 1, after=after)
    shown = rows[:limit]
    by_id = devices.with_channels().in_bulk({row.device_id for row in shown})
    url = request.build_absolute_uri()
    links = [f'<{remove_query_param(url, "cursor")}>; rel="first"']
    if len(rows) > limit:
        links.append(f'<{replace_query_param(url, "cursor", encode_cursor(shown[-1].position))}>; rel="next"')
    # A device may have been erased since the query.
    body = [listed_reading(row, by_id[row.device_id]) for row in shown if row.device_id in by_id]
    return Response(body, headers={"Link": ", ".join(links)})


def asked_period(request: Request, zone: tzinfo) -> Period:
    try:
        return parse_period(request.query_params, zone)
    except BadPeriod as error:
        raise ValidationError({error.field: str(error)}) from error


def requested_limit(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= MAX_LIMIT):
        raise ValidationError({"limit": f"Must be a whole number from 1 to {MAX_LIMIT}."})
    return int(text)


def encode_cursor(position: Position) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode(tuple(position))).decode().rstrip("=")


class Cursor(msgspec.Struct, array_like=True):
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    device_id: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    place: Annotated[str, msgspec.Meta(max_length=20)]


def decode_cursor(text: str) -> Position:
    try:
        cursor = msgspec.msgpack.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Cursor)
        if not storage.current().is_place(cursor.place):
            raise ValueError("invalid place")
        # PostgreSQL rejects offsets of 16 hours or more.
        return Position(cursor.time.astimezone(UTC), cursor.device_id, cursor.place)
    except (ValueError, OverflowError, msgspec.DecodeError) as error:
        raise ValidationError({"cursor": "Not a cursor of this list."}) from error
