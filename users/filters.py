from django_filters import rest_framework as filters

from users.models import Role, User, UserQuerySet


class UserFilter(filters.FilterSet):
    role = filters.ChoiceFilter(choices=Role.choices)
    active = filters.BooleanFilter(field_name="is_active")
    search = filters.CharFilter(method="contain")

    class Meta:
        model = User
        fields = ()

    def contain(self, users: UserQuerySet, _: str, text: str) -> UserQuerySet:
        return users.matching(text)
