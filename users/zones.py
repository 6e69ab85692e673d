"""Names of time zones, as people and programs give them."""

from functools import cache
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError


@cache
def zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def known_zone(name: str) -> None:
    if name not in zone_names():
        raise ValidationError(f"“{name}” is not an IANA time zone, such as Europe/Berlin.")
