from typing import Any, cast

import psycopg2
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import generics
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices import profiles
from devices.models import Device, DeviceProfile
from devices.profiles.serializers import PUMP, ProfileSerializer
from users.api_errors import Conflict

UNIQUE_VIOLATION = "23505"
FIXED = "It is built in or in use: its channels are fixed, and it can't be deleted."


def profiles_with_channels() -> Any:
    in_use = Exists(Device.objects.filter(profile=OuterRef("pk")))
    return DeviceProfile.objects.annotate(in_use=in_use).prefetch_related("channels")


class ProfileList(generics.ListCreateAPIView):
    serializer_class = ProfileSerializer
    queryset = profiles_with_channels()
    filter_backends = ()
    query_parameters = ()

    @staticmethod
    def weigh(profile: DeviceProfile) -> int:
        return len(profile.channels.all())

    @extend_schema(operation_id="profile_list")
    def get(self, request: Request) -> Response:
        """List profiles with their channels.

        A profile says what a reading of its devices contains; the channels are in the order in which values
        are stored. `built_in` ones and those `in_use` keep the names and the order of their channels.
        """
        return self.list(request)

    @extend_schema(operation_id="profile_create")
    def post(self, request: Request) -> Response:
        """Add a profile (staff only).

        The order of `channels` is the order of a reading's stored values.
        """
        require_staff(request)
        serializer = ProfileSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields, channels = split(serializer.validated_data)
        profile = call_or_refuse(lambda: profiles.create(fields, channels or []))
        return Response(body(profile), status=201)


class ProfileDetail(APIView):
    query_parameters = ()
    conflicts = {"PATCH": FIXED, "DELETE": FIXED}

    def locked(self, name: str) -> DeviceProfile:
        """Lock the profile until the end of the transaction: no device is registered with it meanwhile."""
        return get_object_or_404(DeviceProfile.objects.select_for_update(), name=name)

    @extend_schema(operation_id="profile_read", responses=ProfileSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Get a profile with its channels."""
        return Response(ProfileSerializer(get_object_or_404(profiles_with_channels(), name=name)).data)

    @extend_schema(
        operation_id="profile_change",
        request=ProfileSerializer(partial=True),
        responses=ProfileSerializer,
        examples=[
            OpenApiExample("Channels", {"channels": PUMP["channels"]}, request_only=True),
            OpenApiExample("Profile", PUMP | {"built_in": False, "in_use": True}, response_only=True),
        ],
    )
    @transaction.atomic
    def patch(self, request: Request, name: str) -> Response:
        """Change a profile (staff only).

        `channels` replaces all channels. In a profile that is built in or in use, they must have the same
        names in the same order, and only units, kinds, ranges and decimals change. A new range holds for
        readings that come later.
        """
        require_staff(request)
        profile = self.locked(name)
        serializer = ProfileSerializer(profile, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        fields, channels = split(serializer.validated_data)
        call_or_refuse(lambda: profiles.change(profile, fields, channels))
        return Response(body(profile))

    @extend_schema(
        operation_id="profile_delete",
        responses={204: None},
        examples=[OpenApiExample("Done", None, status_codes=["204"])],
    )
    @transaction.atomic
    def delete(self, request: Request, name: str) -> Response:
        """Delete a profile that no device uses (staff only)."""
        require_staff(request)
        profile = self.locked(name)
        call_or_refuse(lambda: profiles.delete(profile))
        return Response(status=204)


def require_staff(request: Request) -> None:
    if not request.user.is_staff:
        raise PermissionDenied("Only staff may change profiles.")


def split(fields: dict[str, Any]) -> tuple[dict[str, Any], list | None]:
    """The profile's own fields, and its channels if they are given."""
    return {name: value for name, value in fields.items() if name != "channels"}, fields.get("channels")


def body(profile: DeviceProfile) -> dict[str, Any]:
    return ProfileSerializer(profiles_with_channels().get(pk=profile.pk)).data


def call_or_refuse(change: Any) -> Any:
    """Turn the refusal of a change, and a name that a concurrent request has just taken, into an answer."""
    try:
        with transaction.atomic():
            return change()
    except profiles.ProfileFixed as error:
        raise Conflict(str(error)) from error
    except IntegrityError as error:
        if cast(psycopg2.Error, error.__cause__).pgcode != UNIQUE_VIOLATION:
            raise
        raise ValidationError({"name": "There is a profile of this name."}) from error
