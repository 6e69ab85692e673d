from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.functional import cached_property
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.authentication import get_authorization_header
from rest_framework.exceptions import APIException, ParseError, PermissionDenied, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import access, bodies, exclusions, ingest, limits, statistics, storage
from devices.access import Grant, OwnSensors
from devices.authentication import PostsReadings
from devices.filters import DeviceFilter, ExclusionFilter
from devices.gate import AT_ONCE
from devices.ingest import Taken, Target
from devices.models import Device, DeviceKey, Exclusion
from devices.periods import Period
from devices.readings import reading_page
from devices.serializers import DeviceKeySerializer, DeviceSerializer, ExclusionSerializer, stamp_text
from devices.writer import KeyConflict, Once, Unavailable, is_key, store_now
from users.models import Scope
from users.permissions import require_scope

NOTHING = [OpenApiExample("Done", None, status_codes=["204"])]
READING = {"device_id": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10", "timestamp": "2026-11-21T09:31:00Z"}
RECEIPT = OpenApiExample("Receipt", {"accepted": 1, "rejected": []}, response_only=True, status_codes=["201"])
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="The same key with the same body is stored once, and answered with the first receipt.",
)
CODING = OpenApiParameter(
    "Content-Encoding", str, OpenApiParameter.HEADER, enum=["gzip", "zstd"], description="Of a packed body."
)
RATE = [
    OpenApiParameter(name, int, OpenApiParameter.HEADER, response=True, description=description)
    for name, description in (
        ("RateLimit-Limit", "Requests a minute of this device, or of all tokens of this user."),
        ("RateLimit-Remaining", "How many of them are left."),
        ("RateLimit-Reset", "Seconds until all are there again."),
    )
]
INGEST_HEADERS = [IDEMPOTENCY_KEY, CODING, *RATE]
PARTIAL = OpenApiParameter("partial", bool, description="Store the good ones, report the others.")
READING_LIST = {
    "parameters": [
        OpenApiParameter(
            "start", OpenApiTypes.DATETIME, description="From here on; naive: the device's zone."
        ),
        OpenApiParameter("end", OpenApiTypes.DATETIME, description="Before this."),
        OpenApiParameter("limit", int, description="1 to 1000; 100 if left out."),
        OpenApiParameter("cursor", str, description="From the `Link` header of the page before."),
    ],
    "responses": {200: OpenApiTypes.OBJECT},
    "examples": [OpenApiExample("Readings", [READING | {"x": 1.0, "y": 2.0, "z": 3.0}])],
}


class DeviceList(generics.ListCreateAPIView):
    serializer_class = DeviceSerializer
    filterset_class = DeviceFilter
    query_parameters = ()

    def get_queryset(self) -> Any:
        return Device.objects.visible_to(self.request.user).with_channels()

    def list(self, request: Request) -> Response:
        devices = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        latest = storage.current().latest([device.pk for device in devices])
        context = {"request": request, "latest": latest}
        return self.get_paginated_response(DeviceSerializer(devices, many=True, context=context).data)

    @extend_schema(operation_id="device_list")
    def get(self, request: Request) -> Response:
        """List devices."""
        return self.list(request)

    @extend_schema(operation_id="device_create")
    def post(self, request: Request) -> Response:
        """Register a device.

        The answer carries its first `key`, which is not shown again.
        """
        serializer = DeviceSerializer(data=request.data, context={"request": request, "latest": {}})
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            save_or_conflict(serializer)
            _key, text = DeviceKey.issue(device=serializer.instance)
        return Response(serializer.data | {"key": text}, status=201)


class DeviceDetail(APIView):
    query_parameters = ()

    def found(self, uuid: UUID, *, lock: bool = False) -> tuple[Device, dict]:
        """The device, and the context that its serializer needs."""
        device = visible_device(self.request, uuid, lock=lock)
        return device, {"request": self.request, "latest": storage.current().latest([device.pk])}

    @extend_schema(operation_id="device_read", responses=DeviceSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        """One device, with its channels and its last reading."""
        device, context = self.found(uuid)
        return Response(DeviceSerializer(device, context=context).data)

    @extend_schema(
        operation_id="device_change", request=DeviceSerializer(partial=True), responses=DeviceSerializer
    )
    @transaction.atomic
    def patch(self, request: Request, uuid: UUID) -> Response:
        """Change a device.

        All but its profile: that says what its readings are.
        """
        device, context = self.found(uuid, lock=True)
        serializer = DeviceSerializer(device, data=request.data, partial=True, context=context)
        serializer.is_valid(raise_exception=True)
        save_or_conflict(serializer)
        return Response(serializer.data)

    @extend_schema(operation_id="device_delete", responses={204: None}, examples=NOTHING)
    def delete(self, request: Request, uuid: UUID) -> Response:
        """Erase a device with its readings."""
        with transaction.atomic():
            visible_device(request, uuid, lock=True).erase()
        return Response(status=204)


class KeyList(APIView):
    query_parameters = ()

    @extend_schema(operation_id="key_list", responses=DeviceKeySerializer(many=True))
    def get(self, request: Request, uuid: UUID) -> Response:
        """List a device's keys, without their secrets."""
        return Response(DeviceKeySerializer(visible_device(request, uuid).keys.all(), many=True).data)

    @extend_schema(
        operation_id="key_rotate",
        request=DeviceKeySerializer,
        responses={201: DeviceKeySerializer},
        examples=[
            OpenApiExample(
                "Rotated",
                {"prefix": "pld_77c1e0ab", "expires_at": None, "key": "pld_77c1e0ab.…"},
                response_only=True,
                status_codes=["201"],
            )
        ],
    )
    @transaction.atomic
    def post(self, request: Request, uuid: UUID) -> Response:
        """Rotate: issue a new key, shown this once.

        The older ones stay valid for `overlap_seconds`, a day if left out. As whoever has a key can post with
        it, a token needs the scope `ingest` beside `write`.
        """
        device = visible_device(request, uuid, lock=True)
        require_scope(request, Scope.INGEST)
        serializer = DeviceKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key, text = device.rotate_key(overlap=timedelta(seconds=serializer.validated_data["overlap_seconds"]))
        return Response(DeviceKeySerializer(key).data | {"key": text}, status=201)


class KeyDetail(APIView):
    query_parameters = ()

    @extend_schema(operation_id="key_revoke", request=None, responses={204: None}, examples=NOTHING)
    def delete(self, request: Request, uuid: UUID, prefix: str) -> Response:
        """Revoke a key at once."""
        get_object_or_404(visible_device(request, uuid).keys, prefix=prefix).revoke(timezone.now())
        return Response(status=204)


class ExclusionList(generics.ListCreateAPIView):
    queryset = Exclusion.objects.none()
    serializer_class = ExclusionSerializer
    filterset_class = ExclusionFilter
    query_parameters = ()

    @cached_property
    def device(self) -> Device:
        return visible_device(self.request, self.kwargs["uuid"])

    def get_queryset(self) -> Any:
        return self.device.exclusions.all()

    def get_serializer_context(self) -> dict[str, Any]:
        return {"device": self.device}

    @extend_schema(operation_id="exclusion_list")
    def get(self, request: Request, uuid: UUID) -> Response:
        """List a device's exclusions, the lifted ones too.

        What staff have marked as wrong, who did it, when and why. Statistics leave out what an active one
        covers.
        """
        return self.list(request)

    @extend_schema(operation_id="exclusion_create")
    def post(self, request: Request, uuid: UUID) -> Response:
        """Exclude readings from statistics (staff only).

        Those of the half-open period from `start` to `end`, late ones too; or with `reading` what has exactly
        this stamp and these values. The readings stay stored and listed. Exclusions may overlap.
        """
        device = self.device
        require_staff(request)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        exclusion = exclusions.make(
            device,
            serializer.extent,
            reason=serializer.validated_data["reason"],
            by=request.user.login,
            now=timezone.now(),
        )
        return Response(self.get_serializer(exclusion).data, status=201)


class ExclusionDetail(APIView):
    query_parameters = ()

    def found(self, uuid: UUID, pk: int) -> tuple[Exclusion, dict[str, Any]]:
        """The exclusion, and the context that its serializer needs."""
        device = visible_device(self.request, uuid)
        return get_object_or_404(device.exclusions, pk=pk), {"device": device}

    @extend_schema(operation_id="exclusion_read", responses=ExclusionSerializer)
    def get(self, request: Request, uuid: UUID, pk: int) -> Response:
        """One exclusion of a device."""
        exclusion, context = self.found(uuid, pk)
        return Response(ExclusionSerializer(exclusion, context=context).data)


class ExclusionLift(ExclusionDetail):
    http_method_names = ("post", "options")

    @extend_schema(operation_id="exclusion_lift", request=None, responses=ExclusionSerializer)
    def post(self, request: Request, uuid: UUID, pk: int) -> Response:
        """Lift an exclusion: its readings count again (staff only).

        Its row is kept, with who lifted it and when. Lifting it again changes nothing.
        """
        exclusion, context = self.found(uuid, pk)
        require_staff(request)
        exclusions.lift(exclusion, by=request.user.login, now=timezone.now())
        exclusion.refresh_from_db()
        return Response(ExclusionSerializer(exclusion, context=context).data)


class TooLarge(APIException):
    status_code = 413


class Conflict(APIException):
    status_code = 409


class TryAgain(APIException):
    status_code = 503

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        # REST framework puts it into the Retry-After header, in seconds.
        self.wait = 1


class TooFast(APIException):
    status_code = 429

    def __init__(self, error: limits.TooFast) -> None:
        super().__init__(str(error))
        self.wait = error.seconds


class UnknownCoding(APIException):
    status_code = 415


class RawJSON(BaseParser):
    """The body as bytes, unpacked, for `ingest` to decode; other media types are 415."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: dict | None = None) -> bytes:
        request = parser_context["request"]
        try:
            # Through Django's request, which bounds the size.
            return bodies.unpacked(request._request.body, request.headers.get("Content-Encoding", ""))
        except bodies.UnknownCoding as error:
            raise UnknownCoding(str(error)) from error
        except bodies.Corrupt as error:
            raise ParseError(str(error)) from error
        except bodies.TooLarge as error:
            raise TooLarge(str(error)) from error


class AlwaysJSON(DefaultContentNegotiation):
    """A reading is not refused for what its sender would rather read; nor does the gate look."""

    def select_renderer(
        self, request: Request, renderers: list[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class IngestView(APIView):
    """The full door for readings; `devices.gate` answers the ordinary ones before.

    What is wrong with a body, `ingest.Refused`, is made an answer by the handler of all errors.
    """

    permission_classes = (PostsReadings,)
    content_negotiation_class = AlwaysJSON
    parser_classes = (RawJSON,)
    query_parameters: tuple[str, ...] = ()
    # RateLimit-*, for the answer.
    rate: limits.Headers = []

    @cached_property
    def state(self) -> dict[str, Any]:
        """What the gate knows of this request."""
        return self.request.META.get("asgi.scope", {}).get("state", {})

    def perform_authentication(self, request: Request) -> None:
        """The plain cases are kept, as they are for the gate, which may have looked already."""
        grant = self.state.get("grant")
        if grant is None:
            question = get_authorization_header(request), self.kwargs.get("uuid")
            grant = access.grant(question) if question[0] else None
        if grant is None:
            super().perform_authentication(request)
        else:
            request.user, request.auth = AnonymousUser(), grant

    def check_throttles(self, request: Request) -> None:
        """REST framework's hook behind the permissions: the holder's rate, unless the gate counted it."""
        try:
            self.rate = self.state["rate"] if "rate" in self.state else limits.take_now(holder(request))
        except limits.TooFast as error:
            self.rate = error.headers
            raise TooFast(error) from error

    def handle_exception(self, error: Exception) -> Response:
        response = super().handle_exception(error)
        if isinstance(error, UnknownCoding):
            response["Accept-Encoding"] = bodies.ACCEPTED  # RFC 7694
        return response

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        for name, value in self.rate:
            response[name.decode()] = value.decode()
        return super().finalize_response(request, response, *args, **kwargs)

    def store(self, request: Request, take: Callable[[bytes, datetime], Taken]) -> Response:
        """Decode with `take`, store, and answer with the receipt. Raises ingest.Refused."""
        body = request.data or b""
        try:
            taken, once = take(body, timezone.now()), self.once(request, body)
            if AT_ONCE in self.state:
                self.state[AT_ONCE].taken, self.state[AT_ONCE].once = taken, once
                return Response(taken.receipt, status=201)
            return Response(store_now(taken, once), status=201)
        except ingest.TooMany as error:
            raise TooLarge(str(error)) from error
        except KeyConflict as error:
            raise Conflict(str(error)) from error
        except Unavailable as error:
            raise TryAgain(str(error)) from error

    def once(self, request: Request, body: bytes) -> Once | None:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return None
        if not is_key(key):
            raise ValidationError({"Idempotency-Key": "Must be 1 to 255 printable ASCII characters."})
        return Once.of(holder(request), key, request.path, body)

    def skip_bad(self, request: Request) -> bool:
        text = request.query_params.get("partial", "false")
        if text not in ("true", "false"):
            raise ValidationError({"partial": "Must be true or false."})
        return text == "true"


class DeviceStats(IngestView):
    @extend_schema(
        operation_id="reading_create",
        request=OpenApiTypes.OBJECT,
        responses={201: OpenApiTypes.OBJECT},
        parameters=INGEST_HEADERS,
        examples=[
            OpenApiExample("Reading", {"x": 1.0, "y": 2.0, "z": 3.0}, request_only=True),
            OpenApiExample("Stored", {"status": "ok"}, response_only=True, status_codes=["201"]),
        ],
    )
    def post(self, request: Request, uuid: UUID) -> Response:
        """Post one reading of a device.

        A number for each channel of the device's profile, and optionally `timestamp` (ISO 8601; now if
        left out). Answered after the reading is committed. A stamp without an offset is read in the device's
        time zone, which the answer then names as `assumed_timezone`.
        """
        target = posting_target(request, uuid)
        return self.store(request, partial(ingest.take_one, target))


class DeviceBatch(IngestView):
    query_parameters = ("partial",)

    @extend_schema(
        operation_id="reading_batch_create",
        request=OpenApiTypes.OBJECT,
        responses={201: OpenApiTypes.OBJECT},
        parameters=[*INGEST_HEADERS, PARTIAL],
        examples=[
            OpenApiExample(
                "Readings",
                [{"timestamp": "2026-11-21T09:31:00Z", "x": 1.0, "y": 2.0, "z": 3.0}],
                request_only=True,
            ),
            RECEIPT,
        ],
    )
    def post(self, request: Request, uuid: UUID) -> Response:
        """Post up to 10,000 readings of a device, each with its stamp.

        All or nothing, unless `partial=true`: then the good ones are stored and the receipt names the others.
        """
        target = posting_target(request, uuid)
        return self.store(request, partial(ingest.take_batch, target, skip_bad=self.skip_bad(request)))


class SensorData(IngestView):
    query_parameters = ("partial",)

    @extend_schema(
        operation_id="sensor_data_create",
        request=OpenApiTypes.OBJECT,
        responses={201: OpenApiTypes.OBJECT},
        parameters=[*INGEST_HEADERS, PARTIAL],
        examples=[
            OpenApiExample(
                "Readings",
                [{"sensor": "boiler/1", "timestamp": "2026-11-21T10:31:00+01:00", "value": 61.5}],
                request_only=True,
            ),
            RECEIPT,
        ],
    )
    def post(self, request: Request) -> Response:
        """Post up to 10,000 readings of any mix of sensors.

        A sensor seen for the first time is registered as a device of profile `scalar`, owned by whoever holds
        the credential. All or nothing, unless `partial=true`.
        """
        if isinstance(request.auth, DeviceKey):
            raise PermissionDenied("A device's key is good for its own readings only.")
        is_known = isinstance(request.auth, Grant)
        sensors = OwnSensors(request.auth.user_id if is_known else request.user.pk)
        return self.store(request, partial(ingest.take_sensors, sensors, skip_bad=self.skip_bad(request)))


class SensorStatistics(APIView):
    query_parameters = ()

    @extend_schema(
        operation_id="sensor_statistics",
        responses={200: OpenApiTypes.OBJECT},
        examples=[
            OpenApiExample(
                "Statistics", {"last_measurement": "2026-11-21T09:31:00Z", "count": 2, "avg": 60.25}
            )
        ],
    )
    def get(self, request: Request, sensor: str) -> Response:
        """Count, average and largest stamp of a sensor.

        Right at once after a post was answered, through every process; excluded readings are left out. Of an
        unknown sensor null, 0 and 0.0.
        """
        device = sensor_device(request, sensor_name(request, sensor))
        if device is None:
            return Response({"last_measurement": None, "count": 0, "avg": 0.0})
        answer = statistics.of_device(device, Period())
        last, mean = answer.last and stamp_text(answer.last), next(iter(answer.channels.values())).avg
        return Response({"last_measurement": last, "count": answer.readings, "avg": mean or 0.0})

    @extend_schema(operation_id="sensor_clear", responses={204: None}, examples=NOTHING)
    def delete(self, request: Request, sensor: str) -> Response:
        """Delete all readings of a sensor; later ones start from zero."""
        device = sensor_device(request, sensor_name(request, sensor))
        if device is not None:
            device.clear()
        return Response(status=204)


class ReadingList(APIView):
    query_parameters = ("start", "end", "limit", "cursor")

    @extend_schema(operation_id="reading_list", **READING_LIST)
    def get(self, request: Request) -> Response:
        """List the readings of every device that you may see, newest first."""
        return reading_page(request, Device.objects.visible_to(request.user), UTC)


class DeviceReadingList(APIView):
    query_parameters = ("start", "end", "limit", "cursor")

    @extend_schema(operation_id="device_reading_list", **READING_LIST)
    def get(self, request: Request, uuid: UUID) -> Response:
        """List a device's readings, newest first."""
        device = visible_device(request, uuid)
        return reading_page(request, Device.objects.filter(pk=device.pk), device.zone)


def require_staff(request: Request) -> None:
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may exclude readings.")


def sensor_name(request: Request, path: str) -> str:
    """A slash at the end is the path's, as on every route, unless it came as %2F: then it is the sensor's."""
    scope = request.META.get("asgi.scope")
    is_ours = scope is None or scope["raw_path"].endswith(b"/")
    return path.removesuffix("/") if is_ours else path


def holder(request: Request) -> str:
    """Whose Idempotency-Keys and whose rate; in demo mode, a user without a credential."""
    if isinstance(request.auth, Grant):
        return request.auth.holder
    return access.holder(request.auth) if request.auth else f"user:{request.user.pk}"


def sensor_device(request: Request, sensor: str) -> Device | None:
    """The asker's own device of this external id; staff without one get that of the owner who was first."""
    if "\0" in sensor:
        return None
    found = Device.objects.visible_to(request.user).with_channels()
    found = found.filter(external_id=sensor).order_by("id")
    return found.filter(owner=request.user).first() or found.first()


def visible_device(request: Request, uuid: UUID, *, lock: bool = False) -> Device:
    """With `lock`, in a transaction: nobody changes or erases it before the end of that."""
    devices = Device.objects.visible_to(request.user).with_channels()
    if lock:
        devices = devices.select_for_update(of=("self",))
    return get_object_or_404(devices, uuid=uuid)


def posting_target(request: Request, uuid: UUID) -> Target:
    """The device that this credential may post for; 404 for any other, 403 for an inactive one."""
    if isinstance(request.auth, Grant):
        return request.auth.target
    if isinstance(request.auth, DeviceKey):
        device = get_object_or_404(Device.objects.with_channels(), pk=request.auth.device_id, uuid=uuid)
    else:
        device = visible_device(request, uuid)
    if not device.is_active:
        raise PermissionDenied("This device is inactive.")
    return Target.of(device)


def save_or_conflict(serializer: DeviceSerializer) -> None:
    """Two registrations with the same external id at the same moment: the database refuses the second."""
    try:
        with transaction.atomic():
            serializer.save()
    except IntegrityError as error:
        if error.__cause__.diag.constraint_name != "device_external_id_unique":
            raise
        raise ValidationError({"external_id": "The owner has a device with this external id."}) from error
