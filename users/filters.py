from typing import Any

from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from users.models import Role, User, UserQuerySet
from users.serializers import ANY_TEXT


@extend_schema_field(OpenApiTypes.BOOL)
class TrueOrFalseFilter(filters.TypedChoiceFilter):
    """Accepts `true` and `false` only; the library's own filter ignores other values."""

    def __init__(self, **options: Any) -> None:
        values = {"true": True, "false": False}
        super().__init__(choices=[(name, name) for name in values], coerce=values.__getitem__, **options)


@extend_schema_field(ANY_TEXT)
class TextFilter(filters.CharFilter):
    """Accepts any text that the database can hold."""


class UserFilter(filters.FilterSet):
    role = filters.ChoiceFilter(choices=Role.choices)
    active = TrueOrFalseFilter(field_name="is_active")
    search = TextFilter(method="contain")

    class Meta:
        model = User
        fields = ()

    def contain(self, users: UserQuerySet, _: str, text: str) -> UserQuerySet:
        return users.matching(text)
