"""REST views for posting readings: they answer all that the gate (`ingestion.gate`) does not."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, cast
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.functional import cached_property
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.authentication import get_authorization_header
from rest_framework.exceptions import ParseError, PermissionDenied, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices.access import grants, rate_limit
from devices.access.grants import Grant, Target
from devices.authentication import PostsReadings, visible_device
from devices.ingestion import decoding, decompression, intake
from devices.ingestion.asgi import RequestState, request_state
from devices.ingestion.checks import InvalidItems
from devices.ingestion.flusher import NotStored
from devices.ingestion.group_commit import store_now
from devices.ingestion.idempotency import MAX_KEY, IdempotencyClaim, IdempotencyConflict, is_valid_key
from devices.ingestion.intake import Intake
from devices.ingestion.sensors import OwnSensors
from devices.models import Device, DeviceKey
from devices.timeline.unix_time import PRECISIONS
from users.api_errors import Conflict, TooLarge, TooManyRequests, TryAgain, UnsupportedMediaCoding
from users.authentication import refuse_in_clear
from users.serializers import component, component_list

RECEIPT = OpenApiExample("Receipt", {"accepted": 1, "rejected": []}, response_only=True, status_codes=["201"])
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    # HTTP cuts off spaces around a header's value.
    {"type": "string", "maxLength": MAX_KEY, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    OpenApiParameter.HEADER,
    description="A body is stored once per key; later requests with both get the first receipt.",
)
CODING = OpenApiParameter(
    "Content-Encoding",
    str,
    OpenApiParameter.HEADER,
    enum=["gzip", "zstd", ""],
    description="The coding of a compressed body; empty, as without the header, of one that is not.",
)
RATE = [
    OpenApiParameter(name, int, OpenApiParameter.HEADER, response=True, description=description)
    for name, description in (
        ("RateLimit-Limit", "Requests a minute allowed to this device, or to all tokens of this user."),
        ("RateLimit-Remaining", "Requests left in this minute."),
        ("RateLimit-Reset", "Seconds until the next minute begins."),
    )
]
INGEST_HEADERS = [IDEMPOTENCY_KEY, CODING, *RATE]
PARTIAL = OpenApiParameter("partial", bool, description="Store the good readings, report the others.")
PRECISION = OpenApiParameter(
    "precision",
    str,
    enum=list(PRECISIONS),
    description="Unit of timestamps that are numbers. Default: `s`. Texts are read as ever.",
)


class RawJSON(BaseParser):
    """Passes the decompressed body on as bytes; other media types are answered 415."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        request = parser_context["request"]
        try:
            # Read from Django's request, which bounds the size.
            return decompression.decompress(
                request._request.body, request.headers.get("Content-Encoding", "")
            )
        except decompression.UnsupportedCoding as error:
            raise UnsupportedMediaCoding(str(error)) from error
        except decompression.CorruptBody as error:
            raise ParseError(str(error)) from error
        except decompression.DecompressedTooLarge as error:
            raise TooLarge(str(error)) from error


class AlwaysJSON(DefaultContentNegotiation):
    """Ignores the Accept header, as the gate does: no reading is refused for it."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class IngestView(APIView):
    """Takes any ingestion POST and turns domain errors into statuses; InvalidItems in `config.problems`."""

    permission_classes = (PostsReadings,)
    content_negotiation_class = AlwaysJSON
    parser_classes = (RawJSON,)
    query_parameters: tuple[str, ...] = ()
    # RateLimit-* of the answer.
    rate: rate_limit.Headers = []

    @cached_property
    def state(self) -> RequestState:
        return request_state(self.request.META.get("asgi.scope", {}))

    def perform_authentication(self, request: Request) -> None:
        """Accept a grant that the gate has found or the cache finds; others are for REST framework."""
        grant = self.state.grant
        if grant is None:
            grant_key = get_authorization_header(request), self.kwargs.get("uuid")
            if grant_key[0]:
                refuse_in_clear(request)
            grant = grants.find_grant(grant_key) if grant_key[0] else None
        if grant is None:
            super().perform_authentication(request)
        else:
            request.user, request.auth = AnonymousUser(), grant

    def check_throttles(self, request: Request) -> None:
        """Count the request, unless the gate has. REST framework calls this after the permissions."""
        try:
            counted = self.state.rate
            self.rate = rate_limit.take_now(holder(request)) if counted is None else counted
        except rate_limit.RateExceeded as error:
            self.rate = error.headers
            raise TooManyRequests(str(error), error.seconds) from error

    def handle_exception(self, error: Exception) -> Response:
        response = super().handle_exception(error)
        if isinstance(error, UnsupportedMediaCoding):
            response["Accept-Encoding"] = decompression.ACCEPTED_CODINGS  # RFC 7694
        return response

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        for name, value in self.rate:
            response[name.decode()] = value.decode()
        return super().finalize_response(request, response, *args, **kwargs)

    def store(self, request: Request, take: Callable[[bytes, datetime], Intake]) -> Response:
        """Decode with `take`, store, and answer with the receipt. Raises InvalidItems."""
        body = cast(bytes, request.data or b"")  # from RawJSON
        deferred = self.state.deferred
        try:
            taken, claim = self.take(take, body), self.claim(request, body)
            if deferred is not None:
                deferred.intake, deferred.claim = taken, claim
                return Response(taken.receipt, status=201)
            return Response(store_now(taken, claim), status=201)
        except decoding.BatchTooLong as error:
            raise TooLarge(str(error)) from error
        except IdempotencyConflict as error:
            raise Conflict(str(error)) from error
        except (NotStored, intake.NeedsThread) as error:
            # After the latter the gate asks again, on a thread.
            raise TryAgain(str(error)) from error

    def take(self, take: Callable[[bytes, datetime], Intake], body: bytes) -> Intake:
        """Take the body, and leave what is refused of it to the gate, which notes it."""
        try:
            taken = take(body, timezone.now())
        except InvalidItems as error:
            self.state.refused = 400, error.refused
            raise
        self.state.refused = 201, taken.refused
        return taken

    def claim(self, request: Request, body: bytes) -> IdempotencyClaim | None:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if not is_valid_key(key):
            raise ValidationError({"Idempotency-Key": "Must be 1 to 255 printable ASCII characters."})
        return IdempotencyClaim.of(holder(request), key, request.path, body, self.unit(request))

    def unit(self, request: Request) -> int:
        """Nanoseconds of one unit of a timestamp that is a number."""
        name = request.query_params.get("precision", "s")
        if name not in PRECISIONS:
            raise ValidationError({"precision": f"Must be one of {', '.join(PRECISIONS)}."})
        return PRECISIONS[name]

    def batch_options(self, request: Request) -> dict[str, Any]:
        """Options of a batch, from the query."""
        return {"skip_bad": self.skip_bad(request), "unit": self.unit(request)}

    def skip_bad(self, request: Request) -> bool:
        text = request.query_params.get("partial", "false")
        if text not in ("true", "false"):
            raise ValidationError({"partial": "Must be true or false."})
        return text == "true"


class DeviceStats(IngestView):
    query_parameters = ("precision",)

    @extend_schema(
        operation_id="reading_create",
        request={"application/json": component("NewReading")},
        responses={201: component("ReadingStored")},
        parameters=[*INGEST_HEADERS, PRECISION],
        examples=[
            OpenApiExample("Reading", {"x": 1.0, "y": 2.0, "z": 3.0}, request_only=True),
            OpenApiExample(
                "Seconds since 1970",
                {"timestamp": 1795253460.25, "x": 1.0, "y": 2.0, "z": 3.0},
                request_only=True,
            ),
            OpenApiExample("Stored", {"status": "ok"}, response_only=True, status_codes=["201"]),
        ],
    )
    def post(self, request: Request, uuid: UUID) -> Response:
        """Post one reading of a device.

        The body has a number for each channel of the device's profile and optionally `timestamp` (ISO 8601,
        or a number: seconds since 1970; default: now). The answer comes after the reading is committed. A
        timestamp without an offset is read in the device's time zone, and the answer names that zone as
        `assumed_timezone`.
        """
        target = posting_target(request, uuid)
        return self.store(request, partial(intake.take_one, target, unit=self.unit(request)))


def batch_schema(operation_id: str, kind: str, item: dict[str, Any]) -> Any:
    """Describe the post of a batch; `kind` is the component of an item."""
    return extend_schema(
        operation_id=operation_id,
        request={"application/json": component_list(kind) | {"maxItems": decoding.MAX_ITEMS}},
        responses={201: component("Receipt")},
        parameters=[*INGEST_HEADERS, PARTIAL, PRECISION],
        examples=[OpenApiExample("Readings", [item], request_only=True), RECEIPT],
    )


class DeviceBatch(IngestView):
    query_parameters = ("partial", "precision")

    @batch_schema(
        "reading_batch_create",
        "StampedReading",
        {"timestamp": "2026-11-21T09:31:00Z", "x": 1.0, "y": 2.0, "z": 3.0},
    )
    def post(self, request: Request, uuid: UUID) -> Response:
        """Post up to 10,000 readings of a device, each with its timestamp.

        All are stored or none. With `partial=true` the good ones are, and the receipt names the others.
        """
        target = posting_target(request, uuid)
        options = self.batch_options(request)
        if self.state.deferred is not None:
            return self.store(request, partial(intake.take_batch_at_once, target, unit=options["unit"]))
        return self.store(request, partial(intake.take_batch, target, **options))


class SensorData(IngestView):
    query_parameters = ("partial", "precision")
    conflicts = {
        "POST": "The Idempotency-Key was used for another request, or the owner has as many devices as "
        "possible and the batch has new sensors."
    }

    @batch_schema(
        "sensor_data_create",
        "SensorReading",
        {"sensor": "boiler/1", "timestamp": "2026-11-21T10:31:00+01:00", "value": 61.5},
    )
    def post(self, request: Request) -> Response:
        """Post up to 10,000 readings of any mix of sensors.

        A new sensor is registered as a device of profile `scalar` that the holder of the credential owns.
        All readings are stored or none, unless `partial=true`.
        """
        if isinstance(request.auth, DeviceKey):
            raise PermissionDenied("A device's key is good for its own readings only.")
        user_id = request.auth.user_id if isinstance(request.auth, Grant) else request.user.pk
        sensors = OwnSensors(cast(int, user_id))
        return self.store(request, partial(intake.take_sensors, sensors, **self.batch_options(request)))


def holder(request: Request) -> str:
    """Name the holder of Idempotency-Keys and rate; in demo mode a user without a credential."""
    auth: Any = request.auth
    if isinstance(auth, Grant):
        return auth.holder
    return grants.holder_of(auth) if auth else f"user:{request.user.pk}"


def posting_target(request: Request, uuid: UUID) -> Target:
    """Find the device that this credential may post for; 404 for any other, 403 for an inactive one."""
    if isinstance(request.auth, Grant):
        return cast(Target, request.auth.target)
    if isinstance(request.auth, DeviceKey):
        device = get_object_or_404(Device.objects.with_channels(), pk=request.auth.device_id, uuid=uuid)
    else:
        device = visible_device(request, uuid)
    if not device.is_active:
        raise PermissionDenied("This device is inactive.")
    return Target.of(device)
