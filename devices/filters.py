from datetime import timedelta

from django.conf import settings
from django.core.validators import RegexValidator
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field

from devices import storage
from devices.models import Device, DeviceProfile, DeviceQuerySet, Exclusion, ExclusionQuerySet
from devices.rhythm.fleet import devices_in_state
from devices.rhythm.state import State
from users.filters import TextFilter, TrueOrFalseFilter

# A number field also accepts "1_000", "1e3" and the digits of every script.
whole_number = RegexValidator(r"\A[0-9]{1,18}\Z", "Must be a whole number.")
ROW_ID = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}


class DeviceFilter(filters.FilterSet):
    user = extend_schema_field(ROW_ID)(filters.CharFilter(field_name="owner_id", validators=[whole_number]))
    profile = filters.ModelChoiceFilter(to_field_name="name", queryset=DeviceProfile.objects.all())
    active = TrueOrFalseFilter(field_name="is_active")
    online = TrueOrFalseFilter(method="by_online")
    search = TextFilter(method="by_text")
    state = extend_schema_field({"type": "string", "enum": [state.value for state in State]})(
        filters.ChoiceFilter(method="by_state", choices=[(state.value, state.label) for state in State])
    )

    class Meta:
        model = Device
        fields = ()

    def by_online(self, devices: DeviceQuerySet, _: str, online: bool) -> DeviceQuerySet:
        since = timezone.now() - timedelta(seconds=settings.DEVICE_ONLINE_SECONDS)
        ids = storage.current().sent_since(list(devices.values_list("pk", flat=True)), since)
        return devices.filter(pk__in=ids) if online else devices.exclude(pk__in=ids)

    def by_state(self, devices: DeviceQuerySet, _: str, state: str) -> DeviceQuerySet:
        return devices_in_state(devices, State(state), timezone.now())

    def by_text(self, devices: DeviceQuerySet, _: str, text: str) -> DeviceQuerySet:
        return devices.matching(text)


class ExclusionFilter(filters.FilterSet):
    active = TrueOrFalseFilter(method="by_active")

    class Meta:
        model = Exclusion
        fields = ()

    def by_active(self, exclusions: ExclusionQuerySet, _: str, active: bool) -> ExclusionQuerySet:
        return exclusions.filter(lifted_at__isnull=active)
