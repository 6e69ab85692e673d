"""Second factors: set up, asked for at each log-in, limited, and required of staff by a setting."""

import json
import re

import pytest
from allauth.mfa.models import Authenticator
from django.test import Client

from tests.account.codes import code_of
from tests.account.people import later, logged_in, person, set_up_app, try_password
from tests.support import factories
from users.models import Role
from users.trail.models import Entry

pytestmark = pytest.mark.django_db
STEP = "/portal/account/2fa/authenticate/"
CODES = "/portal/account/2fa/recovery-codes/"


def codes_on(client: Client) -> list[str]:
    return re.findall(r"<li><code>(\d{8})</code></li>", client.get(CODES).content.decode())


def is_in(client: Client) -> bool:
    return client.get("/portal/devices/").status_code == 200


class TestApp:
    @pytest.mark.parametrize("page", ["/portal/login/?next=/portal/activity/", "/admin/login/?next=/admin/"])
    def test_the_password_alone_opens_nothing(self, page):
        user = person(Role.ADMIN)
        secret = set_up_app(logged_in(user))
        client = Client()
        form = {"username": user.login, "password": "plumb-7-line", "next": page.partition("next=")[2]}
        assert client.post(page, form)["Location"] == STEP
        assert not is_in(client)
        assert client.get("/admin/").status_code == 302
        assert client.get("/devices/").status_code == 401
        assert client.post(STEP, {"code": "000000"}).status_code == 200
        assert not is_in(client)
        [entry] = Entry.objects.filter(kind="second_factor", thing=f"user:{user.pk}")
        assert (entry.action, entry.label, entry.actor) == ("log_in_failed", user.login, "")
        done = client.post(STEP, {"code": code_of(secret)})
        assert (done.status_code, done["Location"]) == (302, form["next"])
        assert is_in(client)

    def test_a_code_works_once(self):
        user = person()
        secret = set_up_app(logged_in(user))
        code = code_of(secret)
        for expected in (302, 200):
            client = Client()
            try_password(user.login, client=client)
            assert client.post(STEP, {"code": code}).status_code == expected

    def test_the_step_needs_the_password_first(self):
        user = person()
        secret = set_up_app(logged_in(user))
        client = Client()
        assert client.post(STEP, {"code": code_of(secret)})["Location"] == "/portal/login/"
        assert not is_in(client)

    def test_codes_cannot_be_tried_out(self):
        user = person()
        secret = set_up_app(logged_in(user))
        for _ in range(3):
            client = Client()
            assert try_password(user.login, client=client)["Location"] == STEP
            for number in range(3):
                assert client.post(STEP, {"code": f"{number:06}"}).status_code == 200
        assert client.post(STEP, {"code": code_of(secret)}).status_code == 200
        assert not is_in(client)

    def test_codes_are_counted_without_redis(self, settings):
        user = person()
        secret = set_up_app(logged_in(user))
        redis = settings.CACHES["redis"] | {"LOCATION": "unix:///nowhere.sock"}
        settings.CACHES = settings.CACHES | {"redis": redis}
        client = Client()
        try_password(user.login, client=client)
        for number in range(5):
            client.post(STEP, {"code": f"{number:06}"})
        client.post(STEP, {"code": code_of(secret)})
        assert not is_in(client)

    def test_secrets_are_encrypted_in_the_database(self):
        user = person()
        client = logged_in(user)
        secret, codes = set_up_app(client), codes_on(client)
        stored = json.dumps(list(Authenticator.objects.filter(user=user).values_list("data", flat=True)))
        assert secret not in stored
        assert not [code for code in codes if code in stored]
        assert len(codes) == 10

    def test_it_is_shown_as_a_picture_within_the_page(self):
        page = logged_in(person()).get("/portal/account/2fa/totp/activate/").content.decode()
        assert 'src="data:image/svg+xml;base64,' in page

    def test_a_wrong_code_activates_nothing(self):
        user = person()
        logged_in(user).post("/portal/account/2fa/totp/activate/", {"code": "000000"})
        assert not Authenticator.objects.exists()

    def test_an_old_log_in_removes_nothing(self):
        user = person()
        client = logged_in(user)
        set_up_app(client)
        answer = later(client).post("/portal/account/2fa/totp/deactivate/")
        assert "/reauthenticate/" in answer["Location"]
        assert Authenticator.objects.filter(type="totp").exists()

    def test_it_can_be_removed(self):
        user = person()
        client = logged_in(user)
        set_up_app(client)
        assert client.post("/portal/account/2fa/totp/deactivate/").status_code == 302
        assert try_password(user.login)["Location"] == "/portal/devices/"


class TestRecoveryCodes:
    def test_each_works_once(self):
        user = person()
        session = logged_in(user)
        set_up_app(session)
        first, second, *_ = codes_on(session)
        for code, expected in ((first, 302), (first, 200), (second, 302)):
            client = Client()
            try_password(user.login, client=client)
            assert client.post(STEP, {"code": code}).status_code == expected
        assert len(codes_on(session)) == 8

    def test_new_ones_replace_the_old(self):
        client = logged_in(person())
        set_up_app(client)
        old = codes_on(client)
        client.post(f"{CODES}generate/")
        assert not set(old) & set(codes_on(client))

    def test_those_of_another_do_not_fit(self):
        stranger, user = person(), person()
        theirs = logged_in(stranger)
        set_up_app(theirs)
        set_up_app(logged_in(user))
        client = Client()
        try_password(user.login, client=client)
        assert client.post(STEP, {"code": codes_on(theirs)[0]}).status_code == 200


class TestStrangers:
    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize("action", ["remove", "edit"])
    def test_nobody_touches_the_key_of_another(self, role, action):
        key = Authenticator.objects.create(user=person(), type="webauthn", data={"name": "Theirs"})
        page = f"/portal/account/2fa/webauthn/keys/{key.pk}/{action}/"
        stranger = logged_in(person(role))
        assert stranger.get(page).status_code == 404
        assert stranger.post(page, {"name": "mine"}).status_code == 404
        assert Authenticator.objects.get().data == {"name": "Theirs"}

    def test_an_admin_deletes_a_lost_one_and_sees_no_secret(self):
        user = person()
        set_up_app(logged_in(user))
        admin, row = logged_in(person(Role.ADMIN)), Authenticator.objects.get(type="totp")
        page = f"/admin/mfa/authenticator/{row.pk}/"
        assert row.data["secret"] not in admin.get(f"{page}change/").content.decode()
        admin.post(f"{page}delete/", {"post": "yes"})
        assert try_password(user.login)["Location"] == "/portal/devices/"

    def test_staff_do_not_see_them_in_admin(self):
        assert logged_in(person(Role.STAFF)).get("/admin/mfa/authenticator/").status_code == 403


class TestRequiredOfStaff:
    @pytest.fixture(autouse=True)
    def required(self, settings):
        settings.STAFF_NEED_SECOND_FACTOR = True

    @pytest.mark.parametrize("role", [Role.STAFF, Role.ADMIN])
    def test_staff_are_led_to_set_one_up(self, role):
        client = logged_in(person(role))
        for page in (
            "/portal/devices/",
            "/admin/",
            "/portal/account/tokens/",
            "/portal/account/invitations/",
        ):
            assert client.get(page)["Location"] == "/portal/account/2fa/"
        assert "Staff need a second factor" in client.get("/portal/account/2fa/").content.decode()
        assert client.get("/devices/").status_code == 403
        assert client.post("/portal/account/tokens/", {"name": "x", "scopes": ["read"]}).status_code == 302
        set_up_app(client)
        assert is_in(client)
        assert client.get("/devices/").status_code == 200

    def test_owners_are_not_asked(self):
        assert is_in(logged_in(person()))

    def test_recovery_codes_alone_are_no_second_factor(self):
        user = person(Role.STAFF)
        Authenticator.objects.create(user=user, type="recovery_codes", data={})
        assert not is_in(logged_in(user))

    def test_a_token_goes_on(self):
        _, text = factories.token(person(Role.STAFF))
        assert Client().get("/devices/", headers={"Authorization": f"Token {text}"}).status_code == 200

    def test_a_header_beside_a_session_opens_nothing(self):
        client = logged_in(person(Role.STAFF))
        assert client.get("/devices/", headers={"Authorization": "Token nonsense"}).status_code == 401
        header = {"Authorization": "Token nonsense"}
        assert client.get("/portal/devices/", headers=header).status_code == 302

    def test_an_empty_header_beside_a_session_opens_nothing(self):
        client = logged_in(person(Role.STAFF))
        assert client.get("/users/", headers={"Authorization": ""}).status_code == 403

    def test_one_can_leave(self):
        client = logged_in(person(Role.STAFF))
        assert client.post("/portal/logout/")["Location"] == "/portal/login/"
