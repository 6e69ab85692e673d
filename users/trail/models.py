from datetime import datetime
from typing import Any, NamedTuple, Self

from django.db import connection, models
from django.db.models import Q

from users.trail.kinds import ACTIONS, FOR_ADMINS, KINDS


class EntryPlace(NamedTuple):
    """Where a page of the trail ends."""

    at: datetime
    id: int


class EntryQuerySet(models.QuerySet["Entry"]):
    def visible_to(self, user: Any) -> Self:
        """Everything for an admin; for staff all but accounts and their credentials; nothing for others."""
        if not user.is_authenticated or not user.is_staff:
            return self.none()
        return self if user.is_admin else self.exclude(kind__in=FOR_ADMINS)

    def about(self, thing: str) -> Self:
        """Entries of a thing, such as `device:12`, and of its parts, such as its keys."""
        return self.filter(Q(thing=thing) | Q(parent=thing))

    def after(self, position: EntryPlace) -> Self:
        """Entries behind this one, newest first."""
        at, pk = position
        return self.filter(Q(at__lt=at) | Q(at=at, pk__lt=pk), at__lte=at)


class Entry(models.Model):
    """What happened once, or `times` times until `until`. The database refuses to change or delete it.

    Not managed: Django's tests would empty the table, which the database refuses as well.
    """

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    # No foreign key: an entry outlives the account.
    actor_id = models.BigIntegerField(null=True)
    actor = models.TextField()
    credential = models.TextField()
    address = models.GenericIPAddressField(null=True)
    request_id = models.TextField()
    source = models.TextField()
    action = models.TextField()
    kind = models.TextField()
    thing = models.TextField()
    label = models.TextField()
    parent = models.TextField()
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    times = models.IntegerField(default=1)
    until = models.DateTimeField(null=True)

    objects = EntryQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "trail_entry"
        ordering = ("-at", "-id")
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.what} {self.thing}"

    @property
    def what(self) -> str:
        return ACTIONS.get(self.action, self.action)

    @property
    def kind_label(self) -> str:
        return KINDS[self.kind].label if self.kind in KINDS else self.kind

    @property
    def position(self) -> EntryPlace:
        return EntryPlace(self.at, self.pk)


def forget(days: int) -> int:
    """Delete a batch of entries that are older; return their number. The database refuses under 30 days."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT trail_forget(%s)", [days])
        return int(cursor.fetchone()[0])
