import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from devices.models import Device, DeviceKey, Erasure
from tests.support import factories
from tests.support.concurrency import own_connection, wait_until_blocked
from users.hashes import cipher, keyed_hash
from users.models import Role, Token, User

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
NOW = factories.NOON


def client(keyword: str, text: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"{keyword} {text}")
    return client


def status(text: str) -> int:
    """The status of a request with this token."""
    return client("Token", text).get("/devices/").status_code


class TestStorage:
    def test_only_a_keyed_hash_is_stored(self, settings):
        token, text = factories.token()
        row = {name: str(value) for name, value in Token.objects.values().get(pk=token.pk).items()}
        secret = text.removeprefix(f"{token.prefix}.")
        assert not [name for name, value in row.items() if secret in value]
        assert row["digest"] not in (hashlib.sha256(text.encode()).hexdigest(), text)
        settings.TOKEN_PEPPER += "!"
        assert row["digest"] != keyed_hash(text)

    def test_text_is_a_visible_prefix_and_256_random_bits(self):
        texts = [factories.token()[1] for _ in range(3)]
        assert all(text.startswith("plt_") and len(text.partition(".")[2]) == 43 for text in texts)
        assert len({text[-43:] for text in texts}) == 3

    def test_another_pepper_invalidates_all_credentials(self, settings):
        _token, text = factories.token()
        assert Token.find(text, NOW) is not None
        settings.TOKEN_PEPPER += "!"
        assert Token.find(text, NOW) is None

    def test_a_former_pepper_counts_while_it_is_a_fallback(self, settings):
        token, text = factories.token()
        settings.TOKEN_PEPPER_FALLBACKS = [settings.TOKEN_PEPPER]
        settings.TOKEN_PEPPER = "n" + settings.TOKEN_PEPPER[1:]
        assert status(text) == 200
        # Its use stored the hash anew, so that the former pepper can go.
        settings.TOKEN_PEPPER_FALLBACKS = []
        assert status(text) == 200
        token.refresh_from_db()
        assert token.digest == keyed_hash(text)

    def test_a_fallback_lets_no_other_text_in(self, settings):
        token, text = factories.token()
        settings.TOKEN_PEPPER_FALLBACKS = ["f" * 32]
        assert Token.find(text[:-1] + ("a" if text[-1] != "a" else "b"), NOW) is None
        assert Token.find(text, NOW) == token

    def test_second_factors_are_encrypted_anew_by_a_command(self, settings, capsys):
        secret = cipher().encrypt(b"JBSWY3DP").decode()
        row = Authenticator.objects.create(
            user=factories.owner(), type="totp", data={"secret": secret, "other": 1}
        )
        settings.TOKEN_PEPPER_FALLBACKS = [settings.TOKEN_PEPPER]
        settings.TOKEN_PEPPER = "n" + settings.TOKEN_PEPPER[1:]
        assert cipher().decrypt(secret) == b"JBSWY3DP"
        call_command("reencrypt")
        assert capsys.readouterr().out.startswith("1 second factors")
        settings.TOKEN_PEPPER_FALLBACKS = []
        row.refresh_from_db()
        assert cipher().decrypt(row.data["secret"]) == b"JBSWY3DP"
        assert row.data["other"] == 1

    def test_a_pepper_that_is_missing_is_named(self, settings):
        secret = cipher().encrypt(b"JBSWY3DP").decode()
        Authenticator.objects.create(user=factories.owner(), type="totp", data={"secret": secret})
        settings.TOKEN_PEPPER = "n" + settings.TOKEN_PEPPER[1:]
        with pytest.raises(CommandError, match="TOKEN_PEPPER_FALLBACKS"):
            call_command("reencrypt")

    def test_prefix_with_the_secret_of_another_is_refused(self):
        (first, _), (_second, text) = factories.token(), factories.token()
        assert Token.find(first.prefix + text[len(first.prefix) :], NOW) is None
        assert Token.find(first.prefix, NOW) is None

    def test_device_key_is_refused_as_a_token(self):
        _key, text = DeviceKey.issue(device=factories.device())
        assert status(text) == 401


class TestRefusal:
    def test_valid_token_is_accepted(self):
        assert status(factories.token()[1]) == 200

    def test_token_is_refused_from_its_expiry_on(self):
        token, text = factories.token(expires_at=NOW)
        assert Token.find(text, NOW - timedelta(microseconds=1)) == token
        assert Token.find(text, NOW) is None
        assert status(factories.token(expires_at=timezone.now() - MINUTE)[1]) == 401

    def test_revoked_token_is_refused_at_once(self):
        token, text = factories.token()
        token.revoke(NOW)
        assert status(text) == 401

    def test_second_revocation_keeps_the_first_time(self):
        token, _text = factories.token()
        token.revoke(NOW)
        token.revoke(NOW + MINUTE)
        token.refresh_from_db()
        assert token.revoked_at == NOW

    def test_token_of_a_deactivated_user_is_refused(self):
        user = factories.owner()
        _token, text = factories.token(user)
        User.objects.filter(pk=user.pk).update(is_active=False)
        assert status(text) == 401

    @pytest.mark.parametrize(
        "text", ["", "x", ".", "plt_", "plt_00000000.", "plt_00000000." + "A" * 43, "é", "A" * 5000]
    )
    def test_unknown_token_is_refused(self, text):
        assert status(text) == 401

    def test_use_of_a_refused_token_is_not_stored(self):
        token, text = factories.token()
        token.revoke(NOW)
        status(text)
        token.refresh_from_db()
        assert token.last_used_at is None


class TestLastUse:
    def test_last_use_is_written_at_most_once_a_minute(self):
        token, _text = factories.token()
        for seconds, writes in ((0, 1), (1, 0), (59, 0), (61, 1), (62, 0)):
            token.refresh_from_db()
            with CaptureQueriesContext(connection) as queries:
                token.note_use(NOW + timedelta(seconds=seconds))
            assert len(queries) == writes, seconds
        token.refresh_from_db()
        assert token.last_used_at == NOW + timedelta(seconds=61)

    def test_second_of_two_requests_writes_nothing(self):
        _token, text = factories.token()
        assert status(text) == 200
        with CaptureQueriesContext(connection) as queries:
            assert status(text) == 200
        assert not [query["sql"] for query in queries if "UPDATE" in query["sql"]]

    def test_only_one_of_two_concurrent_requests_writes(self):
        token, _text = factories.token()
        twin = Token.objects.get(pk=token.pk)
        token.note_use(NOW)
        twin.note_use(NOW + timedelta(seconds=1))
        twin.refresh_from_db()
        assert twin.last_used_at == NOW


class TestRotation:
    def test_older_keys_stay_valid_for_the_overlap(self):
        device = factories.device()
        _old, old_text = DeviceKey.issue(device=device)
        new, new_text = device.rotate_key(overlap=timedelta(hours=1))
        now = timezone.now()
        assert DeviceKey.find(old_text, now) is not None
        assert DeviceKey.find(old_text, now + timedelta(minutes=59)) is not None
        assert DeviceKey.find(old_text, now + timedelta(minutes=61)) is None
        assert DeviceKey.find(new_text, now + timedelta(days=3650)) == new

    def test_rotation_never_extends_the_life_of_a_key(self):
        device = factories.device()
        soon, _text = DeviceKey.issue(device=device, expires_at=timezone.now() + MINUTE)
        revoked, _text = DeviceKey.issue(device=device)
        revoked.revoke(NOW)
        ends = soon.expires_at
        device.rotate_key(overlap=timedelta(hours=1))
        soon.refresh_from_db()
        revoked.refresh_from_db()
        assert (soon.expires_at, revoked.expires_at, revoked.revoked_at) == (ends, None, NOW)

    def test_rotation_leaves_keys_of_other_devices_alone(self):
        key, _text = DeviceKey.issue(device=factories.device())
        factories.device().rotate_key(overlap=timedelta(0))
        key.refresh_from_db()
        assert key.expires_at is None


class TestNames:
    @pytest.mark.parametrize("field", ["login", "email"])
    def test_database_refuses_a_second_use_ignoring_case(self, field):
        User.objects.create_user("Ada", "Ada@Example.com")
        fields = {"login": "other", "email": "other@example.com"} | {
            field: ["aDA", "aDA@eXAMPLE.COM"][field == "email"]
        }
        with pytest.raises(IntegrityError, match=f"user_{field}_unique"), transaction.atomic():
            User.objects.create_user(**fields)

    @pytest.mark.parametrize(("field", "value"), [("login", "ADA"), ("email", "ADA@example.com")])
    def test_second_use_is_refused_by_its_field(self, field, value):
        User.objects.create_user("ada", "ada@example.com")
        body = {"name": "Other", "login": "other", "email": "other@example.com"} | {field: value}
        response = administrator().post("/users/", body)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)

    def test_log_in_ignores_the_case_of_the_login(self):
        user = User.objects.create_user("Ada", "ada@example.com")
        assert User.objects.get_by_natural_key("aDa") == user

    def test_missing_login_is_derived_from_the_email(self):
        logins = [
            User.objects.create_user("", f"{name}@example.com").login for name in ("Ada", "ada.", "x y")
        ]
        more = User.objects.create_user("", "ADA@example.org").login
        assert (logins, more) == (["ada", "ada.", "x-y"], "ada-2")

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        ("first", "second", "field"),
        [
            ({"email": "eve@example.com"}, {"email": "EVE@example.com", "login": "other"}, "email"),
            ({"email": "a@example.com", "login": "eve"}, {"email": "b@example.com", "login": "Eve"}, "login"),
            ({"email": "a@example.com", "login": "eve"}, {"email": "b@example.com", "login": "eve"}, "login"),
        ],
    )
    def test_one_of_two_concurrent_requests_is_refused_by_its_field(self, first, second, field):
        api = administrator()
        with ThreadPoolExecutor(1) as thread:
            with transaction.atomic():
                # Not committed yet: the other request does not see it and waits at the constraint.
                User.objects.create_user(first.get("login", ""), first["email"], name="First")
                answer = thread.submit(own_connection(api.post), "/users/", {"name": "Two", **second})
                wait_until_blocked()
            response = answer.result(timeout=60)
        assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)
        assert User.objects.exclude(role=Role.ADMIN).count() == 1

    @pytest.mark.django_db(transaction=True)
    def test_second_of_two_concurrent_derived_logins_gets_a_number(self):
        api = administrator()
        with ThreadPoolExecutor(1) as thread:
            with transaction.atomic():
                User.objects.create_user("", "eve@example.com", name="First")
                fields = {"name": "Two", "email": "eve@example.org"}
                answer = thread.submit(own_connection(api.post), "/users/", fields)
                wait_until_blocked()
            response = answer.result(timeout=60)
        assert (response.status_code, response.json()["login"]) == (201, "eve-2")


def administrator() -> APIClient:
    return client("Token", factories.token(factories.admin())[1])


class TestRights:
    @pytest.mark.parametrize(
        ("role", "permission", "is_allowed"),
        [
            (Role.ADMIN, "users.change_user", True),
            (Role.ADMIN, "users.add_token", True),
            (Role.ADMIN, "devices.delete_device", True),
            (Role.STAFF, "devices.delete_device", True),
            (Role.STAFF, "analytics.view_analysis", True),
            (Role.STAFF, "users.view_user", False),
            (Role.STAFF, "users.change_user", False),
            (Role.STAFF, "users.view_token", False),
            (Role.STAFF, "auth.add_group", False),
            (Role.OWNER, "devices.view_device", False),
            (Role.OWNER, "users.view_user", False),
        ],
    )
    def test_permissions_follow_from_the_role(self, role, permission, is_allowed):
        user = factories.person(role)
        assert user.has_perm(permission) is is_allowed
        assert user.has_perms([permission]) is is_allowed
        user.is_active = False
        assert not user.has_perm(permission)

    @pytest.mark.parametrize(
        ("role", "apps"), [(Role.ADMIN, {"users", "devices"}), (Role.STAFF, {"devices"}), (Role.OWNER, set())]
    )
    def test_sections_of_the_admin_follow_from_the_role(self, role, apps):
        user = factories.person(role)
        assert {app for app in ("users", "devices") if user.has_module_perms(app)} == apps

    @pytest.mark.parametrize(
        ("role", "is_staff", "is_admin"),
        [(Role.ADMIN, True, True), (Role.STAFF, True, False), (Role.OWNER, False, False)],
    )
    def test_deactivated_user_has_no_role(self, role, is_staff, is_admin):
        user = factories.person(role)
        assert (user.is_staff, user.is_admin, user.is_superuser) == (is_staff, is_admin, is_admin)
        user.is_active = False
        assert (user.is_staff, user.is_admin, user.is_superuser) == (False, False, False)

    def test_database_refuses_an_unknown_role(self):
        with pytest.raises(IntegrityError, match="user_role_known"):
            User.objects.update_or_create(pk=factories.owner().pk, defaults={"role": "root"})

    def test_inactive_admins_do_not_count_for_the_last_admin(self):
        first, second = factories.admin(), factories.admin()
        assert not first.is_last_admin()
        User.objects.filter(pk=second.pk).update(is_active=False)
        assert first.is_last_admin()
        assert not factories.colleague().is_last_admin()


class TestLeaving:
    def test_user_without_devices_is_erased_with_their_tokens(self):
        user = factories.owner()
        factories.token(user)
        user.delete_or_deactivate()
        assert not User.objects.exists()
        assert not Token.objects.exists()

    def test_user_with_devices_is_deactivated(self):
        device = factories.device()
        device.owner.delete_or_deactivate()
        device.owner.refresh_from_db()
        assert not device.owner.is_active
        assert Device.objects.filter(pk=device.pk).exists()

    def test_purge_also_erases_the_devices(self):
        device = factories.device()
        DeviceKey.issue(device=device)
        Device.objects.get(pk=device.pk).owner.delete_or_deactivate(purge=True)
        assert not User.objects.exists()
        assert Erasure.objects.get().device_id == device.pk


class TestCreateToken:
    def test_command_prints_a_valid_token(self, capsys):
        user = factories.owner()
        call_command("create_token", user.login.upper(), "--scope", "read", "--name", "export")
        text = capsys.readouterr().out.strip()
        token = Token.find(text, timezone.now())
        assert (token.user, token.scopes, token.name) == (user, ["read"], "export")
        assert status(text) == 200

    def test_command_names_an_unknown_login(self):
        with pytest.raises(CommandError, match="'nobody'"):
            call_command("create_token", "nobody")


class TestSecretKey:
    def test_a_session_outlives_its_replacement_while_the_former_is_a_fallback(self, settings):
        page = Client()
        page.force_login(factories.owner())
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "n" * 40
        assert page.get("/portal/devices/").status_code == 200
        settings.SECRET_KEY_FALLBACKS = []
        assert page.get("/portal/devices/").status_code == 200
        other = Client()
        other.force_login(factories.owner())
        settings.SECRET_KEY = "m" * 40
        assert other.get("/portal/devices/").status_code == 302


class TestRollingUpdate:
    """While hosts get the new secrets one by one, requests of one person reach both kinds of them."""

    def test_hosts_that_have_the_new_ones_as_fallbacks_take_what_the_others_renewed(self, settings):
        names = ("SECRET_KEY", "TOKEN_PEPPER")
        old, new = [getattr(settings, name) for name in names], ["n" * 40, "p" * 40]
        _, text = factories.token()
        page = Client()
        page.force_login(factories.owner())
        for present, former in [(old, new), (new, old), (old, new), (new, old)]:
            for name, value, fallback in zip(names, present, former, strict=True):
                setattr(settings, name, value)
                setattr(settings, f"{name}_FALLBACKS", [fallback])
            assert (status(text), page.get("/portal/devices/").status_code) == (200, 200)


class TestWeakPasswords:
    @pytest.mark.parametrize("password", ["short-7", "password1234", "1357924680", "plumbline-ada"])
    def test_the_first_admin_gets_none(self, monkeypatch, password):
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
        account = {"login": "plumbline-ada", "email": "ada@example.com", "name": "Ada"}
        with pytest.raises(CommandError):
            call_command("createsuperuser", interactive=False, **account)
        assert not User.objects.exists()
