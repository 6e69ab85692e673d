"""The two datasets: counts from the logs, with names from the portal's database in place of ids."""

from typing import Any

from django.conf import settings

from analytics.activity import storage
from analytics.activity.events import delivery
from analytics.activity.models import Post
from devices.timeline.periods import Period
from users.models import User

COMMENTS = ("user_login", "post_header", "post_author_login", "total_comments")
GENERAL = ("date", "logins", "logouts", "blog_actions")

Row = dict[str, Any]


def comments(user: User, period: Period) -> list[Row]:
    """Return a row of COMMENTS for each post that the user commented, most comments first, then by post id.

    A deleted post has None for header and author. Raises StorageUnavailable.
    """
    delivery.catch_up(user.pk)
    totals = storage.current().comments(user.pk, period)
    posts = Post.objects.select_related("author").defer("text").in_bulk([post_id for post_id, _ in totals])
    return [comments_row(user, posts.get(post_id), total) for post_id, total in totals]


def comments_row(user: User, post: Post | None, total: int) -> Row:
    header, author = (post.header, post.author.login) if post else (None, None)
    return dict(zip(COMMENTS, (user.login, header, author, total), strict=True))


def general(user: User, period: Period) -> list[Row]:
    """Return a row of GENERAL for each active day in the portal's zone. Raises StorageUnavailable."""
    delivery.catch_up(user.pk)
    days = storage.current().general(user.pk, period, settings.TIME_ZONE)
    return [day._asdict() for day in days]
