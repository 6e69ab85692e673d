"""The two datasets: what the storage knows by ids, with the names that the portal has for them."""

from collections.abc import Iterable
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
    """A row of COMMENTS for each post that the user commented, most first, then by post id.

    Of a post that is gone header and author are None. Raises storage.Unavailable.
    """
    delivery.catch_up(user.pk)
    totals = storage.current().comments(user.pk, period)
    posts = Post.objects.select_related("author").defer("text").in_bulk([post_id for post_id, _ in totals])
    return [comments_row(user, posts.get(post_id), total) for post_id, total in totals]


def comments_row(user: User, post: Post | None, total: int) -> Row:
    header, author = (post.header, post.author.login) if post else (None, None)
    return dict(zip(COMMENTS, (user.login, header, author, total), strict=True))


def general(user: User, period: Period) -> list[Row]:
    """A row of GENERAL for each active day of the user in the portal's zone. Raises storage.Unavailable."""
    delivery.catch_up(user.pk)
    days = storage.current().general(user.pk, period, settings.TIME_ZONE)
    return [day._asdict() for day in days]


def csv_row(cells: Iterable[Any]) -> list[str]:
    """As texts; one that a spreadsheet would take for a formula is marked as text, None is empty."""
    return ["" if cell is None else harmless(cell) if isinstance(cell, str) else str(cell) for cell in cells]


def harmless(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
