"""The devices in a fleet's result: within the task's answer, or of a large fleet on pages of their own."""

from typing import Any

from django.urls import reverse

from analytics.models import Analysis

MOST_WITHIN = 1000


def answered_result(analysis: Analysis) -> dict[str, Any] | None:
    """The result as the task's answer has it: of more than MOST_WITHIN devices a link stands for them."""
    result = analysis.result
    if result is None or len(result.get("devices", ())) <= MOST_WITHIN:
        return result
    link = reverse("analytics:api-task-devices", args=[analysis.pk])
    return result | {"devices": None, "details": None, "devices_link": link}


def device_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each device of a fleet's result, as flat as the result of a device, by id."""
    details = result.get("details", {})
    return [
        {"device_id": device_id, **details.get(device_id, {}), **channels}
        for device_id, channels in sorted(result["devices"].items())
    ]
