"""The one way in which pages show numbers and moments; `devices.notation` writes the texts."""

from datetime import datetime, timedelta, tzinfo
from typing import Literal, cast

from django import template
from django.utils import timezone
from django.utils.html import format_html

from devices.notation import moments, numbers

register = template.Library()

NOTHING = "\N{EM DASH}"
Decimals = int | Literal["own"] | None


@register.filter
def number(value: float | Literal[""] | None, decimals: Decimals = "own") -> str:
    """Show a number with the decimals of its channel, without an argument with its own.

    The exact double is the tooltip, and what copies take (pages/exact_copies.js).
    """
    if value is None or value == "":
        return NOTHING
    return number_element(value, numbers.number_text(value, given_decimals(value, decimals)))


@register.filter
def number_or_text(value: object) -> object:
    """Show an input of a calculation: a number as `number` does, everything else as it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(cast(float, value)) if is_number else NOTHING if value is None else value


@register.filter
def derived(value: float | Literal[""] | None, decimals: Decimals = "own") -> str:
    """Show an average, a median or a percentile of a channel with these decimals."""
    if value is None or value == "":
        return NOTHING
    return number_element(value, numbers.derived_text(value, given_decimals(value, decimals)))


def given_decimals(value: float, decimals: Decimals) -> int | None:
    return numbers.learnt_decimals([value]) if decimals == "own" else decimals


def number_element(value: float, text: str) -> str:
    return format_html(
        '<data class="number" value="{0}" title="{0}">{1}</data>', numbers.exact_text(value), text
    )


@register.simple_tag
def moment(time: datetime | None, zone: tzinfo | None = None, *, is_named: bool = False) -> str:
    """Show a moment to the second, in the viewer's time zone if none is given.

    The tooltip has the microseconds and the zone. `is_named`: UTC is named, too, where the page does not.
    """
    if time is None:
        return NOTHING
    zone = zone or timezone.get_current_timezone()
    clock, offset = moments.moment_text(time, zone)
    suffix = ("UTC" if is_named else "") if str(zone) == "UTC" else offset
    return format_html(
        '<time datetime="{}" title="{}">{}{}</time>',
        moments.iso_text(time),
        tooltip(time, zone),
        clock,
        format_html(' <span class="offset">{}</span>', suffix) if suffix else "",
    )


@register.simple_tag
def ago(time: datetime | None, now: datetime, zone: tzinfo | None = None) -> str:
    """Show how long ago a moment was; pages/relative_times.js goes on from `now`."""
    if time is None:
        return NOTHING
    return format_html(
        '<time datetime="{}" title="{}" data-ago="{}">{}</time>',
        moments.iso_text(time),
        tooltip(time, zone or timezone.get_current_timezone()),
        moments.iso_text(now),
        moments.relative_text(time, now),
    )


def tooltip(time: datetime, zone: tzinfo) -> str:
    clock, offset = moments.moment_text(time, zone, to_microsecond=True)
    return f"{clock} UTC" if str(zone) == "UTC" else f"{clock} {offset}, {zone}"


@register.filter
def span(seconds: float | None) -> str:
    """Show a duration in its two largest units; below ten seconds to a tenth."""
    return NOTHING if seconds is None else moments.two_units_text(timedelta(seconds=seconds))
