"""Django admin: users and credentials."""

from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device, DeviceKey
from tests.support import factories
from tests.users.admin_pages import (
    CREDENTIAL,
    choose,
    client,
    shown_once,
    url,
)
from users.models import Token, User

pytestmark = pytest.mark.django_db(databases=["default", "activity"])


class TestUsers:
    def test_user_is_added_with_a_password_and_a_role(self):
        fields = {"login": "ada", "name": "Ada", "email": "ada@example.com", "role": "staff"}
        secret = {"usable_password": "true", "password1": "plumb-7-line", "password2": "plumb-7-line"}
        response = client(factories.admin()).post(url(User, "add"), fields | secret)
        assert response.status_code == 302
        user = User.objects.get(login="ada")
        assert (user.role, user.check_password("plumb-7-line")) == ("staff", True)

    def test_used_email_is_a_form_error(self):
        User.objects.create_user("ada", "ada@example.com")
        fields = {
            "login": "x",
            "name": "X",
            "email": "ADA@example.com",
            "role": "owner",
            "usable_password": "false",
        }
        response = client(factories.admin()).post(url(User, "add"), fields)
        assert response.status_code == 200
        assert b"This email is in use." in response.content

    def test_user_without_devices_is_deleted_with_their_tokens(self):
        user = factories.owner()
        factories.token(user)
        client(factories.admin()).post(url(User, "delete", user.pk), {"post": "yes"})
        assert not User.objects.filter(pk=user.pk).exists()
        assert not Token.objects.exists()

    def test_user_with_devices_cannot_be_deleted(self):
        device = factories.device()
        response = client(factories.admin()).post(url(User, "delete", device.owner.pk), {"post": "yes"})
        assert b"protected" in response.content
        assert Device.objects.filter(pk=device.pk).exists()

    def test_a_password_can_be_set(self):
        user = factories.owner()
        page = f"/admin/users/user/{user.pk}/password/"
        seen = client(factories.admin())
        assert seen.get(page).status_code == 200
        fields = {"usable_password": "true", "password1": "plumb-7-line", "password2": "plumb-7-line"}
        seen.post(page, fields)
        user.refresh_from_db()
        assert user.check_password("plumb-7-line")

    def test_all_tokens_of_one_are_revoked(self):
        (_, text), (_, others) = factories.token(user := factories.owner()), factories.token()
        choose(client(factories.admin()), User, "revoke_tokens", user)
        assert Token.find(text, timezone.now()) is None
        assert Token.find(others, timezone.now()) is not None

    def test_staff_revoke_nobody_s(self):
        _, text = factories.token(user := factories.owner())
        page = client(factories.colleague())
        fields = {"action": "revoke_tokens", "_selected_action": user.pk}
        assert page.post(url(User, "changelist"), fields).status_code == 403
        assert Token.find(text, timezone.now()) is not None


class TestCredentials:
    def test_a_new_token_is_shown_once(self):
        seen, user = client(factories.admin()), factories.owner()
        response = seen.post(url(Token, "add"), {"user": user.pk, "name": "export", "scopes": ["read"]})
        [text] = shown_once(response)
        token = Token.find(text, timezone.now())
        assert (token.user, token.name, token.scopes) == (user, "export", ["read"])
        for page in (url(Token, "changelist"), url(Token, "change", token.pk), "/admin/"):
            assert text not in seen.get(page).content.decode()

    def test_a_new_key_is_shown_once(self):
        seen, device = client(factories.colleague()), factories.device()
        [text] = shown_once(seen.post(url(DeviceKey, "add"), {"device": device.pk}))
        assert DeviceKey.find(text, timezone.now()).device == device
        assert text not in seen.get(url(DeviceKey, "changelist")).content.decode()

    def test_changing_a_token_issues_no_new_one(self):
        token, text = factories.token()
        ends = {"expires_at_0": "2030-01-01", "expires_at_1": "00:00:00"}
        response = client(factories.admin()).post(
            url(Token, "change", token.pk), {"name": "new", "scopes": ["read"], **ends}, follow=True
        )
        assert not CREDENTIAL.search(response.content.decode())
        found = Token.find(text, timezone.now())
        assert (found.name, found.scopes, found.expires_at.year) == ("new", ["read"], 2030)

    def test_rotated_keys_stay_valid_for_a_day(self):
        devices = [factories.device(), factories.device()]
        old = [DeviceKey.issue(device=device)[1] for device in devices]
        seen = client(factories.colleague())
        response = choose(seen, Device, "rotate_keys", *devices)
        new, now = shown_once(response), timezone.now()
        assert response.redirect_chain == []
        assert not CREDENTIAL.search(f"{seen.cookies} {dict(seen.session.items())}")
        assert {DeviceKey.find(text, now).device for text in new} == set(devices)
        assert all(DeviceKey.find(text, now) for text in old)
        assert not any(DeviceKey.find(text, now + timedelta(days=1)) for text in old)

    def test_revoked_token_is_refused_at_once(self):
        (first, first_text), (_second, second_text) = factories.token(), factories.token()
        choose(client(factories.admin()), Token, "revoke", first)
        assert Token.find(first_text, timezone.now()) is None
        assert Token.find(second_text, timezone.now()) is not None
