"""Log-in by OpenID Connect, against a real provider on loopback."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import oidc_provider_mock
import pytest
import requests
from allauth.socialaccount.models import SocialAccount
from django.test import Client

from analytics.activity.models import PendingEvent
from tests.account.codes import code_of
from tests.account.people import logged_in, person, set_up_app
from users.models import User
from users.trail.models import Entry

pytestmark = pytest.mark.django_db
START = "/portal/account/oidc/sso/login/"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with oidc_provider_mock.run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(autouse=True)
def openid(settings, provider):
    app = {
        "provider_id": "sso",
        "name": "Example",
        "client_id": "plumbline",
        "secret": "hush",
        "settings": {"server_url": provider},
    }
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}
    settings.OIDC_ISSUER, settings.OIDC_PROVIDER, settings.OIDC_NAME = provider, "sso", "Example"


def identity(provider: str, sub: str, **claims: object) -> str:
    requests.put(f"{provider}/users/{sub}", json=claims, timeout=10).raise_for_status()
    return sub


def callback(client: Client, sub: str, start: str = START) -> str:
    """Begin here, log in at the provider, and return the path to which it leads back."""
    begun = client.get(start)
    assert begun.status_code == 302, begun.content
    assert "code_challenge=" in begun["Location"]
    answer = requests.post(begun["Location"], {"sub": sub}, allow_redirects=False, timeout=10)
    back = urlsplit(answer.headers["Location"])
    return f"{back.path}?{back.query}"


def failed_log_ins() -> list[str]:
    return list(Entry.objects.filter(action="log_in_failed", kind="identity").values_list("label", flat=True))


def test_the_log_in_page_offers_it():
    assert START in Client().get("/portal/login/").content.decode()


def test_it_is_not_there_unless_set(settings):
    settings.OIDC_ISSUER, settings.SOCIALACCOUNT_PROVIDERS = "", {}
    assert "/oidc/" not in Client().get("/portal/login/").content.decode()
    assert Client().get(START).status_code == 404


@pytest.mark.parametrize("name", ["%00", "s%0ao", "a.b"])
def test_a_path_that_names_no_provider_is_404(name):
    assert Client().get(f"/portal/account/oidc/{name}/login/").status_code == 404
    assert Client().get(f"/portal/account/oidc/{name}/login/callback/").status_code == 404


def test_a_verified_email_lets_its_owner_in(provider):
    user, client = person(), Client()
    sub = identity(provider, "ada", email=user.email.upper(), email_verified=True)
    done = client.get(callback(client, sub, f"{START}?next=/portal/activity/"))
    assert done["Location"] == "/portal/activity/"
    assert client.get("/portal/account/").status_code == 200
    assert client.session["_auth_user_id"] == str(user.pk)
    assert [event.name for event in PendingEvent.objects.filter(user_id=user.pk)] == ["login"]


def test_the_identity_stays_tied_when_its_email_changes(provider):
    user, client = person(), Client()
    sub = identity(provider, "grace", email=user.email, email_verified=True)
    client.get(callback(client, sub))
    identity(provider, "grace", email="elsewhere@example.com", email_verified=True)
    again = Client()
    again.get(callback(again, sub))
    assert again.session["_auth_user_id"] == str(user.pk)


@pytest.mark.parametrize("verified", [{}, {"email_verified": False}, {"email_verified": "false"}])
def test_an_email_that_the_provider_did_not_verify_opens_nothing(provider, verified):
    user, client = person(), Client()
    sub = identity(provider, f"mallory-{user.pk}", email=user.email, **verified)
    refused = client.get(callback(client, sub))
    assert refused.status_code == 403
    assert "_auth_user_id" not in client.session
    assert not SocialAccount.objects.exists()


def test_nobody_gets_an_account_by_it(provider):
    client, before = Client(), User.objects.count()
    sub = identity(provider, "new", email="new@example.com", email_verified=True)
    refused = client.get(callback(client, sub))
    assert (refused.status_code, User.objects.count()) == (403, before)
    assert "invitation" in refused.content.decode()
    assert failed_log_ins() == ["new@example.com"]


def test_a_deactivated_user_stays_out(provider):
    user, client = person(is_active=False), Client()
    sub = identity(provider, "emmy", email=user.email, email_verified=True)
    client.get(callback(client, sub))
    assert "_auth_user_id" not in client.session


def test_one_deactivated_later_stays_out(provider):
    user, client = person(), Client()
    sub = identity(provider, "rosa", email=user.email, email_verified=True)
    client.get(callback(client, sub))
    User.objects.filter(pk=user.pk).update(is_active=False)
    again = Client()
    again.get(callback(again, sub), follow=True)
    assert "_auth_user_id" not in again.session
    assert failed_log_ins() == [user.email]


def test_the_second_factor_is_asked_for(provider):
    user, client = person(), Client()
    secret = set_up_app(logged_in(user))
    sub = identity(provider, "kathleen", email=user.email, email_verified=True)
    assert client.get(callback(client, sub))["Location"] == "/portal/account/2fa/authenticate/"
    assert client.get("/portal/devices/").status_code == 302
    client.post("/portal/account/2fa/authenticate/", {"code": code_of(secret)})
    assert client.get("/portal/devices/").status_code == 200


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(provider):
    user = person()
    sub = identity(provider, "lise", email=user.email, email_verified=True)
    back = callback(Client(), sub)
    victim = Client()
    victim.get(back)
    assert "_auth_user_id" not in victim.session


def test_nobody_ties_an_identity_to_an_account_by_hand(provider):
    user = person()
    client = logged_in(user)
    sub = identity(provider, "eve", email="eve@example.com", email_verified=True)
    assert client.get(callback(client, sub, f"{START}?process=connect")).status_code == 403
    assert not SocialAccount.objects.exists()


def test_a_provider_that_is_away_is_told(settings):
    [app] = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"APPS": [app | {"settings": {"server_url": "http://127.0.0.1:1"}}]}
    }
    answer = Client().get(START)
    assert answer.status_code == 503
    assert "Log-in failed" in answer.content.decode()


def test_no_log_and_no_cookie_has_the_secret(provider, caplog):
    caplog.set_level("DEBUG")
    user, client = person(), Client()
    sub = identity(provider, "mary", email=user.email, email_verified=True)
    client.get(callback(client, sub))
    assert "hush" not in caplog.text
    assert "hush" not in str(client.cookies)
