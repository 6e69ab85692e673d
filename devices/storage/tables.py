"""Models of tables that `devices.storage` alone reads and writes; `devices.models` hands them to Django."""

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Reading(models.Model):
    """A row of the readings table, for Django admin only. Readings may repeat, so the table has no key."""

    time = models.DateTimeField(primary_key=True)
    device = models.ForeignKey(
        "devices.Device", models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    values = ArrayField(models.FloatField())

    class Meta:
        ordering = ("-time",)

    def __str__(self) -> str:
        return f"{self.time.isoformat()} {self.values}"


class Segment(models.Model):
    """Sorted readings in one row, derived from the readings. Only `devices.storage.postgresql` uses it."""

    id = models.BigAutoField(primary_key=True)
    device_id = models.IntegerField()
    level = models.SmallIntegerField()
    start_time = models.DateTimeField()
    end_time = models.DateTimeField()
    count = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.count} readings of device {self.device_id} from {self.start_time}"


class Change(models.Model):
    """An entry of the change log, a table without a key. Only `devices.storage.change_log` uses it."""

    first_time = models.DateTimeField(primary_key=True)
    device_id = models.IntegerField()

    def __str__(self) -> str:
        return f"change of device {self.device_id} from {self.first_time}"


class Rollup(models.Model):
    """The time of the next check of a device by `devices.storage.postgresql.segment_schedule`."""

    device_id = models.IntegerField(primary_key=True)
    next_check = models.DateTimeField()

    def __str__(self) -> str:
        return f"device {self.device_id} at {self.next_check}"
