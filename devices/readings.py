"""Lists of readings for the API: paged by keyset, newest first, whatever the number of devices."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import msgspec
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from devices import storage
from devices.models import DeviceQuerySet
from devices.periods import BadPeriod, Period, parse_period
from devices.serializers import listed_reading
from devices.storage import Position

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


def reading_page(request: Request, devices: DeviceQuerySet, zone: tzinfo) -> Response:
    """One page of the devices' readings with `Link` to the next; naive bounds are read in `zone`."""
    period = asked_period(request, zone)
    limit = asked_limit(request)
    after = decode_cursor(request.query_params["cursor"]) if "cursor" in request.query_params else None
    ids = list(devices.values_list("pk", flat=True))
    # One more than asked for tells whether there is a next page.
    rows = storage.current().page(ids, period, limit=limit + 1, after=after)
    shown = rows[:limit]
    by_id = devices.with_channels().in_bulk({row.device_id for row in shown})
    url = request.build_absolute_uri()
    links = [f'<{remove_query_param(url, "cursor")}>; rel="first"']
    if len(rows) > limit:
        links.append(f'<{replace_query_param(url, "cursor", encode_cursor(shown[-1].position))}>; rel="next"')
    # A device may have been erased since, and its readings with it.
    body = [listed_reading(row, by_id[row.device_id]) for row in shown if row.device_id in by_id]
    return Response(body, headers={"Link": ", ".join(links)})


def asked_period(request: Request, zone: tzinfo) -> Period:
    try:
        return parse_period(request.query_params, zone)
    except BadPeriod as error:
        raise ValidationError({error.field: str(error)}) from error


def asked_limit(request: Request) -> int:
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
            raise ValueError("no place")
        # PostgreSQL knows no offset of 16 hours or more.
        return Position(cursor.time.astimezone(UTC), cursor.device_id, cursor.place)
    except (ValueError, OverflowError, msgspec.DecodeError) as error:
        raise ValidationError({"cursor": "Not a cursor of this list."}) from error
