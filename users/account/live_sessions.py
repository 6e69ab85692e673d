"""Sessions of a user that can still be used."""

from allauth.usersessions.models import UserSession
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.sessions.models import Session
from django.utils import timezone

from users.models import User


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
