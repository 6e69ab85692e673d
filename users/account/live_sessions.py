"""How sessions are stored, and those of a user that can still be used."""

from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from users.models import User

# As Django demands.
SHORTEST_KEY = 8


class SessionStore(DatabaseSessions):
    """Signs a session of a former SECRET_KEY anew, and leaves it its own key.

    Django would give it another: what its browser asks at the same time would be answered as to a stranger,
    and the list of sessions would not have it any more.
    """

    def _validate_session_key(self, key: str | None) -> bool:
        # A cookie may say anything, NUL included, which no database takes.
        return key is not None and len(key) >= SHORTEST_KEY and key.isascii() and key.isalnum()

    def load(self) -> dict[str, Any]:
        values = super().load()
        signed = values.get(HASH_SESSION_KEY)
        if settings.SECRET_KEY_FALLBACKS and signed:
            user = User.objects.filter(pk=values.get(SESSION_KEY)).first()
            former = user.get_session_auth_fallback_hash() if user else ()
            if user and any(constant_time_compare(signed, each) for each in former):
                values[HASH_SESSION_KEY] = user.get_session_auth_hash()
                self.modified = True
        return values


def live_sessions(user: User) -> list[UserSession]:
    """Return them, and forget those that expired or that a new password ended.

    allauth's own method asks the database for each session apart.
    """
    rows = list(UserSession.objects.filter(user=user))
    keys = [row.session_key for row in rows]
    hashes = {user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()}
    alive = {
        session.session_key
        for session in Session.objects.filter(session_key__in=keys, expire_date__gt=timezone.now())
        if session.get_decoded().get(HASH_SESSION_KEY) in hashes
    }
    UserSession.objects.filter(pk__in=[row.pk for row in rows if row.session_key not in alive]).delete()
    return [row for row in rows if row.session_key in alive]
