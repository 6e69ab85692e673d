from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from django_filters import rest_framework as filters

from devices import store
from devices.models import Device, DeviceProfile, DeviceQuerySet


class DeviceFilter(filters.FilterSet):
    user = filters.NumberFilter(field_name="owner_id", decimal_places=0)
    profile = filters.ModelChoiceFilter(to_field_name="name", queryset=DeviceProfile.objects.all())
    active = filters.BooleanFilter(field_name="is_active")
    online = filters.BooleanFilter(method="by_online")
    search = filters.CharFilter(method="by_text")

    class Meta:
        model = Device
        fields = ()

    def by_online(self, devices: DeviceQuerySet, _: str, online: bool) -> DeviceQuerySet:
        since = timezone.now() - timedelta(seconds=settings.DEVICE_ONLINE_SECONDS)
        ids = store.sent_since(list(devices.values_list("pk", flat=True)), since)
        return devices.filter(pk__in=ids) if online else devices.exclude(pk__in=ids)

    def by_text(self, devices: DeviceQuerySet, _: str, text: str) -> DeviceQuerySet:
        return devices.matching(text)
