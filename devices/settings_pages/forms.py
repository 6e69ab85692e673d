"""Forms of a device's settings and of its deletion."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from devices.models import Device, zone_names
from users.models import User


class DeviceSettingsForm(forms.ModelForm):
    """What may change of a device; staff may also give it to another owner, named by login."""

    name = forms.CharField(max_length=200)
    owner = forms.CharField(max_length=150)

    class Meta:
        model = Device
        fields = ("name", "external_id", "time_zone", "expected_interval_seconds", "is_active", "owner")
        labels = {
            "external_id": "External id",
            "time_zone": "Time zone",
            "expected_interval_seconds": "Expected interval, seconds",
            "is_active": "Active: it may post",
        }

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["owner"] = self.instance.owner.login
        if not user.is_staff:
            del self.fields["owner"]

    @property
    def zones(self) -> list[str]:
        return sorted(zone_names())

    def clean_external_id(self) -> str | None:
        # No id at all: two empty texts would collide.
        return self.cleaned_data["external_id"] or None

    def clean_owner(self) -> User:
        try:
            return User.objects.get_by_natural_key(self.cleaned_data["owner"])
        except User.DoesNotExist as error:
            raise ValidationError("There is no user with this login.") from error

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        owner, external_id = cleaned.get("owner", self.instance.owner), cleaned.get("external_id")
        others = Device.objects.filter(owner=owner, external_id=external_id).exclude(pk=self.instance.pk)
        if external_id and others.exists():
            self.add_error("external_id", "The owner has a device with this external id.")
        return cleaned


class DeletionForm(forms.Form):
    """The name of the device, typed, so that nobody deletes another than they mean."""

    name = forms.CharField(label="Its name, to confirm", widget=forms.TextInput({"autocomplete": "off"}))

    def __init__(self, *args: Any, device: Device, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = device

    def clean_name(self) -> str:
        name = self.cleaned_data["name"]
        if name != str(self.device):
            raise ValidationError(f"Its name is “{self.device}”.")
        return name
