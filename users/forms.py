from django import forms
from django.contrib.auth.forms import AdminUserCreationForm

from users.models import Scope, Token, User


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
