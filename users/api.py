from typing import Any, cast

import psycopg2
from allauth.core import ratelimit
from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from users.account.adapters import MailFailed
from users.account.email_change import ask_for_confirmation
from users.api_errors import TooManyRequests, TryAgain
from users.filters import UserFilter
from users.models import Role, Token, User
from users.permissions import signed_in
from users.serializers import NewTokenSerializer, TokenSerializer, UserSerializer

# Fields by the name of their constraint; the login has two, since Django requires a unique login field.
UNIQUE_FIELDS = {
    "user_email_unique": "email",
    "user_login_unique": "login",
    "users_user_login_key": "login",
}


class UserList(generics.ListCreateAPIView):
    serializer_class = UserSerializer
    filterset_class = UserFilter
    query_parameters = ()

    def get_queryset(self) -> Any:
        return User.objects.visible_to(self.request.user)

    @extend_schema(operation_id="user_list")
    def get(self, request: Request) -> Response:
        """List users.

        Admin and staff see all users, an owner only themselves.
        """
        return self.list(request)

    @extend_schema(operation_id="user_create")
    def post(self, request: Request) -> Response:
        """Create a user (admin only).

        Without `login`, the part of the email before the @ becomes the login.
        """
        require_admin(request)
        return self.create(request)

    def perform_create(self, serializer: BaseSerializer) -> None:
        save_or_name_conflict(serializer)


class UserDetail(generics.RetrieveUpdateDestroyAPIView):
    serializer_class = UserSerializer
    http_method_names = ("get", "patch", "delete", "head", "options")
    query_parameters = ()
    delete_parameters = ("purge",)
    # Of somebody who must confirm it.
    new_email = ""

    def get_queryset(self) -> Any:
        return User.objects.visible_to(self.request.user)

    def get_object(self) -> User:
        # Lock the row before reading it, so that two requests cannot undo each other's changes.
        if self.request.method not in SAFE_METHODS:
            lock_admins()
            User.objects.select_for_update().filter(pk=self.kwargs["pk"]).first()
        return super().get_object()

    @extend_schema(operation_id="user_read")
    def get(self, request: Request, pk: int) -> Response:
        """Get a user."""
        return self.retrieve(request)

    @extend_schema(operation_id="user_change")
    def patch(self, request: Request, pk: int) -> Response:
        """Change a user.

        Users may change their own name and email; an admin may change every field of every user. Who is no
        admin gets a mail with a link to the new email, which counts once they have followed it: the answer
        still has the old one.
        """
        with transaction.atomic():
            if pk != request.user.pk:
                self.get_object()
                require_admin(request)
            response = self.partial_update(request)
        # Without the locks: a mail server may be slow.
        if self.new_email not in ("", response.data["email"]):
            confirm_by_mail(request, self.new_email)
        return response

    def perform_update(self, serializer: BaseSerializer) -> None:
        if not signed_in(self.request).is_admin:
            self.new_email = serializer.validated_data.pop("email", "")
        save_or_name_conflict(serializer)

    @extend_schema(
        operation_id="user_delete",
        parameters=[OpenApiParameter("purge", bool, description="Also erase devices and readings.")],
        examples=[OpenApiExample("Deleted", None, status_codes=["204"])],
    )
    @transaction.atomic
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a user (admin only).

        A user with devices is only deactivated, and all data stay. `purge=true` erases the user, the devices
        and all their readings.
        """
        user = self.get_object()
        require_admin(request)
        purge = request.query_params.get("purge", "false")
        if purge not in ("true", "false"):
            raise ValidationError({"purge": "Must be true or false."})
        if user.is_last_admin():
            raise ValidationError("The last active admin can't be deleted.")
        user.delete_or_deactivate(purge=purge == "true")
        return Response(status=204)


class TokenList(generics.ListCreateAPIView):
    queryset = Token.objects.none()
    serializer_class = TokenSerializer
    query_parameters = ()

    def holder(self) -> User:
        """Return the user of the path: oneself, or for an admin anybody. Raises PermissionDenied."""
        user = get_object_or_404(User.objects.visible_to(self.request.user), pk=self.kwargs["pk"])
        if user != self.request.user:
            require_admin(self.request)
        return user

    def get_queryset(self) -> Any:
        return self.holder().tokens.all()

    @extend_schema(operation_id="token_list")
    def get(self, request: Request, pk: int) -> Response:
        """List a user's tokens, without their secrets."""
        return self.list(request)

    @extend_schema(operation_id="token_create", responses={201: NewTokenSerializer})
    def post(self, request: Request, pk: int) -> Response:
        """Issue a token; only this response contains its text."""
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = dict(serializer.validated_data)
        if isinstance(request.auth, Token):
            fields.setdefault("scopes", request.auth.scopes)
            fields.setdefault("expires_at", request.auth.expires_at)
        token, text = Token.issue(user=self.holder(), **fields)
        return Response(TokenSerializer(token).data | {"token": text}, status=201)


class TokenDetail(generics.GenericAPIView):
    query_parameters = ()

    @extend_schema(
        operation_id="token_revoke",
        request=None,
        responses={204: None},
        examples=[OpenApiExample("Revoked", None, status_codes=["204"])],
    )
    def delete(self, request: Request, pk: int, prefix: str) -> Response:
        """Revoke a token immediately."""
        user = get_object_or_404(User.objects.visible_to(request.user), pk=pk)
        if user != request.user:
            require_admin(request)
        get_object_or_404(user.tokens, prefix=prefix).revoke(timezone.now())
        return Response(status=204)


def confirm_by_mail(request: Request, new_email: str) -> None:
    """Mail a link to one's own new email. Raises TooManyRequests, TryAgain."""
    if not ratelimit.consume(request._request, action="manage_email", user=request.user):
        raise TooManyRequests("The email was changed too often; wait as long as Retry-After says.", 60)
    try:
        ask_for_confirmation(request._request, signed_in(request), new_email)
    except MailFailed as error:
        raise TryAgain("The mail could not be sent.") from error


def lock_admins() -> None:
    """Lock all admins until the end of the transaction: otherwise two could demote each other."""
    list(User.objects.filter(role=Role.ADMIN).order_by("pk").select_for_update(no_key=True).values("pk"))


def require_admin(request: Request) -> None:
    if not signed_in(request).is_admin:
        raise PermissionDenied("Only an admin may manage users.")


def save_or_name_conflict(serializer: BaseSerializer) -> None:
    """Save; turn a violated unique constraint, as by a concurrent request, into a validation error."""
    try:
        with transaction.atomic():
            serializer.save()
    except IntegrityError as error:
        name = cast(psycopg2.Error, error.__cause__).diag.constraint_name
        field = UNIQUE_FIELDS.get(name or "")
        if field is None:
            raise
        if field == "login" and "login" not in serializer.validated_data:
            # Another request took the generated login. Each round one request succeeds, so this ends.
            return save_or_name_conflict(serializer)
        raise ValidationError({field: "This value is in use."}) from error
