"""A change of email: the new address counts once its owner has followed the link sent to it.

Whoever asks is not told whether somebody else has the address: that person is, by mail.
"""

from allauth.account.adapter import get_adapter
from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from users.models import User

SALT = "users.email-change"
MAX_AGE_SECONDS = 24 * 3600


class LinkRefused(Exception):
    """The link is forged, too old or already used, or its email now belongs to somebody else."""


def sign_change(user: User, new_email: str) -> str:
    """Return the secret part of the link. A new password and every change of the email void it."""
    return signing.dumps([user.pk, new_email, mark_of(user, settings.SECRET_KEY)], salt=SALT)


def mark_of(user: User, key: str) -> str:
    """Digest of what a link hangs on. The time of the last change counts, as an old email may return."""
    return salted_hmac(SALT, f"{user.password} {user.email} {user.email_changed_at}", key).hexdigest()


def is_mark_of(mark: str, user: User) -> bool:
    """Tell whether the mark is the user's, under the present SECRET_KEY or a former one."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(constant_time_compare(mark, mark_of(user, key)) for key in keys)


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
def confirm_change(text: str) -> tuple[User, str]:
    """Store the new email of a signed link; return the user and the email before. Raises LinkRefused."""
    try:
        pk, new_email, mark = signing.loads(text, salt=SALT, max_age=MAX_AGE_SECONDS)
    except signing.BadSignature as error:
        raise LinkRefused from error
    user = User.objects.select_for_update().filter(pk=pk, is_active=True).first()
    if user is None or not is_mark_of(mark, user):
        raise LinkRefused
    old_email = user.email
    user.email, user.email_changed_at = new_email, timezone.now()
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "email_changed_at"])
    except IntegrityError as error:
        raise LinkRefused from error
    return user, old_email
