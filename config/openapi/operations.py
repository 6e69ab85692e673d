"""What the OpenAPI document says of each operation: summary, tag and credentials come from its view."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

from config.openapi import credentials  # noqa: F401  # registers the schemes
from devices.authentication import PostsReadings

# Carry a view's texts from get_operation to add_errors, which removes them.
CONFLICTS, TOO_MANY = "x-conflicts", "x-too-many"
TAGS = {
    "readings": "Post readings, one or many, and list what is stored.",
    "devices": "Senders of readings, and the keys by which they post.",
    "profiles": "Kinds of devices: the channels of their readings, with units and ranges.",
    "exclusions": "Corrections: readings that statistics leave out, with a reason.",
    "analyses": "Exact statistics of a device or of all devices of a user, computed as tasks.",
    "calculations": "Runs of kernels, in a queue and with progress; each can be repeated to the last digit.",
    "activity": "Blogs, posts and events of people, and datasets counted from them.",
    "users": "People and programs that use the portal, and their tokens.",
    "probes": "For an orchestrator: whether the portal is alive and ready.",
}
# By the module of the view; the first that fits counts.
TAG_OF_MODULE = {
    "devices.ingestion": "readings",
    "devices.readings_api": "readings",
    "devices.exclusions": "exclusions",
    "devices.profiles": "profiles",
    "devices": "devices",
    "analytics.analyses": "analyses",
    "analytics.calculations": "calculations",
    "analytics.activity": "activity",
    "users": "users",
}


class PlumblineSchema(AutoSchema):
    """Takes the first line of a handler's docstring as the summary and the rest as the description."""

    def get_tags(self) -> list[str]:
        module = type(self.view).__module__
        return [next(tag for start, tag in TAG_OF_MODULE.items() if module.startswith(start))]

    def get_auth(self) -> list[dict]:
        """Offer device keys only where readings are posted."""
        schemes = super().get_auth()
        if PostsReadings in self.view.permission_classes:
            return schemes
        return [scheme for scheme in schemes if "device" not in scheme]

    def get_operation(self, *arguments: Any) -> dict | None:
        """Pass on `conflicts` and `too_many` of a view, which describe 409 and 429 by method."""
        operation = super().get_operation(*arguments)
        for name, texts in ((CONFLICTS, "conflicts"), (TOO_MANY, "too_many")):
            text = getattr(self.view, texts, {}).get(self.method)
            if operation is not None and text:
                operation[name] = text
        return operation

    def _get_request_for_media_type(self, serializer: Any, direction: Any = "request") -> tuple[Any, bool]:
        """Require a body that a component describes; drf-spectacular knows it only of serializers."""
        schema, is_required = super()._get_request_for_media_type(serializer, direction)
        return schema, is_required or isinstance(serializer, dict)

    def get_summary(self) -> str | None:
        return super().get_summary() or super().get_description().split("\n", 1)[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular overrides it
        return super().get_description().partition("\n")[2].strip()
