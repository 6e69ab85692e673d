from datetime import datetime, timedelta
from typing import Any

from allauth.account import forms as allauth_forms
from django import forms
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.utils import timezone

from users.models import Invitation, Language, Role, Scope, Theme, User
from users.zones import known_zone, zone_names

LIFETIMES = {"30": "30 days", "90": "90 days", "365": "a year", "": "no end"}


class ProfileForm(forms.ModelForm):
    language = forms.ChoiceField(choices=Language.choices)
    time_zone = forms.CharField(max_length=64, validators=[known_zone], required=False)
    theme = forms.ChoiceField(choices=Theme.choices)

    class Meta:
        model = User
        fields = ("name", "language", "time_zone", "theme")
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "name"})}

    @property
    def zones(self) -> list[str]:
        return sorted(zone_names())


class EmailChangeForm(forms.Form):
    email = forms.EmailField(
        label="New email", max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )


class NewTokenForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="What uses it, so that you can tell them apart.")
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple, initial=[Scope.READ]
    )
    days = forms.ChoiceField(label="Valid for", choices=list(LIFETIMES.items()), required=False, initial="90")

    def fields_of_token(self, now: datetime) -> dict[str, Any]:
        days = self.cleaned_data["days"]
        ends = now + timedelta(days=int(days)) if days else None
        return {"name": self.cleaned_data["name"], "scopes": self.cleaned_data["scopes"], "expires_at": ends}


def revoke_tokens_field() -> forms.BooleanField:
    """Offers what a new password does not do by itself; other sessions end anyway."""
    return forms.BooleanField(
        label="Revoke all my API tokens as well",
        required=False,
        help_text="Choose it if somebody may have known the old password.",
    )


def revoke_if_wished(user: User, fields: dict[str, Any]) -> None:
    if fields["revoke_tokens"]:
        user.tokens.filter(revoked_at=None).update(revoked_at=timezone.now())


class ChangePasswordForm(allauth_forms.ChangePasswordForm):
    revoke_tokens = revoke_tokens_field()

    def save(self) -> None:
        super().save()
        revoke_if_wished(self.user, self.cleaned_data)


class SetPasswordForm(allauth_forms.SetPasswordForm):
    revoke_tokens = revoke_tokens_field()

    def save(self) -> None:
        super().save()
        revoke_if_wished(self.user, self.cleaned_data)


class ResetPasswordKeyForm(allauth_forms.ResetPasswordKeyForm):
    revoke_tokens = revoke_tokens_field()

    def save(self) -> None:
        super().save()
        revoke_if_wished(self.user, self.cleaned_data)


class InviteForm(forms.Form):
    email = forms.EmailField(max_length=254)
    role = forms.ChoiceField(choices=Role.choices, initial=Role.OWNER)

    def clean_email(self) -> str:
        return unused_email(self.cleaned_data["email"])


class AcceptForm(forms.ModelForm):
    """The form of an invited person. The email and the role are the invitation's."""

    password1 = forms.CharField(
        label="Password", strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"})
    )
    password2 = forms.CharField(
        label="Password again",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = User
        fields = ("name", "login")
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "name"}),
            "login": forms.TextInput(attrs={"autocomplete": "username"}),
        }

    def __init__(self, data: Any, *, invitation: Invitation) -> None:
        person = User(email=invitation.email, role=invitation.role)
        super().__init__(data, instance=person, initial={"login": User.objects.free_login(invitation.email)})

    def clean(self) -> dict[str, Any]:
        fields = super().clean() or {}
        first, second = fields.get("password1"), fields.get("password2")
        if first and second and first != second:
            self.add_error("password2", "The two passwords differ.")
        elif first:
            try:
                password_validation.validate_password(first, self.instance)
            except ValidationError as error:
                self.add_error("password1", error)
        return fields


def unused_email(email: str) -> str:
    if User.objects.with_email(email).exists():
        raise ValidationError("This email is in use.")
    return email
