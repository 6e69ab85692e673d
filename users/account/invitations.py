"""Invitations: an admin sends a link, and the invited person makes their own account with it."""

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from users.models import Invitation, User

VALID_DAYS = 7


class InvitationRefused(Exception):
    """The link is unknown, used, withdrawn or expired."""


class NameTaken(Exception):
    """Another account has the login or the email."""


@transaction.atomic
def invite(email: str, role: str, *, by: User, now: datetime) -> tuple[Invitation, str]:
    """Store an invitation in place of earlier ones to this address; return it with the secret of its link."""
    earlier = Invitation.objects.filter(email__iexact=email, accepted_at=None, revoked_at=None)
    earlier.update(revoked_at=now)
    ends = now + timedelta(days=VALID_DAYS)
    return Invitation.issue(email=email, role=role, invited_by=by, expires_at=ends)


def open_invitation(text: str, now: datetime) -> Invitation:
    """Return the invitation of a link. Raises InvitationRefused."""
    found = Invitation.find(text, now, "invited_by") if text.isprintable() else None
    if found is None:
        raise InvitationRefused
    return found


@transaction.atomic
def accept(invitation: Invitation, *, login: str, name: str, password: str, now: datetime) -> User:
    """Create the invited person's account. Raises InvitationRefused, NameTaken."""
    # The lock lets one of two requests with the same link find it open.
    locked = Invitation.objects.select_for_update(of=("self",)).select_related("invited_by")
    found = locked.get(pk=invitation.pk)
    if not found.is_usable(now):
        raise InvitationRefused
    try:
        with transaction.atomic():
            user = User.objects.create_user(login, found.email, password, name=name, role=found.role)
    except IntegrityError as error:
        raise NameTaken from error
    found.accepted_at, found.accepted_by = now, user
    found.save(update_fields=["accepted_at", "accepted_by"])
    return user
