"""Blogs, posts and the outbox in the portal's own database; logs and their types in the database `activity`.

config/routers.py chooses the database of a model. No foreign key crosses from one to the other: a log holds
the ids of its user and its object.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Left, Length
from django.utils import timezone

from analytics.activity.events import outbox
from analytics.activity.events.event import CREATE_POST, DELETE_POST, EVENT_KINDS, Event

GLOBAL_KINDS = [kind.number for kind in EVENT_KINDS.values() if kind.space == "global"]


# --- The portal's own database


class PendingEvent(models.Model):
    """An event in the outbox: stored in the transaction of what happened, deleted once it is in the logs.

    While the activity database is down, no event is lost and nobody has to wait.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # No foreign key: the user may be deleted before the event is delivered.
    user_id = models.BigIntegerField(db_index=True)
    name = models.CharField("event", max_length=20)
    at = models.DateTimeField()
    object_id = models.BigIntegerField(null=True)

    class Meta:
        ordering = ("at",)

    def __str__(self) -> str:
        return f"{self.name} of user {self.user_id}"

    @classmethod
    def note(cls, user_id: int, name: str, object_id: int | None = None) -> None:
        cls.note_all([(user_id, object_id)], name, timezone.now())

    @classmethod
    def note_all(cls, users_and_objects: Iterable[tuple[int, int | None]], name: str, now: datetime) -> None:
        """Note one event for each (user id, object id); they are delivered soon after the transaction."""
        events = [cls(user_id=user, name=name, at=now, object_id=of) for user, of in users_and_objects]
        PendingEvent.objects.bulk_create(events, batch_size=1000)
        # Robust: the event is committed even if the worker cannot be asked.
        transaction.on_commit(outbox.ask_for_delivery, robust=True)

    @property
    def event(self) -> Event:
        return Event(self.pk, self.user_id, self.name, self.at, self.object_id)


class BlogQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        """Return every blog for admin and staff, one's own for an owner."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_staff else self.filter(owner=user)

    def for_list(self, characters: int) -> Self:
        """With the `beginning` of the description and its `length`, without itself, which may be long."""
        return with_beginning(self, "description", characters)


class Blog(models.Model):
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="blogs")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = BlogQuerySet.as_manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name

    @transaction.atomic
    def erase(self) -> None:
        """Delete the blog and its posts, and note an event for each post."""
        # No post can be added meanwhile: its foreign key waits for this lock.
        Blog.objects.select_for_update().filter(pk=self.pk).first()
        self.posts.all().erase()
        Blog.objects.filter(pk=self.pk).delete()


def with_beginning(rows: Any, name: str, characters: int) -> Any:
    return rows.defer(name).annotate(beginning=Left(name, characters), length=Length(name))


class PostQuerySet(models.QuerySet["Post"]):
    def visible_to(self, user: Any) -> Self:
        """Return every post for admin and staff, one's own for an owner."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_staff else self.filter(author=user)

    def for_list(self, characters: int) -> Self:
        """With the `beginning` of the text and its `length`, without itself, which may be long."""
        return with_beginning(self, "text", characters).defer("text", "blog__description")

    @transaction.atomic
    def erase(self) -> None:
        """Delete the posts, and note an event of the author for each."""
        # The lock lets one of two who delete the same post find it; the other notes no event.
        rows = self.select_for_update(of=("self",)).order_by("pk")
        posts = list(rows.only("author_id", "blog_id"))
        PendingEvent.note_all(((post.author_id, post.blog_id) for post in posts), DELETE_POST, timezone.now())
        Post.objects.filter(pk__in=[post.pk for post in posts]).delete()


class Post(models.Model):
    """A post. `publish` and `erase` note events; `save` and `delete` do not."""

    blog = models.ForeignKey(Blog, models.CASCADE, related_name="posts")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="posts")
    header = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = PostQuerySet.as_manager()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.header

    @transaction.atomic
    def publish(self) -> None:
        self.save(force_insert=True)
        PendingEvent.note(self.author_id, CREATE_POST, self.blog_id)

    def erase(self) -> None:
        Post.objects.filter(pk=self.pk).erase()


# --- The activity database


class SpaceType(models.Model):
    """Where an event happens: in the whole portal, in a blog or at a post."""

    id = models.PositiveSmallIntegerField(primary_key=True)
    name = models.CharField(max_length=20, unique=True)

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name


class EventType(models.Model):
    id = models.PositiveSmallIntegerField(primary_key=True)
    name = models.CharField(max_length=20, unique=True)
    space = models.ForeignKey(SpaceType, models.PROTECT, related_name="event_types")

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.name


class Log(models.Model):
    """A row of the logs, for Django admin. All other code uses `storage`."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    user_id = models.BigIntegerField()
    event_type = models.ForeignKey(EventType, models.PROTECT, related_name="+", db_index=False)
    at = models.DateTimeField()
    object_id = models.BigIntegerField(null=True, help_text="The post or the blog.")
    login: str | None  # of the user: the list in Django admin sets it

    class Meta:
        ordering = ("-id",)
        indexes = (
            # Holds all that the datasets read of a log: they are answered from the index alone.
            models.Index(fields=("user_id", "event_type", "at"), include=("object_id",), name="log_of_user"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(event_type__in=GLOBAL_KINDS, object_id=None)
                | (~Q(event_type__in=GLOBAL_KINDS) & Q(object_id__isnull=False)),
                name="log_object_unless_global",
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_type} of user {self.user_id}"
