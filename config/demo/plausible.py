"""Values that a demo device might send. Courses depend on the moment alone, so they go on after any pause."""

from typing import NamedTuple
from zlib import crc32

import numpy as np

SECONDS_PER_DAY = 86400


class Course(NamedTuple):
    """Level, height of the daily wave and of slower ones, noise, and the resolution of the sensor."""

    level: float
    wave: float
    noise: float
    decimals: int


COURSES = {
    "temperature": Course(19.0, 3.0, 0.12, 2),
    "humidity": Course(55.0, 8.0, 0.6, 1),
    "pressure": Course(1013.0, 5.0, 0.15, 1),
    "value": Course(3.2, 0.4, 0.02, 3),
}
VIBRATION = Course(0.0, 0.3, 0.5, 3)


def grid(name: str, seconds: int, after: float, until: float) -> np.ndarray:
    """The moments, in seconds since 1970, at which the device sends: `after` not included, `until` included.

    Devices of one interval send at different moments.
    """
    offset = crc32(name.encode()) % seconds
    first = (int(after) - offset) // seconds + 1
    last = (int(until) - offset) // seconds
    return offset + seconds * np.arange(first, last + 1)


def plausible_values(name: str, channel: str, times: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Values of a device's channel at these seconds since 1970, shape (count,)."""
    course = COURSES.get(channel, VIBRATION)
    phase = crc32(f"{name} {channel}".encode()) / 2**32
    days = times / SECONDS_PER_DAY
    daily = np.sin(2 * np.pi * (days + phase / 8))
    slow = np.sin(2 * np.pi * (days / 6.7 + phase)) + 0.5 * np.sin(2 * np.pi * (days / 2.9 - phase))
    noise = random.normal(0, course.noise, len(times))
    return np.round(course.level + course.wave * (0.7 * daily + 0.3 * slow) + noise, course.decimals)


def arriving(name: str, count: int, random: np.random.Generator) -> np.ndarray:
    """Which of the device's readings arrive, shape (count,): of one with gaps, 85 of 100."""
    return random.random(count) > 0.15 if "(gaps)" in name else np.ones(count, bool)
