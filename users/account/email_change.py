"""A change of email: the new address counts once its owner has followed the link sent to it.

Whoever asks is not told whether somebody else has the address: that person is, by mail.
"""

from allauth.account.adapter import get_adapter
from django.core import signing
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.urls import reverse

from users.models import User

SALT = "users.email-change"
MAX_AGE_SECONDS = 24 * 3600


class LinkRefused(Exception):
    """The link is forged, too old or already used, or its email now belongs to somebody else."""


def sign_change(user: User, new_email: str) -> str:
    """Return the secret part of the link. It is void once the email changes, so it works once."""
    return signing.dumps([user.pk, user.email, new_email], salt=SALT)


def ask_for_confirmation(request: HttpRequest, user: User, new_email: str) -> bool:
    """Mail the link, or a notice to its holder where the address is taken; False without a mail server.

    Raises `users.account.adapters.MailFailed`.
    """
    if User.objects.with_email(new_email).exclude(pk=user.pk).exists():
        return get_adapter(request).deliver_mail("users/email/email_taken", new_email, {})
    path = reverse("account_confirm_email", args=[sign_change(user, new_email)])
    values = {"url": request.build_absolute_uri(path)}
    return get_adapter(request).deliver_mail("users/email/email_change", new_email, values)


@transaction.atomic
def confirm_change(text: str) -> User:
    """Store the new email of a signed link. Raises LinkRefused."""
    try:
        pk, old_email, new_email = signing.loads(text, salt=SALT, max_age=MAX_AGE_SECONDS)
    except signing.BadSignature as error:
        raise LinkRefused from error
    user = User.objects.select_for_update().filter(pk=pk, email=old_email, is_active=True).first()
    if user is None:
        raise LinkRefused
    user.email = new_email
    try:
        with transaction.atomic():
            user.save(update_fields=["email"])
    except IntegrityError as error:
        raise LinkRefused from error
    return user
