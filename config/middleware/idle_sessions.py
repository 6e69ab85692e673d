import time
from collections.abc import Callable

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse

SEEN_AT = "seen_at"
# The session is written so often, not with each request.
STEP_SECONDS = 60


def end_idle_sessions(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable:
    """Let a session of a person end SESSION_IDLE_MINUTES after the last request that used it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        session = request.session
        # A post of readings must not load one.
        if settings.SESSION_IDLE_MINUTES and session.accessed and SESSION_KEY in session:
            now = int(time.time())
            if now - session.get(SEEN_AT, 0) >= STEP_SECONDS:
                session[SEEN_AT] = now
                session.set_expiry(60 * settings.SESSION_IDLE_MINUTES)
        return response

    return middleware
