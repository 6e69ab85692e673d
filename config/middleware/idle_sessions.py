import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest, HttpResponse

SEEN_AT = "seen_at"
# The session is written so often, not with each request; a short one oftener.
STEP_SECONDS = 60
# What a page asks by a timer carries it: a screen that nobody looks at is no use of the session.
POLL = "Plumbline-Poll"


def end_idle_sessions(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable:
    """Let a session of a person end SESSION_IDLE_MINUTES after the last request that a person caused."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        session = request.session
        # A post of readings must not load one.
        is_persons = settings.SESSION_IDLE_MINUTES and session.accessed and SESSION_KEY in session
        if is_persons and POLL not in request.headers and seconds_since_seen(session) >= step_seconds():
            note_seen(session)
        return response

    return middleware


def seconds_since_seen(session: Any) -> float:
    return time.time() - session.get(SEEN_AT, 0)


def step_seconds() -> int:
    return min(STEP_SECONDS, 6 * settings.SESSION_IDLE_MINUTES)


def note_seen(session: Any) -> None:
    session[SEEN_AT] = int(time.time())
    session.set_expiry(60 * settings.SESSION_IDLE_MINUTES)


def note_log_in(request: Any, **_: object) -> None:
    """Note it with the log-in, which writes the session anyway."""
    if settings.SESSION_IDLE_MINUTES:
        note_seen(request.session)
