"""The demo's data: people, this computer and fourteen devices of three owners (`fleet`), and what they did.

An analysis and calculations are queued; the worker computes them once it has started.

The activity on the portal, of the owners and of a writer without devices, covers ACTIVE_DAYS: log-ins, blogs,
posts and comments.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
from django.db import transaction

from analytics.activity import storage
from analytics.activity.events.event import COMMENT, CREATE_POST, LOGIN, LOGOUT, Event, event_id
from analytics.activity.models import Blog, Post
from analytics.analyses.question import Question
from analytics.analyses.request import request_analysis
from analytics.calculations.request import calculation_from, queue_calculation
from analytics.kernels import KERNELS
from config.demo.fleet import SEED, create_devices, store_missing_readings
from devices.models import Device
from users.models import Role, User

OWNERS = {"ada": "Ada Lovelace", "grace": "Grace Hopper", "emmy": "Emmy Noether"}
PEOPLE = {**OWNERS, "vladimir": "Vladimir Kotelnikov"}
# Owner, name of the blog, headers of its posts.
BLOGS = (
    ("ada", "Greenhouse diary", ("First frost", "Why the south house is warmer", "A new pump")),
    ("grace", "Turbine notes", ("Bearing A runs hot", "Bearing B does not", "Silo levels in winter")),
    ("vladimir", "On sampling", ("How often is often enough", "Noise is not a signal")),
    ("emmy", "Bridges and rivers", ("Pier 2 has gaps", "High water", "High water")),
)
ACTIVE_DAYS = 120


@transaction.atomic
def seed(now: datetime) -> None:
    """Create devices and readings; do nothing if there are devices already."""
    if Device.objects.exists():
        return
    people = {
        login: User.objects.create_user(login, f"{login}@example.com", name=name)
        for login, name in PEOPLE.items()
    }
    create_devices({**people, "admin": User.objects.get(login="admin")})
    store_missing_readings(now)
    request_analysis(people["ada"], Question(), asked_by=people["ada"], now=now)
    queue_calculations()


def queue_calculations() -> None:
    """Queue one calculation of each built-in kernel."""
    greenhouse = Device.objects.get(name="Greenhouse north")
    bodies = (
        {
            "name": "Well 7",
            "kernel": "well",
            "date_start": "2020-01-01",
            "date_fin": "2025-12-31",
            "lag": 7,
            "seed": SEED,
        },
        {
            "name": "Temperature of the greenhouse",
            "kernel": "forecast",
            "device": str(greenhouse.uuid),
            "channel": "temperature",
        },
    )
    for body in bodies:
        # Without statsmodels there is no forecast.
        if body["kernel"] in KERNELS:
            queue_calculation(calculation_from(body, greenhouse.owner))


@transaction.atomic
def seed_activity(now: datetime) -> None:
    """Create blogs, posts and events; do nothing if there are blogs or if any of PEOPLE is missing."""
    people = list(User.objects.filter(login__in=PEOPLE).order_by("pk"))
    if Blog.objects.exists() or len(people) < len(PEOPLE):
        return
    random = np.random.default_rng(SEED)
    posts = [
        Post.objects.create(
            blog=blog, author=blog.owner, header=header, created_at=now - timedelta(days=20 * number + 5)
        )
        for blog, headers in create_blogs()
        for number, header in enumerate(headers)
    ]
    done = [
        *((post.author, CREATE_POST, post.created_at, post.blog_id) for post in posts),
        *(action for person in people for action in actions(person, posts, now, random)),
    ]
    storage.current().append(
        [
            Event(event_id("demo", f"{SEED}-{number}"), person.pk, name, at, of)
            for number, (person, name, at, of) in enumerate(done)
        ]
    )


def create_blogs() -> Iterator[tuple[Blog, tuple[str, ...]]]:
    for login, name, headers in BLOGS:
        yield Blog.objects.create(owner=User.objects.get(login=login), name=name), headers


def actions(
    person: User, posts: list[Post], now: datetime, random: np.random.Generator
) -> Iterator[tuple[User, str, datetime, int | None]]:
    """Yield (person, event, time, post) for log-ins, log-outs and comments: 0 to 2 sessions a day."""
    for day in range(ACTIVE_DAYS, 0, -1):
        for _ in range(random.integers(0, 3)):
            begin = now - timedelta(days=day, minutes=int(random.integers(0, 600)))
            yield person, LOGIN, begin, None
            for minutes in range(int(random.integers(0, 4))):
                post = posts[min(int(random.exponential(2.5)), len(posts) - 1)]
                yield person, COMMENT, begin + timedelta(minutes=3 * minutes + 2), post.pk
            if random.random() < 0.7:
                yield person, LOGOUT, begin + timedelta(minutes=int(random.integers(15, 90))), None


def admin_with_password(password: str) -> User:
    """Create the demo's admin, or reset it; each start of the demo sets a new password."""
    admin = User.objects.filter(login="admin").first()
    if admin is None:
        return User.objects.create_superuser("admin", "admin@example.com", password, name="Demo admin")
    admin.set_password(password)
    admin.role, admin.is_active = Role.ADMIN, True
    admin.save()
    return admin
