"""The demo's data: this computer, twelve devices of three owners, and their readings of DAYS days.

An analysis and calculations are queued; the worker computes them once it has started.

The activity on the portal, of the owners and of a writer without devices, covers ACTIVE_DAYS: log-ins, blogs,
posts and comments.
"""

import json
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from django.db import transaction

from analytics.activity import storage
from analytics.activity.events.event import COMMENT, CREATE_POST, LOGIN, LOGOUT, Event, event_id
from analytics.activity.models import Blog, Post
from analytics.analyses.question import Question
from analytics.analyses.request import request_analysis
from analytics.calculations.request import calculation_from, queue_calculation
from analytics.kernels import KERNELS
from devices.access.grants import Target
from devices.ingestion import intake
from devices.ingestion.group_commit import store_now
from devices.models import Device, DeviceKey, DeviceProfile
from devices.timeline.instants import UnixTimes, unix_microseconds
from users.models import Role, User

SEED = 20_261_121
DAYS = 30
HOST = "host"
PROFILES = {
    HOST: ("Load averages of a computer.", [("load1", ""), ("load5", ""), ("load15", "")]),
    "climate": ("Climate of a room.", [("temperature", "°C"), ("humidity", "%"), ("pressure", "hPa")]),
}
OWNERS = {"ada": "Ada Lovelace", "grace": "Grace Hopper", "emmy": "Emmy Noether"}
PEOPLE = {**OWNERS, "vladimir": "Vladimir Kotelnikov"}
# Owner, name, profile, time zone, seconds between readings (0: no readings).
DEVICES = (
    ("ada", "Greenhouse north", "climate", "Europe/Berlin", 60),
    ("ada", "Greenhouse south", "climate", "Europe/Berlin", 300),
    ("ada", "Cold store", "climate", "Europe/Berlin", 300),
    ("ada", "Pump 1", "xyz", "Europe/Berlin", 300),
    ("grace", "Turbine bearing A", "xyz", "America/New_York", 60),
    ("grace", "Turbine bearing B", "xyz", "America/New_York", 300),
    ("grace", "Silo level", "scalar", "America/New_York", 300),
    ("grace", "Control room", "climate", "America/New_York", 300),
    ("emmy", "Bridge pier 1", "xyz", "Asia/Tokyo", 300),
    ("emmy", "Bridge pier 2 (gaps)", "xyz", "Asia/Tokyo", 300),
    ("emmy", "River gauge", "scalar", "Asia/Tokyo", 300),
    ("emmy", "Spare sensor (silent)", "scalar", "Asia/Tokyo", 0),
)
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
    for name, (description, channels) in PROFILES.items():
        profile, _ = DeviceProfile.objects.get_or_create(name=name, defaults={"description": description})
        for position, (channel, unit) in enumerate(channels):
            profile.channels.create(position=position, name=channel, unit=unit)
    profiles = {profile.name: profile for profile in DeviceProfile.objects.all()}
    people = {
        login: User.objects.create_user(login, f"{login}@example.com", name=name)
        for login, name in PEOPLE.items()
    }
    Device.objects.create(owner=User.objects.get(login="admin"), profile=profiles[HOST], name="This computer")
    random = np.random.default_rng(SEED)
    for login, name, profile_name, zone, seconds in DEVICES:
        device = Device.objects.create(
            owner=people[login], profile=profiles[profile_name], name=name, time_zone=zone
        )
        if seconds:
            fill(device, now, seconds, random)
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


def fill(device: Device, now: datetime, seconds: int, random: np.random.Generator) -> None:
    count = DAYS * 86400 // seconds
    channels = np.column_stack([plausible_values(channel.name, count, random) for channel in device.channels])
    stored = random.random(count) > 0.15 if "gaps" in device.name else np.ones(count, bool)
    if "gaps" in device.name:
        stored[count // 3 : count // 3 + count // 20] = False
    times = unix_microseconds(now) - 1_000_000 * seconds * np.arange(count - 1, -1, -1)
    store_now(intake.take_values(Target.of(device), UnixTimes(times[stored]), channels[stored]))


def plausible_values(channel: str, count: int, random: np.random.Generator) -> np.ndarray:
    """Values over DAYS days, shape (count,): level, daily wave, slow drift and noise."""
    level, wave, noise = {
        "temperature": (19.0, 4.0, 0.2),
        "humidity": (55.0, 10.0, 1.0),
        "pressure": (1013.0, 2.0, 0.3),
        "value": (3.2, 0.4, 0.05),
    }.get(channel, (0.0, 0.3, 0.8))
    days = np.linspace(0, DAYS, count)
    drift = np.cumsum(random.normal(0, noise / 30, count))
    return np.round(level + wave * np.sin(2 * np.pi * days) + drift + random.normal(0, noise, count), 4)


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


def write_agent_key(path: Path) -> None:
    """Issue a new key for this computer's device and write it to a file that only its owner may read."""
    device = Device.objects.filter(profile__name=HOST).order_by("pk").first()
    if device is None:
        return
    device.keys.all().delete()
    _key, text = DeviceKey.issue(device=device)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"device": str(device.uuid), "key": text}, file)
