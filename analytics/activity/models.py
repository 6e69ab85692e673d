"""Blogs, posts and the outbox in the portal's own database; logs and their types in the database `activity`.

config/routers.py keeps them apart. No foreign key crosses: a log holds the ids of its user and its object.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from analytics.activity.events import outbox
from analytics.activity.events.event import CREATE_POST, DELETE_POST, EVENT_KINDS, Event

GLOBAL_KINDS = [kind.number for kind in EVENT_KINDS.values() if kind.space == "global"]


# --- The portal's own database


class PendingEvent(models.Model):
    """The outbox: an event, kept in the transaction of what it tells of, until it is in the logs.

    So nothing is lost, and nobody is held up, while the activity database is away.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Ids, as in the logs: the user may be gone before the event is delivered.
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
    def note_all(cls, who_and_what: Iterable[tuple[int, int | None]], name: str, now: datetime) -> None:
        """The same event of several (user id, object id); delivered soon after the transaction."""
        events = [cls(user_id=user, name=name, at=now, object_id=of) for user, of in who_and_what]
        cls.objects.bulk_create(events, batch_size=1000)
        # Robust: the event is committed, whatever becomes of the word to the worker.
        transaction.on_commit(outbox.ask_for_delivery, robust=True)

    @property
    def event(self) -> Event:
        return Event(self.pk, self.user_id, self.name, self.at, self.object_id)


class BlogQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        """Every blog for admin and staff, one's own for an owner."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_staff else self.filter(owner=user)


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
        """With its posts, of each of which an event tells."""
        # Until the end no post can come in: its foreign key would wait for this lock.
        Blog.objects.select_for_update().filter(pk=self.pk).first()
        self.posts.all().erase()
        Blog.objects.filter(pk=self.pk).delete()


class PostQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        """Every post for admin and staff, one's own for an owner."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_staff else self.filter(author=user)

    @transaction.atomic
    def erase(self) -> None:
        """Delete them, and note for each, once, that its author did."""
        # Of two who delete the same post the second finds it gone.
        posts = list(self.select_for_update(of=("self",)).order_by("pk"))
        PendingEvent.note_all(((post.author_id, post.blog_id) for post in posts), DELETE_POST, timezone.now())
        Post.objects.filter(pk__in=[post.pk for post in posts]).delete()


class Post(models.Model):
    """`publish` and `erase` keep the events; what is only saved or deleted has none."""

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
    """Where something happens: in the whole portal, in a blog, at a post."""

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
    """A row of the logs, for Django admin. Everything else goes through `storage`."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    user_id = models.BigIntegerField()
    event_type = models.ForeignKey(EventType, models.PROTECT, related_name="+", db_index=False)
    at = models.DateTimeField()
    object_id = models.BigIntegerField(null=True, help_text="The post or the blog.")

    class Meta:
        ordering = ("-id",)
        indexes = (
            # All that a dataset reads of a log: it is answered from the index alone.
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
