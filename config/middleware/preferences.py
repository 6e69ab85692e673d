from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from config.error_pages import PAGES


def time_zone(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Show pages in the person's own time zone. Answers of the API do not depend on who asks."""

    def middleware(request: HttpRequest) -> HttpResponse:
        zone = getattr(request.user, "time_zone", "") if request.path_info.startswith(PAGES) else ""
        with timezone.override(ZoneInfo(zone) if zone else None):
            return get_response(request)

    return middleware
