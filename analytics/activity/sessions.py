"""Django's views for logging in and out on the portal's pages, which also note an event in the outbox.

Django admin notes the same in config/admin.py. Signals would also fire for sessions that programs make.
"""

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from analytics.activity.events.event import LOGIN, LOGOUT
from analytics.activity.models import PendingEvent


class LogIn(LoginView):
    template_name = "users/login.html"

    @transaction.atomic
    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        PendingEvent.note(form.get_user().pk, LOGIN)
        return super().form_valid(form)


class LogOut(LogoutView):
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        note_logout(request)
        return super().post(request, *args, **kwargs)


def note_logout(request: HttpRequest) -> None:
    """Note the event, unless nobody was logged in, as in an open demo."""
    if request.user.is_authenticated and not getattr(request, "is_open_demo", False):
        PendingEvent.note(request.user.pk, LOGOUT)
