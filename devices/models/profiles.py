"""Profiles: kinds of devices, and the channels of their readings."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q

MOST_DECIMALS = 15
SHORTEST_INTERVAL_SECONDS, LONGEST_INTERVAL_SECONDS = 0.000_001, 366 * 86400
# Keys beside the channels in a reading or a result; a channel may not have such a name.
RESERVED_NAMES = frozenset(
    (
        *("timestamp", "device", "sensor", "device_id", "user_id", "start", "end", "aggregate", "devices"),
        *("first", "last", "coverage", "percentiles", "excluded", "rows_read", "segments_used", "stale"),
        *("bucket", "buckets", "time_zone", "seconds"),
    )
)


def not_reserved(name: str) -> None:
    if name in RESERVED_NAMES:
        raise ValidationError(f"“{name}” is reserved for a key of readings or results; choose another name.")


def expected_interval_field(help_text: str) -> models.FloatField:
    bounds = [MinValueValidator(SHORTEST_INTERVAL_SECONDS), MaxValueValidator(LONGEST_INTERVAL_SECONDS)]
    return models.FloatField(null=True, blank=True, validators=bounds, help_text=help_text)


def expected_interval_in_range(name: str) -> models.CheckConstraint:
    bounds = {"gte": SHORTEST_INTERVAL_SECONDS, "lte": LONGEST_INTERVAL_SECONDS}
    within = {f"expected_interval_seconds__{lookup}": bound for lookup, bound in bounds.items()}
    return models.CheckConstraint(
        condition=Q(expected_interval_seconds=None) | Q(**within),
        name=name,
        violation_error_message="The expected interval must be from a microsecond to a year.",
    )


class DeviceProfile(models.Model):
    """A kind of device. Its channels give the stored values of a reading their order and meaning."""

    name = models.SlugField(max_length=50, unique=True)
    description = models.CharField(max_length=200, blank=True)
    allows_future = models.BooleanField(
        default=False, help_text="Accept timestamps over 5 minutes ahead, as of forecasts."
    )
    expected_interval_seconds = expected_interval_field(
        "Interval of readings, for coverage. Empty: each device's median interval."
    )

    class Meta:
        ordering = ("name",)
        constraints = (expected_interval_in_range("profile_expected_interval_in_range"),)

    def __str__(self) -> str:
        return self.name


class Channel(models.Model):
    """One value of a reading. A gauge rises and falls; a counter only rises, until it is reset."""

    class Kind(models.TextChoices):
        GAUGE = "gauge"
        COUNTER = "counter"

    profile = models.ForeignKey(DeviceProfile, models.CASCADE, related_name="channels")
    position = models.PositiveSmallIntegerField(help_text="Position among the stored values, from 0.")
    name = models.CharField(
        max_length=50, validators=[RegexValidator(r"\A[A-Za-z][A-Za-z0-9_]*\Z"), not_reserved]
    )
    unit = models.CharField(max_length=20, blank=True)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.GAUGE)
    minimum = models.FloatField(null=True, blank=True, help_text="Smaller values are refused.")
    maximum = models.FloatField(null=True, blank=True, help_text="Larger values are refused.")
    decimals = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST_DECIMALS)],
        help_text="Digits after the point that pages show. Empty: as many as the newest readings have.",
    )

    class Meta:
        ordering = ("profile", "position")
        constraints = (
            models.UniqueConstraint(fields=("profile", "position"), name="channel_position_unique"),
            models.UniqueConstraint(fields=("profile", "name"), name="channel_name_unique"),
            models.CheckConstraint(
                condition=Q(minimum=None) | Q(maximum=None) | Q(minimum__lte=F("maximum")),
                name="channel_range_ordered",
                violation_error_message="The minimum must not exceed the maximum.",
            ),
            models.CheckConstraint(
                condition=Q(decimals=None) | Q(decimals__lte=MOST_DECIMALS),
                name="channel_decimals_in_range",
                violation_error_message=f"A channel has 0 to {MOST_DECIMALS} decimals.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.unit})" if self.unit else self.name
