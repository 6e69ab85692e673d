"""Forms of a device's settings and of its deletion."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from devices import limits
from devices.models import Device, is_control
from users.limits import LimitReached
from users.models import User
from users.zones import zone_names


class DeviceSettingsForm(forms.ModelForm):
    """What may change of a device; staff may also give it to another owner, named by login."""

    name = forms.CharField(max_length=200)
    owner = forms.CharField(max_length=150)
    revoke_keys = forms.BooleanField(label="End its keys: a former owner may have them", required=False)

    class Meta:
        model = Device
        fields = ("name", "external_id", "time_zone", "expected_interval_seconds", "is_active", "owner")
        labels = {
            "external_id": "External id",
            "time_zone": "Time zone",
            "expected_interval_seconds": "Expected interval, seconds",
            "is_active": "Active: it may post",
        }
        error_messages = {
            "expected_interval_seconds": {
                "min_value": "Must be more than 0 seconds.",
                "max_value": "Must be a year at most.",
            }
        }

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["owner"] = self.instance.owner.login
        if not user.is_staff:
            del self.fields["owner"], self.fields["revoke_keys"]

    @property
    def zones(self) -> list[str]:
        return sorted(zone_names())

    def clean_external_id(self) -> str | None:
        # No id at all: two empty texts would collide.
        return self.cleaned_data["external_id"] or None

    def save(self, commit: bool = True) -> Device:
        """Save what was changed here: another person may have changed the rest meanwhile."""
        if self.cleaned_data.get("revoke_keys"):
            self.instance.revoke_keys(timezone.now())
        self.instance.save(update_fields=[name for name in self.changed_data if name != "revoke_keys"])
        return self.instance

    def clean_owner(self) -> User:
        try:
            owner = User.objects.get_by_natural_key(self.cleaned_data["owner"])
            if owner != self.instance.owner:
                limits.require_room_for_devices(owner.pk)
        except User.DoesNotExist as error:
            raise ValidationError("There is no user with this login.") from error
        except LimitReached as error:
            raise ValidationError(str(error)) from error
        return owner

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
        if " ".join(name.split()) not in typable(str(self.device)):
            raise ValidationError(f"Its name is “{self.device}”.")
        return name


def typable(name: str) -> set[str]:
    """How a name is typed: as the page shows it, and as a browser leaves it that drops line ends.

    Older names may hold control characters, which no field takes.
    """
    shown = "".join(
        " " if char.isspace() else char for char in name if char.isspace() or not is_control(char)
    )
    pasted = "".join(char for char in name if not is_control(char))
    return {" ".join(text.split()) for text in (shown, pasted)}
