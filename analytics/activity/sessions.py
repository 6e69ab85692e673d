"""Logging in and out, with their events in the outbox.

Whichever way a session begins (password, passkey, OpenID, invitation) or ends, django-allauth asks the
adapters here. Signals would also fire for sessions that programs make.
"""

from collections.abc import Iterable
from typing import Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from allauth.usersessions.models import UserSession
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from analytics.activity.events.event import LOGIN, LOGOUT
from analytics.activity.models import PendingEvent
from users.account.adapters import PortalAccountAdapter
from users.account.live_sessions import live_sessions
from users.account.lockout import counted_login, seconds_locked
from users.trail.notes import note_session


class RecordingAdapter(PortalAccountAdapter):
    @transaction.atomic
    def login(self, request: HttpRequest, user: Any) -> None:
        PendingEvent.note(user.pk, LOGIN)
        note_session("logged_in", user)
        super().login(request, user)
        live_sessions(user)
        UserSession.objects.create_from_request(request)

    def logout(self, request: HttpRequest) -> None:
        note_logout(request)
        super().logout(request)


class RecordingSessionsAdapter(DefaultUserSessionsAdapter):
    def end_sessions(self, sessions: Iterable[UserSession]) -> None:
        for session in sessions:
            # The current one is logged out afterwards, which notes its event.
            if session.exists() and not session.is_current():
                PendingEvent.note(session.user_id, LOGOUT)
                note_session("logged_out", session.user)
            session.end()


class LogIn(LoginView):
    """The one door for passwords, also of Django admin; django-allauth then asks for a second factor."""

    template_name = "users/login.html"

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        login = Login(user=user, redirect_url=self.get_success_url())
        return perform_password_login(self.request, {"username": user.get_username()}, login)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        seconds = seconds_locked(self.request, counted_login(self.request), timezone.now())
        response = self.render_to_response(self.get_context_data(form=form, locked_seconds=seconds))
        if seconds:
            response.status_code = 429
            response["Retry-After"] = str(seconds)
        return response


class LogOut(LogoutView):
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        note_logout(request)
        return super().post(request, *args, **kwargs)


def note_logout(request: HttpRequest) -> None:
    """Note the event, unless nobody was logged in, as in an open demo."""
    if request.user.is_authenticated and not getattr(request, "is_open_demo", False):
        PendingEvent.note(request.user.pk, LOGOUT)
        note_session("logged_out", request.user)
