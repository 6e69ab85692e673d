from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.functional import cached_property
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import generics
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import exclusions
from devices.authentication import visible_device
from devices.exclusions.serializers import (
    EXAMPLE_EXCLUSION,
    PERIOD_EXAMPLE,
    READING_EXAMPLE,
    ExclusionSerializer,
)
from devices.filters import ExclusionFilter
from devices.models import Device, Exclusion
from users.permissions import signed_in
from users.serializers import component


class ExclusionList(generics.ListCreateAPIView):
    queryset = Exclusion.objects.none()
    serializer_class = ExclusionSerializer
    filterset_class = ExclusionFilter
    query_parameters = ()
    conflicts = {"POST": "The device has as many exclusions in force as possible: lift some."}

    @cached_property
    def device(self) -> Device:
        return visible_device(self.request, self.kwargs["uuid"])

    def get_queryset(self) -> Any:
        return self.device.exclusions.all()

    def get_serializer_context(self) -> dict[str, Any]:
        return {"device": self.device}

    @extend_schema(operation_id="exclusion_list")
    def get(self, request: Request, uuid: UUID) -> Response:
        """List a device's exclusions, including lifted ones.

        An exclusion marks readings as wrong, and says who marked them, when and why. Statistics leave out the
        readings of active exclusions.
        """
        return self.list(request)

    @extend_schema(
        operation_id="exclusion_create",
        request={"application/json": component("ExclusionRequest")},
        examples=[
            OpenApiExample("Period", PERIOD_EXAMPLE, request_only=True),
            OpenApiExample("Single reading", READING_EXAMPLE, request_only=True),
            OpenApiExample("Exclusion", EXAMPLE_EXCLUSION, response_only=True, status_codes=["201"]),
        ],
    )
    def post(self, request: Request, uuid: UUID) -> Response:
        """Exclude readings from statistics (staff only).

        Either all readings of the half-open period from `start` to `end`, including late ones, or with
        `reading` those with exactly this timestamp and these values. The readings stay stored and listed.
        Exclusions may overlap.
        """
        device = self.device
        require_staff(request)
        serializer = ExclusionSerializer(data=request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        exclusion = exclusions.make(
            device,
            serializer.extent,
            reason=serializer.validated_data["reason"],
            by=signed_in(request).login,
            now=timezone.now(),
        )
        return Response(self.get_serializer(exclusion).data, status=201)


class ExclusionDetail(APIView):
    query_parameters = ()

    def find_with_context(self, uuid: UUID, pk: int) -> tuple[Exclusion, dict[str, Any]]:
        """Return the exclusion and its serializer's context. Raises Http404."""
        device = visible_device(self.request, uuid)
        return get_object_or_404(device.exclusions, pk=pk), {"device": device}

    @extend_schema(operation_id="exclusion_read", responses=ExclusionSerializer)
    def get(self, request: Request, uuid: UUID, pk: int) -> Response:
        """Get an exclusion of a device."""
        exclusion, context = self.find_with_context(uuid, pk)
        return Response(ExclusionSerializer(exclusion, context=context).data)


class ExclusionLift(ExclusionDetail):
    http_method_names = ("post", "options")

    @extend_schema(operation_id="exclusion_lift", request=None, responses=ExclusionSerializer)
    def post(self, request: Request, uuid: UUID, pk: int) -> Response:
        """Lift an exclusion: its readings count again (staff only).

        The exclusion stays listed, with who lifted it and when. Lifting it again changes nothing.
        """
        exclusion, context = self.find_with_context(uuid, pk)
        require_staff(request)
        exclusions.lift(exclusion, by=signed_in(request).login, now=timezone.now())
        exclusion.refresh_from_db()
        return Response(ExclusionSerializer(exclusion, context=context).data)


def require_staff(request: Request) -> None:
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may exclude readings.")
