from datetime import UTC, datetime
from typing import Any

from django.db import models
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from users.models import Role, Scope, Token, User


def component(name: str) -> dict[str, str]:
    """Refer to a schema of config/openapi/components.py: that of a body which no serializer makes."""
    return {"$ref": f"#/components/schemas/{name}"}


def component_list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": component(name)}


# What PostgreSQL can store: no NUL.
ANY_TEXT: dict[str, Any] = {"type": "string", "pattern": r"^[^\u0000]*$"}
# A text of which something is left when white space around it is cut off, as by `str.strip`.
FILLED_TEXT = r"^[^\u0000]*[^\s\u0000-\u001F\u0085][^\u0000]*$"


class Text(serializers.CharField):
    """A JSON string; REST framework's own field also accepts numbers."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


# No pattern: \w has letters of any script in Python, and those of English in JSON Schema.
LOGIN = {"type": "string", "maxLength": 150, "description": "Letters and digits of any script, and @ . + - _"}


@extend_schema_field(LOGIN)
class LoginText(Text):
    pass


class WholeNumber(serializers.IntegerField):
    """A JSON whole number; REST framework's own field also accepts texts such as "1_000"."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class Number(serializers.FloatField):
    """A JSON number; REST framework's own field also accepts texts."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            return float(data)
        except OverflowError:
            self.fail("invalid")


class TrueOrFalse(serializers.BooleanField):
    """A JSON boolean; REST framework's own field also accepts 1, "yes" and more."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Stamp(serializers.DateTimeField):
    """A timestamp in UTC, and input without an offset is read as UTC, whatever the portal's time zone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(default_timezone=UTC, **options)


# A mixin that refuses keys which can't be set; REST framework ignores them. Without a docstring, because that
# would be the description of every schema in the OpenAPI document.
class StrictFields(serializers.Serializer):
    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.DateTimeField: Stamp,
    }

    def to_internal_value(self, data: Any) -> dict:
        if isinstance(data, dict):
            settable = {name for name, field in self.fields.items() if not field.read_only}
            unknown = sorted(set(data) - settable)
            if unknown:
                raise serializers.ValidationError(dict.fromkeys(unknown, "This field can't be set."))
        return super().to_internal_value(data)


# Whoever holds the email gets a new password by it: a token, or a browser left open, must not change it.
EMAIL_NOT_HERE = "Only an admin can change this here. Change yours at /portal/account/email/, by a mail."


@extend_schema_serializer(
    examples=[
        OpenApiExample("New", {"name": "Ada Lovelace", "email": "ada@example.com"}, request_only=True),
        OpenApiExample(
            "User",
            {
                "id": 7,
                "name": "Ada Lovelace",
                "email": "ada@example.com",
                "login": "ada",
                "role": "owner",
                "active": True,
                "created_at": "2026-11-21T09:30:00Z",
            },
            response_only=True,
        ),
    ]
)
class UserSerializer(StrictFields, serializers.ModelSerializer):
    """A person, or a program that acts for one."""

    name = Text(max_length=200)
    email = serializers.EmailField(max_length=254)
    login = LoginText(max_length=150, required=False)
    role = serializers.ChoiceField(Role.choices, required=False)
    active = TrueOrFalse(source="is_active", required=False)

    class Meta:
        model = User
        fields = ("id", "name", "email", "login", "role", "active", "created_at")
        read_only_fields = ("created_at",)

    def validate_email(self, email: str) -> str:
        # Before it is looked up, so that the answer tells nobody whose it is.
        changes = self.instance is not None and email != self.instance.email
        if changes and not self.context["request"].user.is_admin:
            raise serializers.ValidationError(EMAIL_NOT_HERE)
        return self.unused("email", email, "This email is in use.")

    def validate_login(self, login: str) -> str:
        User._meta.get_field("login").run_validators(login)
        return self.unused("login", login, "This login is taken.")

    def unused(self, field: str, value: str, message: str) -> str:
        others = User.objects.exclude(pk=self.instance.pk) if self.instance else User.objects.all()
        if others.filter(**{f"{field}__iexact": value}).exists():
            raise serializers.ValidationError(message)
        return value

    def validate(self, fields: dict) -> dict:
        requester = self.context["request"].user
        guarded = {"role", "is_active", "login"} & set(fields)
        if self.instance and guarded and not requester.is_admin:
            shown = {"is_active": "active"}
            raise serializers.ValidationError(
                {shown.get(name, name): "Only an admin can change this." for name in guarded}
            )
        demoted = fields.get("role", Role.ADMIN) != Role.ADMIN or not fields.get("is_active", True)
        if self.instance and demoted and self.instance.is_last_admin():
            raise serializers.ValidationError("The last active admin can't be demoted or deactivated.")
        if self.instance and fields.get("email", self.instance.email) != self.instance.email:
            fields["email_changed_at"] = timezone.now()
        return fields

    def create(self, fields: dict) -> User:
        return User.objects.create_user(fields.pop("login", ""), **fields)


EXAMPLE_TOKEN = {
    "prefix": "plt_1f9c04ab",
    "name": "nightly export",
    "scopes": ["read"],
    "created_at": "2026-11-21T09:30:00Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}


@extend_schema_serializer(
    examples=[
        OpenApiExample("New", {"name": "nightly export", "scopes": ["read"]}, request_only=True),
        OpenApiExample("Token", EXAMPLE_TOKEN, response_only=True),
    ]
)
class TokenSerializer(StrictFields, serializers.ModelSerializer):
    """A user's API token, without its secret."""

    name = Text(max_length=100, required=False)
    scopes = serializers.ListField(child=serializers.ChoiceField(Scope.choices), min_length=1, required=False)

    class Meta:
        model = Token
        fields: tuple[str, ...] = (
            "prefix",
            "name",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        )
        read_only_fields = ("prefix", "created_at", "revoked_at", "last_used_at")

    def validate_scopes(self, scopes: list[str]) -> list[str]:
        issuer = self.context["request"].auth
        if isinstance(issuer, Token) and set(scopes) - set(issuer.scopes):
            raise serializers.ValidationError("A token can't grant scopes that it lacks.")
        return sorted(set(scopes))

    def validate_expires_at(self, end: datetime | None) -> datetime | None:
        issuer = self.context["request"].auth
        own_end = issuer.expires_at if isinstance(issuer, Token) else None
        if own_end is not None and (end is None or end > own_end):
            raise serializers.ValidationError("A token can't issue a token that outlives it.")
        return end


@extend_schema_serializer(
    examples=[
        OpenApiExample("Created", EXAMPLE_TOKEN | {"token": "plt_1f9c04ab.…"}, response_only=True),
    ]
)
class NewTokenSerializer(TokenSerializer):
    """A new token."""

    token = serializers.CharField(read_only=True, help_text="Shown this once.")

    class Meta(TokenSerializer.Meta):
        fields = (*TokenSerializer.Meta.fields, "token")
