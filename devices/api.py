from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import ingest, store
from devices.authentication import PostsReadings
from devices.filters import DeviceFilter
from devices.models import Device, DeviceKey
from devices.readings import reading_page
from devices.serializers import DeviceKeySerializer, DeviceSerializer

NOTHING = [OpenApiExample("Done", None, status_codes=["204"])]
READING = {"device_id": "0b5f9c1e-6f53-4d3e-9d0e-1d1f6c2b7a10", "timestamp": "2026-11-21T09:31:00Z"}
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
        latest = store.latest([device.pk for device in devices])
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
        return device, {"request": self.request, "latest": store.latest([device.pk])}

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

        Its profile can only change before the first reading.
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

        The older ones stay valid for `overlap_seconds`, a day if left out.
        """
        device = visible_device(request, uuid, lock=True)
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


class RawJSON(BaseParser):
    """The body as bytes, for `ingest` to decode; other media types are 415."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: dict | None = None) -> bytes:
        # Through Django's request, which bounds the size.
        return parser_context["request"]._request.body


class DeviceStats(APIView):
    permission_classes = (PostsReadings,)
    parser_classes = (RawJSON,)
    query_parameters = ()

    @extend_schema(
        operation_id="reading_create",
        request=OpenApiTypes.OBJECT,
        responses={201: OpenApiTypes.OBJECT},
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
        device = posting_device(request, uuid)
        try:
            receipt = ingest.post_reading(device, request.data or b"", timezone.now())
        except ingest.Refused as refused:
            raise ValidationError({error["field"]: error["message"] for error in refused.errors}) from refused
        return Response(receipt, status=201)


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


def visible_device(request: Request, uuid: UUID, *, lock: bool = False) -> Device:
    """With `lock`, in a transaction: nobody changes or erases it before the end of that."""
    devices = Device.objects.visible_to(request.user).with_channels()
    if lock:
        devices = devices.select_for_update(of=("self",))
    return get_object_or_404(devices, uuid=uuid)


def posting_device(request: Request, uuid: UUID) -> Device:
    """The device that this credential may post for; 404 for any other, 403 for an inactive one."""
    if isinstance(request.auth, DeviceKey):
        device = get_object_or_404(Device.objects.with_channels(), pk=request.auth.device_id, uuid=uuid)
    else:
        device = visible_device(request, uuid)
    if not device.is_active:
        raise PermissionDenied("This device is inactive.")
    return device


def save_or_conflict(serializer: DeviceSerializer) -> None:
    """Two registrations with the same external id at the same moment: the database refuses the second."""
    try:
        with transaction.atomic():
            serializer.save()
    except IntegrityError as error:
        if error.__cause__.diag.constraint_name != "device_external_id_unique":
            raise
        raise ValidationError({"external_id": "The owner has a device with this external id."}) from error
