"""Users, their roles, and the credentials of users and devices."""

import re
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Lower
from django.utils import timezone

from users.hashes import is_hash_of, keyed_hash
from users.limits import LimitReached

MINUTE = timedelta(minutes=1)
# Revoked and expired credentials of a holder that stay in lists, for the record.
MOST_KEPT = 100
# Apps whose rows only admins see in Django admin.
FOR_ADMINS = ("users.", "auth.", "axes.", "mfa.")


# Headers of an answer with the text of a credential: `config.middleware.compression` leaves it as it is.
SHOWN_ONCE = {"Cache-Control": "private, no-store"}


class Role(models.TextChoices):
    ADMIN = "admin"
    STAFF = "staff"
    OWNER = "owner"


class Language(models.TextChoices):
    ENGLISH = "en", "English"
    RUSSIAN = "ru", "Русский"


class Theme(models.TextChoices):
    SYSTEM = "system", "As the system"
    LIGHT = "light"
    DARK = "dark"


class UserQuerySet(models.QuerySet):
    def visible_to(self, user: Any) -> Self:
        """All users for admin and staff, only themselves for an owner, none without authentication."""
        if not user.is_authenticated:
            return self.none()
        return self if user.is_staff else self.filter(pk=user.pk)

    def matching(self, text: str) -> Self:
        """Users whose login, name or email contains the text, ignoring case."""
        return self.filter(Q(login__icontains=text) | Q(name__icontains=text) | Q(email__icontains=text))

    def with_email(self, email: str) -> Self:
        """The user with this email, compared as the unique constraint does; see `get_by_natural_key`."""
        return self.alias(lowered_email=Lower("email")).filter(lowered_email=Lower(Value(email)))


class UserManager(BaseUserManager["User"]):
    def get_by_natural_key(self, login: str | None) -> "User":
        # Compare as the unique constraint does; `iexact` uses UPPER, for which a dotless i equals an i.
        return self.alias(lowered=Lower("login")).get(lowered=Lower(Value(login)))

    def create_user(self, login: str, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a user; without a password they can't log in to the pages until an admin sets one."""
        user = self.model(login=login or self.free_login(email), email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, login: str, email: str, password: str | None = None, **fields: Any) -> "User":
        """Raises ValidationError for a weak password, also where `createsuperuser` would take it."""
        if password:
            validate_password(password, self.model(login=login, email=email))
        return self.create_user(login, email, password, role=Role.ADMIN, **fields)

    def free_login(self, email: str) -> str:
        """Return the part of the email before the @, with a number appended if that login is taken."""
        base = re.sub(r"[^\w.+-]", "-", email.partition("@")[0].lower())[:140] or "user"
        taken = set(self.filter(login__istartswith=base).values_list(Lower("login"), flat=True))
        number = 2
        login = base
        while login in taken:
            login = f"{base}-{number}"
            number += 1
        return login


class User(AbstractBaseUser):
    """A person, or a program that acts for one. Permissions follow from the role alone."""

    login = models.CharField(max_length=150, unique=True, validators=[UnicodeUsernameValidator()])
    name = models.CharField(max_length=200)
    email = models.EmailField()
    # Links that confirm a new email hang on it.
    email_changed_at = models.DateTimeField(null=True, editable=False)
    role = models.CharField(max_length=10, choices=Role, default=Role.OWNER)
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Defaults of the database, too: while hosts are upgraded one by one, older code still inserts users.
    language = models.CharField(
        max_length=2, choices=Language, default=Language.ENGLISH, db_default=Language.ENGLISH
    )
    time_zone = models.CharField(max_length=64, blank=True, default="", db_default="")
    theme = models.CharField(max_length=6, choices=Theme, default=Theme.SYSTEM, db_default=Theme.SYSTEM)

    objects = UserManager.from_queryset(UserQuerySet)()

    USERNAME_FIELD = "login"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["email", "name"]

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                Lower("login"), name="user_login_unique", violation_error_message="This login is taken."
            ),
            models.UniqueConstraint(
                Lower("email"), name="user_email_unique", violation_error_message="This email is in use."
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="user_role_known"),
        )

    def __str__(self) -> str:
        return self.login

    @property
    def is_admin(self) -> bool:
        return self.is_active and self.role == Role.ADMIN

    @property
    def is_staff(self) -> bool:
        """True if the user may see all data and enter Django admin."""
        return self.is_active and self.role in (Role.ADMIN, Role.STAFF)

    is_superuser = is_admin

    def clean(self) -> None:
        super().clean()
        stored = User.objects.filter(pk=self.pk).first() if self.pk else None
        if stored is not None and not self.is_admin and stored.is_last_admin():
            raise ValidationError("The last active admin can't be demoted or deactivated.")

    def has_perm(self, permission: str, obj: Any = None) -> bool:
        """Answer Django admin's check: staff may do all but manage users and their credentials."""
        return self.is_admin or (self.is_staff and not permission.startswith(FOR_ADMINS))

    def has_perms(self, permissions: Any, obj: Any = None) -> bool:
        return all(self.has_perm(permission, obj) for permission in permissions)

    def has_module_perms(self, app_label: str) -> bool:
        return self.has_perm(f"{app_label}.")

    @transaction.atomic
    def delete_or_deactivate(self, *, purge: bool = False) -> None:
        """Erase a user who owns nothing, else deactivate them; `purge` also erases all that they own."""
        try:
            self.delete()
        except models.ProtectedError as error:
            if not purge:
                self.is_active = False
                self.save(update_fields=["is_active"])
                return
            protected: set[Any] = error.protected_objects
            for owned in protected:
                owned.erase()
            self.delete()

    def is_last_admin(self) -> bool:
        others = User.objects.filter(role=Role.ADMIN, is_active=True).exclude(pk=self.pk)
        return self.is_admin and not others.exists()


class Credential(models.Model):
    """A secret of which only a keyed hash is stored; a visible prefix identifies it.

    Its text is `prefix.secret`: the KIND with 8 hexadecimal digits, then 256 random bits in base64url.
    """

    KIND = ""
    objects: ClassVar[models.Manager[Self]]

    prefix = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return self.prefix

    @classmethod
    @transaction.atomic
    def issue(cls, **fields: Any) -> tuple[Self, str]:
        """Store a new credential; return it with its text, which can't be recovered later.

        Raises LimitReached if its holder has too many valid ones.
        """
        cls.require_room(fields)
        prefix = f"{cls.KIND}_{secrets.token_hex(4)}"
        text = f"{prefix}.{secrets.token_urlsafe(32)}"
        return cls.objects.create(prefix=prefix, digest=keyed_hash(text), **fields), text

    @classmethod
    def require_room(cls, fields: dict[str, Any]) -> None:
        """Require that the holder, who is one of the fields, may have one more."""

    @classmethod
    def bound(cls, held: QuerySet[Self], most: int, setting: str) -> None:
        """Require fewer than `most` valid ones among the holder's; forget all but the newest of the others.

        The holder's row is locked: two simultaneous requests do not count the same ones.
        """
        is_valid = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
        valid = held.filter(is_valid).count()
        if most and valid >= most:
            raise LimitReached(
                f"{valid} {cls._meta.verbose_name_plural} are valid; at most {most} may be ({setting})."
                " Revoke those that are no longer used."
            )
        over = held.exclude(is_valid).order_by("-created_at", "-pk").values_list("pk", flat=True)
        forgotten = list(over[MOST_KEPT:])
        if forgotten:
            cls.objects.filter(pk__in=forgotten).delete()

    @classmethod
    def find(cls, text: str, now: datetime, *related: str) -> Self | None:
        """Return the credential of this text, or None if it is unknown, expired or revoked."""
        return cls.find_all([text], now, *related).get(text)

    @classmethod
    def find_all(cls, texts: Iterable[str], now: datetime, *related: str) -> dict[str, Self]:
        """Map each text of a usable credential to that credential, with one query."""
        texts = {text: text.partition(".")[0][:12] for text in texts}
        stored = cls.objects.select_related(*related).filter(prefix__in=set(texts.values()))
        by_prefix = {credential.prefix: credential for credential in stored}
        found = {text: by_prefix[prefix] for text, prefix in texts.items() if prefix in by_prefix}
        usable = {
            text: credential
            for text, credential in found.items()
            if is_hash_of(credential.digest, text) and credential.is_usable(now)
        }
        for text, credential in usable.items():
            credential.renew_digest(text)
        return usable

    def renew_digest(self, text: str) -> None:
        """Store the hash under the present pepper if it is still that of a former one."""
        former, self.digest = self.digest, keyed_hash(text)
        if self.digest != former:
            type(self).objects.filter(pk=self.pk, digest=former).update(digest=self.digest)

    def is_usable(self, now: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def note_use(self, now: datetime) -> None:
        """Store the time of use, at most once a minute to save writes."""
        if self.last_used_at is None or self.last_used_at < now - MINUTE:
            self.note_uses([self.pk], now)

    @classmethod
    def note_uses(cls, ids: Iterable[int], now: datetime) -> None:
        """Store the time of use of many credentials, with one query."""
        table = connection.ops.quote_name(cls._meta.db_table)
        # SKIP LOCKED: posts of readings must not wait for a transaction that is changing a credential.
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                UPDATE {table} SET last_used_at = %s WHERE id = ANY(ARRAY(
                    SELECT id FROM {table}
                    WHERE id = ANY(%s) AND (last_used_at IS NULL OR last_used_at < %s)
                    FOR NO KEY UPDATE SKIP LOCKED
                ))
                """,
                [now, list(ids), now - MINUTE],
            )

    def revoke(self, now: datetime) -> None:
        type(self).objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=now)


class Scope(models.TextChoices):
    READ = "read"
    WRITE = "write"
    INGEST = "ingest", "Post readings"


def all_scopes() -> list[str]:
    return list(Scope.values)


class Token(Credential):
    """A program's credential, sent as `Authorization: Token …`. It allows no more than its user may do."""

    KIND = "plt"

    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100, blank=True)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope), default=all_scopes)

    @classmethod
    def require_room(cls, fields: dict[str, Any]) -> None:
        # One who was deleted meanwhile is a conflict of the row to come.
        User.objects.select_for_update(no_key=True).filter(pk=fields["user"].pk).first()
        cls.bound(cls.objects.filter(user=fields["user"]), settings.TOKENS_PER_USER, "TOKENS_PER_USER")


class Invitation(Credential):
    """A link by which somebody makes their own account: once, in time, and while its sender is an admin."""

    KIND = "pli"

    email = models.EmailField()
    role = models.CharField(max_length=10, choices=Role, default=Role.OWNER)
    invited_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    accepted_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", editable=False)
    accepted_at = models.DateTimeField(null=True, editable=False)

    def is_usable(self, now: datetime) -> bool:
        sender = self.invited_by
        return super().is_usable(now) and self.accepted_at is None and sender is not None and sender.is_admin

    def state(self, now: datetime) -> str:
        if self.accepted_at is not None:
            return "accepted"
        if self.revoked_at is not None:
            return "withdrawn"
        return "open" if self.is_usable(now) else "expired"
