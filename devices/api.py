from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.functional import cached_property
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import generics
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import exclusions, storage
from devices.filters import DeviceFilter, ExclusionFilter
from devices.models import Device, DeviceKey, Exclusion
from devices.serializers import DeviceKeySerializer, DeviceSerializer, ExclusionSerializer
from users.models import Scope
from users.permissions import require_scope

DONE_EXAMPLE = [OpenApiExample("Done", None, status_codes=["204"])]


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

    @extend_schema(operation_id="device_delete", responses={204: None}, examples=DONE_EXAMPLE)
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

    @extend_schema(operation_id="key_revoke", request=None, responses={204: None}, examples=DONE_EXAMPLE)
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


def require_staff(request: Request) -> None:
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may exclude readings.")


def visible_device(request: Request, uuid: UUID, *, lock: bool = False) -> Device:
    """With `lock`, in a transaction: nobody changes or erases it before the end of that."""
    devices = Device.objects.visible_to(request.user).with_channels()
    if lock:
        devices = devices.select_for_update(of=("self",))
    return get_object_or_404(devices, uuid=uuid)


def save_or_conflict(serializer: DeviceSerializer) -> None:
    """Two registrations with the same external id at the same moment: the database refuses the second."""
    try:
        with transaction.atomic():
            serializer.save()
    except IntegrityError as error:
        if error.__cause__.diag.constraint_name != "device_external_id_unique":
            raise
        raise ValidationError({"external_id": "The owner has a device with this external id."}) from error
