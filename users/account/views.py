"""Pages where people manage their own account; allauth adds those of passwords and second factors."""

import logging
from typing import Any

import requests
from allauth.account.adapter import get_adapter
from allauth.account.decorators import reauthentication_required
from allauth.account.views import PasswordResetFromKeyView
from allauth.core.ratelimit import respond_429
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from allauth.usersessions.internal.flows.sessions import end_sessions
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from users.account.adapters import MailFailed
from users.account.browsers import browser_name
from users.account.email_change import LinkRefused, confirm_change, sign_change
from users.account.forms import EmailChangeForm, ProfileForm
from users.account.live_sessions import live_sessions
from users.account.lockout import count_wrong_key, seconds_without_links
from users.permissions import signed_in

logger = logging.getLogger(__name__)


@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None, instance=signed_in(request))
    if form.is_valid():
        # Not the whole row: an admin may be deactivating it.
        form.instance.save(update_fields=ProfileForm.Meta.fields)
        messages.success(request, "Saved.")
        return redirect("account_profile")
    return render(request, "users/profile.html", {"form": form}, status=400 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@reauthentication_required(allow_get=True)
def email(request: HttpRequest) -> HttpResponse:
    form = EmailChangeForm(request.POST or None)
    if form.is_valid():
        new_email = form.cleaned_data["email"]
        secret = sign_change(signed_in(request), new_email)
        url = request.build_absolute_uri(reverse("account_confirm_email", args=[secret]))
        try:
            sent = get_adapter(request).deliver_mail("users/email/email_change", new_email, {"url": url})
        except MailFailed:
            form.add_error(None, "The mail could not be sent. Try again later, or ask an admin.")
        else:
            return render(request, "users/email.html", {"sent_to": new_email if sent else ""})
    return render(request, "users/email.html", {"form": form}, status=400 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@login_not_required
def confirm_email(request: HttpRequest, secret: str) -> HttpResponse:
    """Confirm by a button: programs that look into mails follow links."""
    if request.method == "GET":
        return render(request, "users/email_confirm.html")
    try:
        user = confirm_change(secret)
    except LinkRefused:
        return render(request, "users/email_confirm.html", {"is_refused": True}, status=410)
    return render(request, "users/email_confirm.html", {"confirmed": user.email})


class CountedResetView(PasswordResetFromKeyView):
    """allauth's view, which tells only its template, also of an answer in JSON, that a key is wrong."""

    def get_context_data(self, **context: Any) -> dict:
        if context.get("token_fail"):
            count_wrong_key(self.request)
        return super().get_context_data(**context)


@login_not_required
def password_reset_from_key(request: HttpRequest, uidb36: str, key: str) -> HttpResponse:
    """Set a forgotten password, unless too many wrong keys came from this address."""
    seconds = seconds_without_links(request, timezone.now())
    if seconds:
        response = respond_429(request)
        response["Retry-After"] = str(seconds)
        return response
    return CountedResetView.as_view()(request, uidb36=uidb36, key=key)


@require_http_methods(["GET", "POST"])
def sessions(request: HttpRequest) -> HttpResponse:
    """List the user's sessions; end one, all others, or all."""
    rows = live_sessions(signed_in(request))
    if request.method == "GET":
        rows.sort(key=lambda row: (not row.is_current(), -row.created_at.timestamp()))
        named = [(row, browser_name(row.user_agent)) for row in rows]
        return render(request, "users/sessions.html", {"sessions": named})
    which = request.POST.get("end", "")
    if which.isdecimal():
        ended = [get_object_or_404(UserSession, pk=which[:18], user=signed_in(request))]
    elif which in ("all", "others"):
        ended = [row for row in rows if which == "all" or not row.is_current()]
    else:
        raise BadRequest
    end_sessions(request, ended)
    return redirect("usersessions_list")


@login_not_required
def openid_login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Lead to the OpenID provider, or say that it does not answer, which allauth leaves to a 500."""
    try:
        return openid_connect.login(request, provider_id=provider_id)
    except requests.RequestException as error:
        logger.warning("The OpenID provider does not answer: %s", error)
        return render(request, "socialaccount/authentication_error.html", status=503)
