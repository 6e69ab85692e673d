"""Devices and the tables around readings. `DeviceQuerySet.visible_to`: who may see a device."""

import unicodedata
import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from devices import storage
from devices.models.profiles import (
    Channel,
    DeviceProfile,
    expected_interval_field,
    expected_interval_in_range,
)
from devices.storage import interface
from devices.timeline.periods import Period
from users.models import Credential
from users.trail.notes import note
from users.zones import known_zone

# Categories of characters that end a line or cannot be typed.
CONTROLS = ("Cc", "Zl", "Zp")


def is_control(char: str) -> bool:
    return unicodedata.category(char) in CONTROLS


def without_controls(name: str) -> None:
    if any(map(is_control, name)):
        raise ValidationError("Must not contain line ends, tabs or other control characters.")


class DeviceQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        """All devices for admin and staff, their own for an owner, none without authentication."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_staff else self.filter(owner=user)

    def with_channels(self) -> Self:
        return self.select_related("owner", "profile").prefetch_related("profile__channels")

    def matching(self, text: str) -> Self:
        """Devices whose name, external id or owner's login contains the text, or whose id it is."""
        found = Q(name__icontains=text) | Q(external_id__icontains=text) | Q(owner__login__icontains=text)
        with suppress(ValueError):
            found |= Q(uuid=uuid.UUID(text))
        return self.filter(found)


ManagerOfAll = models.Manager.from_queryset(DeviceQuerySet)


class DeviceManager(ManagerOfAll):
    """The devices that are not in the bin."""

    def get_queryset(self) -> DeviceQuerySet:
        return DeviceQuerySet(self.model, using=self._db).filter(binned_at=None)


class Device(models.Model):
    """A sender of readings. Readings store its integer `id`; the API and pages show its `uuid`."""

    id = models.AutoField(primary_key=True)
    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="devices")
    profile = models.ForeignKey(DeviceProfile, models.PROTECT, related_name="devices")
    name = models.CharField(max_length=200, blank=True, validators=[without_controls])
    external_id = models.CharField(
        max_length=255, null=True, blank=True, help_text="The sender's own name for the device."
    )
    time_zone = models.CharField(
        max_length=64, default="UTC", validators=[known_zone], help_text="For timestamps without an offset."
    )
    expected_interval_seconds = expected_interval_field(
        "Interval of readings, for state and coverage. Empty: the profile's, else the median interval."
    )
    is_active = models.BooleanField("active", default=True, help_text="An inactive device may not post.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # In the bin it can be brought back, and is gone for everything else.
    binned_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = DeviceManager()
    everything = ManagerOfAll()

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("owner", "external_id"),
                condition=Q(binned_at=None),
                name="device_external_id_unique",
                violation_error_message="The owner has a device with this external id.",
            ),
            expected_interval_in_range("device_expected_interval_in_range"),
        )

    def __str__(self) -> str:
        # A sensor may be called by a space: a link needs something to click.
        return self.name.strip() or (self.external_id or "").strip() or f"device {str(self.uuid)[:8]}"

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def declared_interval_seconds(self) -> float | None:
        """The device's own expected interval, else its profile's."""
        return self.expected_interval_seconds or self.profile.expected_interval_seconds

    @property
    def channels(self) -> list[Channel]:
        return list(self.profile.channels.all())

    def rotate_key(self, *, overlap: timedelta) -> tuple["DeviceKey", str]:
        """Issue a key and let older ones expire after `overlap`. Return the new key and its text."""
        ending = timezone.now() + overlap
        older = self.keys.filter(Q(expires_at=None) | Q(expires_at__gt=ending), revoked_at=None)
        older.update(expires_at=ending)
        return DeviceKey.issue(device=self)

    def revoke_keys(self, now: datetime) -> int:
        """End all keys at once; return how many there were."""
        return self.keys.filter(revoked_at=None).update(revoked_at=now)

    def newest_readings(
        self, limit: int, *, period: Period | None = None, after: interface.Position | None = None
    ) -> list[interface.StoredReading]:
        """Up to `limit` readings, newest first; of the period, behind the position `after`."""
        return storage.current().page([self.pk], period or Period(), limit=limit, after=after)

    def clear(self) -> None:
        """Delete all readings immediately: no later query sees any of them."""
        storage.current().clear(self.pk)
        note("cleared", "device", f"device:{self.pk}", str(self), parent=f"user:{self.owner_id}")

    def put_into_bin(self, now: datetime) -> None:
        """Take the device away from everything but the bin; its keys no longer work."""
        self.binned_at = now
        self.save(update_fields=["binned_at"])

    def bring_back(self) -> None:
        """Raises IntegrityError if the owner has another device with its external id by now."""
        self.binned_at = None
        self.save(update_fields=["binned_at"])

    @transaction.atomic
    def erase(self) -> None:
        """Delete the device; its readings disappear with it and are deleted in the background."""
        # An import may just be storing readings of it.
        Device.everything.select_for_update().filter(pk=self.pk).first()
        Erasure.objects.create(device_id=self.pk, name=str(self), owner_id=self.owner_id)
        self.delete()


class DeviceKey(Credential):
    """A device's credential, sent as `Authorization: Device …`. It only allows posting its own readings."""

    KIND = "pld"

    device = models.ForeignKey(Device, models.CASCADE, related_name="keys")

    @classmethod
    def require_room(cls, fields: dict[str, Any]) -> None:
        # One that was erased meanwhile is a conflict of the row to come.
        Device.everything.select_for_update(no_key=True).filter(pk=fields["device"].pk).first()
        cls.bound(cls.objects.filter(device=fields["device"]), settings.KEYS_PER_DEVICE, "KEYS_PER_DEVICE")


class ErasureQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        return self if user.is_staff else self.filter(owner=user)


class Erasure(models.Model):
    """The id of an erased device whose readings are still to be deleted."""

    device_id = models.IntegerField(primary_key=True)
    asked_at = models.DateTimeField(default=timezone.now)
    name = models.CharField(max_length=255, blank=True)
    # The readings are deleted even if their owner is, too.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, db_constraint=False, related_name="+"
    )
    readings = models.BigIntegerField(default=0, help_text="Stored when the deletion began.")
    erased = models.BigIntegerField(default=0)

    objects = ErasureQuerySet.as_manager()

    def __str__(self) -> str:
        return f"erasure of device {self.device_id}"

    @property
    def is_done(self) -> bool:
        """True once the readings that were there are deleted; late ones may follow."""
        return 0 < self.readings <= self.erased


class ExclusionQuerySet(models.QuerySet):
    def in_force(self) -> Self:
        return self.filter(lifted_at=None)

    def touching(self, period: Period) -> Self:
        """Exclusions that overlap the period."""
        found = self if period.start is None else self.filter(end_time__gt=period.start)
        return found if period.end is None else found.filter(start_time__lt=period.end)


class Exclusion(models.Model):
    """A rule that leaves readings out of statistics; `devices.exclusions` alone makes and lifts them.

    It covers a half-open period, late readings included, or with `values` only readings with these values.
    Its row is never deleted.
    """

    device = models.ForeignKey(Device, models.CASCADE, related_name="exclusions")
    start_time = models.DateTimeField()
    end_time = models.DateTimeField()
    values = ArrayField(
        models.FloatField(), null=True, blank=True, help_text="Only readings with these values. Empty: all."
    )
    reason = models.CharField(max_length=500)
    # Logins, not references: they outlive the account.
    made_by = models.CharField(max_length=150)
    made_at = models.DateTimeField(default=timezone.now)
    lifted_by = models.CharField(max_length=150, blank=True)
    lifted_at = models.DateTimeField(null=True, blank=True)

    objects = ExclusionQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(start_time__lt=F("end_time")), name="exclusion_period_ordered"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="exclusion_has_a_reason"),
        )
        indexes = (
            models.Index(
                fields=("device", "start_time"), name="exclusion_in_force", condition=Q(lifted_at=None)
            ),
        )

    def __str__(self) -> str:
        return f"{self.reason} ({self.device})"

    @property
    def is_in_force(self) -> bool:
        return self.lifted_at is None

    def covers(self, reading: interface.StoredReading) -> bool:
        is_within = self.start_time <= reading.time < self.end_time
        return is_within and (self.values is None or self.values == reading.values)


class IdempotencyKey(models.Model):
    """A used Idempotency-Key, stored in the same transaction as the readings sent with it."""

    pk = models.CompositePrimaryKey("holder", "key")
    holder = models.CharField(max_length=30)
    key = models.CharField(max_length=255)
    digest = models.BinaryField()
    receipt = models.BinaryField()
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.holder} {self.key}"


class Import(models.Model):
    """The progress of a file's import, updated in the transactions that store the file's lines."""

    name = models.CharField("file", max_length=255)
    digest = models.CharField("SHA-256", max_length=64, help_text="SHA-256 of the file's content.")
    options = models.CharField(
        max_length=100, help_text="Options: the same file with other options is another import."
    )
    line = models.BigIntegerField("lines done", default=0)
    position = models.BigIntegerField("bytes done", default=0)
    stored = models.BigIntegerField("readings stored", default=0)
    refused = models.BigIntegerField("lines refused", default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-started_at",)
        constraints = (models.UniqueConstraint(fields=("digest", "options"), name="import_once"),)

    def __str__(self) -> str:
        return self.name
