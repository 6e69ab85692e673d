from datetime import timedelta

from allauth.usersessions.models import UserSession
from celery import shared_task
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone

from users.account import attempt_cache, lockout

# A session that is just being begun has no row yet.
BEGINNING = timedelta(hours=1)


@shared_task(ignore_result=True)
def forget_sessions() -> None:
    """Delete sessions that are over, as `clearsessions` does, with their entries in lists; and old counts."""
    now = timezone.now()
    SessionStore.clear_expired()
    alive = Session.objects.values("session_key")
    UserSession.objects.filter(created_at__lt=now - BEGINNING).exclude(session_key__in=alive).delete()
    attempt_cache.forget_expired()
    lockout.forget_old(now)
