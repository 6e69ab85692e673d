from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import psycopg2
from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import storage
from devices.authentication import visible_device
from devices.filters import DeviceFilter
from devices.models import Device, DeviceKey
from devices.rhythm.habits import habits_of
from devices.serializers import (
    DeviceKeySerializer,
    DeviceSerializer,
    NewDeviceKeySerializer,
    RegisteredDeviceSerializer,
)
from users.models import SHOWN_ONCE, Scope, Token
from users.permissions import require_scope

DONE_EXAMPLE = [OpenApiExample("Done", None, status_codes=["204"])]


def devices_context(devices: Sequence[Device]) -> dict[str, Any]:
    """What DeviceSerializer needs beside the devices: their last readings and their habits."""
    return {
        "latest": storage.current().latest([device.pk for device in devices]),
        "habits": habits_of(devices),
    }


class DeviceList(generics.ListCreateAPIView):
    serializer_class = DeviceSerializer
    filterset_class = DeviceFilter
    query_parameters = ()
    conflicts = {"POST": "The owner has as many devices as possible."}

    @staticmethod
    def weigh(device: Device) -> int:
        return len(device.channels)

    def get_queryset(self) -> Any:
        return Device.objects.visible_to(self.request.user).with_channels()

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        devices = cast("list[Device]", page)
        context = {"request": request, **devices_context(devices)}
        return self.get_paginated_response(DeviceSerializer(devices, many=True, context=context).data)

    @extend_schema(operation_id="device_list")
    def get(self, request: Request) -> Response:
        """List devices."""
        return self.list(request)

    @extend_schema(operation_id="device_create", responses={201: RegisteredDeviceSerializer})
    def post(self, request: Request) -> Response:
        """Register a device.

        The response contains the device's first `key`, which is not shown again. A token without the scope
        `ingest` may not post readings, so it gets none.
        """
        context: dict[str, Any] = {"request": request, "latest": {}, "habits": {}}
        serializer = DeviceSerializer(data=request.data, context=context)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            save_or_conflict(serializer)
            text = DeviceKey.issue(device=serializer.instance)[1] if may_post(request) else None
        return Response(serializer.data | {"key": text}, status=201, headers=SHOWN_ONCE)


class DeviceDetail(APIView):
    query_parameters = ()
    conflicts = {"PATCH": "The new owner has as many devices as possible."}

    def find_with_context(self, uuid: UUID, *, lock: bool = False) -> tuple[Device, dict]:
        """Return the device and its serializer's context. Raises Http404."""
        device = visible_device(self.request, uuid, lock=lock)
        return device, {"request": self.request, **devices_context([device])}

    @extend_schema(operation_id="device_read", responses=DeviceSerializer)
    def get(self, request: Request, uuid: UUID) -> Response:
        """Get a device, with its channels and its last reading."""
        device, context = self.find_with_context(uuid)
        return Response(DeviceSerializer(device, context=context).data)

    @extend_schema(
        operation_id="device_change", request=DeviceSerializer(partial=True), responses=DeviceSerializer
    )
    @transaction.atomic
    def patch(self, request: Request, uuid: UUID) -> Response:
        """Change a device.

        Every field may change except the profile, which gives the stored readings their meaning. With another
        owner the keys stay valid unless `revoke_keys` is true.
        """
        device, context = self.find_with_context(uuid, lock=True)
        serializer = DeviceSerializer(device, data=request.data, partial=True, context=context)
        serializer.is_valid(raise_exception=True)
        save_or_conflict(serializer)
        context["habits"] = habits_of([device])
        return Response(serializer.data)

    @extend_schema(operation_id="device_delete", responses={204: None}, examples=DONE_EXAMPLE)
    def delete(self, request: Request, uuid: UUID) -> Response:
        """Erase a device and its readings."""
        with transaction.atomic():
            visible_device(request, uuid, lock=True).erase()
        return Response(status=204)


class KeyList(generics.ListCreateAPIView):
    queryset = DeviceKey.objects.none()
    serializer_class = DeviceKeySerializer
    filter_backends = ()
    query_parameters = ()
    conflicts = {"POST": "The device has as many valid keys as possible: revoke some."}

    def get_queryset(self) -> Any:
        return visible_device(self.request, self.kwargs["uuid"]).keys.all()

    @extend_schema(operation_id="key_list")
    def get(self, request: Request, uuid: UUID) -> Response:
        """List a device's keys, without their secrets."""
        return self.list(request)

    @extend_schema(
        operation_id="key_rotate",
        request=DeviceKeySerializer,
        responses={201: NewDeviceKeySerializer},
    )
    @transaction.atomic
    def post(self, request: Request, uuid: UUID) -> Response:
        """Rotate a device's key: issue a new one.

        Only this response contains the new `key`. Older keys stay valid for `overlap_seconds`, one day by
        default. A key allows posting readings, so a token needs the scope `ingest` as well as `write`.
        """
        device = visible_device(request, uuid, lock=True)
        require_scope(request, Scope.INGEST)
        serializer = DeviceKeySerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key, text = device.rotate_key(overlap=timedelta(seconds=serializer.validated_data["overlap_seconds"]))
        return Response(DeviceKeySerializer(key).data | {"key": text}, status=201, headers=SHOWN_ONCE)


class KeyDetail(APIView):
    query_parameters = ()

    @extend_schema(operation_id="key_revoke", request=None, responses={204: None}, examples=DONE_EXAMPLE)
    def delete(self, request: Request, uuid: UUID, prefix: str) -> Response:
        """Revoke a key immediately."""
        get_object_or_404(visible_device(request, uuid).keys, prefix=prefix).revoke(timezone.now())
        return Response(status=204)


def may_post(request: Request) -> bool:
    """Tell whether whoever asks may post readings, and so may have a key that does."""
    return not isinstance(request.auth, Token) or Scope.INGEST in request.auth.scopes


def save_or_conflict(serializer: DeviceSerializer) -> None:
    """Save; turn a violated unique constraint, as by a concurrent request, into a validation error."""
    try:
        with transaction.atomic():
            serializer.save()
    except IntegrityError as error:
        if cast(psycopg2.Error, error.__cause__).diag.constraint_name != "device_external_id_unique":
            raise
        raise ValidationError({"external_id": "The owner has a device with this external id."}) from error
