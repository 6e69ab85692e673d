from collections.abc import Sequence
from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from axes.models import AccessAttempt
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import cached_property

from users.models import SHOWN_ONCE, Credential, Role, Scope, Token, User
from users.trail.notes import note_unlocking

# Permissions follow from the role alone.
admin.site.unregister(Group)
# allauth's own pages would show secrets of second factors; what is left is in the portal's pages or unused.
admin.site.unregister([Authenticator, EmailAddress, SocialAccount, SocialApp, SocialToken, UserSession])


class NewUserForm(AdminUserCreationForm):
    """Django admin's form for a new user; a user who only uses tokens needs no password."""

    class Meta:
        model = User
        fields = ("login", "name", "email", "role")


class TokenForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple, initial=list(Scope.values)
    )

    class Meta:
        model = Token
        fields = ("user", "name", "scopes", "expires_at")


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that nobody adds, changes or deletes in Django admin."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class UncountedPaginator(Paginator):
    """Offers pages up to MAX_ROWS: counting all readings or logs may take seconds."""

    object_list: QuerySet
    MAX_ROWS = 10_000

    @cached_property
    def count(self) -> int:
        return self.object_list.values("pk")[: self.MAX_ROWS].count()


class HolderAdmin(admin.ModelAdmin):
    """Holders of credentials: deleting one deletes its credentials, which can't be deleted alone."""

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        names = {model._meta.verbose_name for model in Credential.__subclasses__()}
        deleted, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, forbidden - names, protected


@admin.register(User)
class PlumblineUserAdmin(HolderAdmin, UserAdmin):
    """Django's own admin of users, with a role in place of groups and permissions."""

    actions = ("revoke_tokens",)
    add_form = NewUserForm
    list_display = ("login", "name", "email", "role", "is_active", "last_login")
    list_filter = ("role", "is_active")
    search_fields = ("login", "name", "email")
    ordering = ("id",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("login", "password")}),
        ("Person", {"fields": ("name", "email")}),
        ("Permissions", {"fields": ("role", "is_active")}),
        ("Dates", {"fields": ("last_login", "created_at")}),
    )
    add_fieldsets = (
        (None, {"fields": ("login", "name", "email", "role", "usable_password", "password1", "password2")}),
    )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change and "email" in form.changed_data:
            obj.email_changed_at = timezone.now()
        super().save_model(request, obj, form, change)

    @admin.action(description="Revoke all tokens of selected users")
    def revoke_tokens(self, request: HttpRequest, users: QuerySet) -> None:
        """For an admin who sets somebody's password because it was stolen: it ends sessions, not tokens."""
        count = Token.objects.filter(user__in=users, revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"Revoked: {count}.")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        """Protect the last active admin: the pages then neither offer nor accept the deletion."""
        deleted, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        admins = User.objects.filter(role=Role.ADMIN, is_active=True)
        if not admins.exclude(pk__in=[user.pk for user in objs]).exists():
            protected = [*protected, "The last active admin can't be deleted."]
        return deleted, counts, forbidden, protected


def show_once(
    request: HttpRequest, site: admin.AdminSite, model: Any, texts: Sequence[tuple[str, str]]
) -> HttpResponse:
    """Show new credentials, (name, text), in the answer itself.

    Not by `messages`: these put a text in clear into a cookie, which a redirect carries to the next page.
    """
    context = {**site.each_context(request), "title": "Copy it now", "opts": model._meta, "texts": texts}
    return TemplateResponse(request, "admin/new_credentials.html", context, headers=SHOWN_ONCE)


class CredentialAdmin(admin.ModelAdmin):
    """Shows a new credential's text once; afterwards the credential can only be revoked."""

    actions = ("revoke",)
    list_display: tuple[str, ...] = (
        "prefix",
        "holder",
        "created_at",
        "expires_at",
        "last_used_at",
        "revoked_at",
    )
    readonly_fields = ("prefix", "created_at", "last_used_at", "revoked_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            return super().save_model(request, obj, form, change)
        issued, obj.text = type(obj).issue(**form.cleaned_data)
        obj.__dict__.update(issued.__dict__)
        return None

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return show_once(request, self.admin_site, self.model, [(str(obj), obj.text)])

    @admin.action(description="Revoke selected credentials")
    def revoke(self, request: HttpRequest, credentials: QuerySet) -> None:
        count = credentials.filter(revoked_at=None).update(revoked_at=timezone.now())
        messages.success(request, f"Revoked: {count}.")


@admin.register(Token)
class TokenAdmin(CredentialAdmin):
    form = TokenForm
    list_display = ("prefix", "user", "name", "scopes", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("user",)
    autocomplete_fields = ("user",)
    search_fields = ("prefix", "name", "user__login")

    def get_readonly_fields(self, request: HttpRequest, obj: Token | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "user") if obj else self.readonly_fields


class DeleteOnlyAdmin(ReadOnlyAdmin):
    """Rows that the product writes, and an admin may delete."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(AccessAttempt)
class AccessAttemptAdmin(DeleteOnlyAdmin):
    """Wrong passwords of the last minutes. Deleting a row unlocks its login at its address."""

    list_display = ("username", "ip_address", "failures_since_start", "attempt_time")
    search_fields = ("username", "ip_address")
    fields = list_display

    @transaction.atomic
    def delete_model(self, request: HttpRequest, obj: AccessAttempt) -> None:
        note_unlocking(obj.username, obj.ip_address)
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        for attempt in queryset:
            note_unlocking(attempt.username, attempt.ip_address)
        super().delete_queryset(request, queryset)


@admin.register(Authenticator)
class AuthenticatorAdmin(DeleteOnlyAdmin):
    """Second factors, without their secrets. Deleting one lets somebody in who has lost it."""

    list_display = ("user", "type", "created_at", "last_used_at")
    list_filter = ("type",)
    list_select_related = ("user",)
    search_fields = ("user__login",)
    fields = list_display
