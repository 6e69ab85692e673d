"""What django-allauth does otherwise here: nobody signs up, mail may be missing, secrets are encrypted."""

import logging
import time
from smtplib import SMTPException
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from users.account.addresses import client_address
from users.hashes import cipher
from users.models import User
from users.trail.notes import UNKNOWN, note_refusal

logger = logging.getLogger(__name__)
# Who has logged in so recently is not asked for the password again.
FRESH_SECONDS = 300


class MailFailed(Exception):
    """The mail server refused the mail or did not answer."""


class PortalAccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        return client_address(request)

    def set_password(self, user: Any, password: str) -> None:
        user.set_password(password)
        # Not the whole row: an admin may be deactivating it.
        user.save(update_fields=["password"])

    def deliver_mail(self, template_prefix: str, email: str, values: dict[str, Any]) -> bool:
        """Send a mail; return False if no mail is set up. Raises MailFailed."""
        if not settings.MAIL_IS_SET_UP:
            return False
        try:
            super().send_mail(template_prefix, email, values)
        except (OSError, SMTPException) as error:
            logger.error("A mail could not be sent: %s", error)
            raise MailFailed from error
        return True

    def send_mail(self, template_prefix: str, email: str, context: dict) -> None:
        """Send a mail if that is possible.

        The page about a forgotten password looks the same whether the address is known or not, so it must not
        fail for known addresses alone.
        """
        try:
            self.deliver_mail(template_prefix, email, context)
        except MailFailed:
            return

    def send_notification_mail(
        self, template_prefix: str, user: Any, context: dict | None = None, email: str | None = None
    ) -> None:
        super().send_notification_mail(template_prefix, user, context, email or user.email)

    def is_reauthentication_required(self, *, app: str, **_: Any) -> bool:
        """Ask for the password again, unless the log-in is fresh or the user has nothing to prove it with."""
        request = context.request
        if not self.get_reauthentication_methods(request.user):
            return False
        records = get_authentication_records(request, request.user)
        return not any(time.time() - record["at"] < FRESH_SECONDS for record in records)


class SecondFactorAdapter(DefaultMFAAdapter):
    """Encrypts secrets of second factors: a copy of the database alone makes no codes."""

    def encrypt(self, text: str) -> str:
        return cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return cipher().decrypt(encrypted_text.encode()).decode()

    def get_totp_label(self, user: Any) -> str:
        return user.login

    def _get_user_identifier(self, user: Any) -> str:
        return user.login


class OpenIDAdapter(DefaultSocialAccountAdapter):
    """Lets people in whom the provider of OIDC_ISSUER knows by the verified email of an account here."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        # Connecting by hand would let a foreign page tie its identity to the account of whoever is logged in.
        if sociallogin.state.get("process") not in (None, "login"):
            raise ImmediateHttpResponse(refusal(request, ""))
        if sociallogin.is_existing:
            if not sociallogin.user.is_active:
                # allauth refuses them.
                note_refused_identity(sociallogin.user.email)
            return
        emails = [address.email for address in sociallogin.email_addresses if address.verified]
        user = User.objects.with_email(emails[0]).filter(is_active=True).first() if emails else None
        if user is None:
            raise ImmediateHttpResponse(refusal(request, emails[0] if emails else ""))
        sociallogin.connect(request, user)


def refusal(request: HttpRequest, email: str) -> HttpResponse:
    note_refused_identity(email)
    return render(request, "users/unknown_identity.html", {"email": email}, status=403)


def note_refused_identity(email: str) -> None:
    """Note it in the trail by its email, which the provider has verified: nobody typed it here."""
    note_refusal("log_in_failed", "identity", label=email or UNKNOWN)
