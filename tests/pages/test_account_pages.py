"""One's own account in a real browser: second factors, passkeys, theme, tokens, invitations, narrow screens.

Passkeys are those of Chromium's virtual authenticator.
"""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.account.codes import code_of
from tests.pages.browser import Account, Visit, account_of, log_in, sessions
from tests.support.portal import Portal

pytestmark = pytest.mark.browser

ACCOUNT = "/portal/account/"
PAGES = ("", "email/", "password/change/", "2fa/", "2fa/totp/activate/", "2fa/webauthn/add/")
MORE_PAGES = ("sessions/", "tokens/", "invitations/")
KEY = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def person(portal: Portal) -> Account:
    return account_of(portal, portal.new_user())


@pytest.fixture
def visit_by_name(portal: Portal, browser: Browser) -> Iterator[Visit]:
    """Sessions at localhost: a passkey belongs to a name, not to an address."""
    by_name = SimpleNamespace(url=f"http://localhost:{portal.port}")
    with sessions(cast(Portal, by_name), browser) as visit:
        yield visit


def plug_in(page: Page) -> Any:
    """Give the browser an authenticator; return the session that can take it away."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    added = session.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    return lambda: session.send("WebAuthn.removeVirtualAuthenticator", added)


def log_out(page: Page) -> None:
    page.get_by_role("button", name="Log out", exact=True).first.click()
    expect(page.get_by_label("Password")).to_be_visible()


def expect_devices(page: Page) -> None:
    expect(page.get_by_role("heading", name="Devices", exact=True)).to_be_visible()


def add_key(page: Page, *, passkey: bool) -> None:
    page.goto(f"{ACCOUNT}2fa/webauthn/add/")
    page.get_by_label("Name").fill("Ring")
    if passkey:
        page.get_by_label("Passkey").check()
    page.get_by_role("button", name="Add the key").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()


def test_an_app_is_set_up_and_asked_for(visit: Visit, person: Account) -> None:
    page = visit(person)
    page.goto(ACCOUNT)
    page.get_by_role("link", name="Second factor").click()
    page.get_by_role("link", name="Set up an app").click()
    picture = page.get_by_role("img", name="QR code")
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    secret = page.locator("code.secret").inner_text()
    page.get_by_label("code", exact=False).fill(code_of(secret, steps=-1))
    page.get_by_role("button", name="Activate").click()
    expect(page.locator(".codes li")).to_have_count(10)
    code = page.locator(".codes li").first.inner_text()
    log_out(page)
    log_in(page, person)
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Incorrect code")).to_be_visible()
    page.get_by_label("Code").fill(code_of(secret))
    page.get_by_role("button", name="Log in").click()
    expect_devices(page)
    log_out(page)
    log_in(page, person)
    page.get_by_label("Code").fill(code)
    page.get_by_role("button", name="Log in").click()
    expect_devices(page)


def test_a_passkey_works_instead_of_the_password(visit_by_name: Visit, person: Account) -> None:
    page = visit_by_name(person)
    plug_in(page)
    add_key(page, passkey=True)
    log_out(page)
    page.goto("/portal/login/?next=/portal/activity/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(re.compile("/portal/activity/$"))
    expect(page.locator(".account")).to_contain_text(person.login)


def test_a_security_key_is_a_second_factor(visit_by_name: Visit, person: Account) -> None:
    page = visit_by_name(person)
    unplug = plug_in(page)
    add_key(page, passkey=False)
    log_out(page)
    log_in(page, person)
    page.get_by_role("button", name="Use a security key").click()
    expect_devices(page)
    page.goto(f"{ACCOUNT}2fa/webauthn/")
    expect(page.get_by_role("rowheader", name="Ring")).to_be_visible()
    log_out(page)
    unplug()
    stranger = plug_in(page)
    log_in(page, person)
    page.get_by_role("button", name="Use a security key").click()
    expect(page.get_by_role("alert").filter(has_text="not accepted")).to_be_visible()
    page.goto("/portal/devices/")
    expect(page.get_by_label("Password")).to_be_visible()
    stranger()


def test_a_strange_passkey_is_told_on_the_page(visit_by_name: Visit) -> None:
    page = visit_by_name()
    plug_in(page)
    page.goto("/portal/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert").filter(has_text="not accepted")).to_be_visible()


def test_a_theme_is_chosen(visit: Visit, person: Account) -> None:
    page = visit(person, color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    page.goto(ACCOUNT)
    light = page.evaluate(background)
    page.get_by_label("Theme").select_option("dark")
    page.get_by_label("Time zone").select_option("Asia/Tokyo")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    dark = page.evaluate(background)
    assert (light, dark) == ("rgb(245, 246, 244)", "rgb(16, 22, 27)")
    page.get_by_label("Theme").select_option("light")
    page.get_by_role("button", name="Save").click()
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(background) == light


def test_a_token_is_made_used_and_revoked(visit: Visit, portal: Portal, person: Account) -> None:
    page = visit(person)
    page.goto(f"{ACCOUNT}tokens/")
    page.get_by_label("Name").fill("export")
    page.get_by_role("button", name="Create a token").click()
    text = page.get_by_role("status").locator("code").inner_text()
    assert portal.request("GET", "/devices/", token=text).status_code == 200
    assert portal.request("POST", "/devices/", token=text, json={}).status_code == 403
    page.goto(f"{ACCOUNT}tokens/")
    expect(page.get_by_role("row", name="export")).not_to_contain_text("never")
    page.get_by_role("button", name="Revoke").first.click()
    expect(page.get_by_role("row", name="export")).to_have_count(0)
    assert portal.request("GET", "/devices/", token=text).status_code == 401


def test_an_invited_person_gets_in(visit: Visit, admin_account: Account) -> None:
    page = visit(admin_account)
    page.goto(f"{ACCOUNT}invitations/")
    page.get_by_label("Email").fill("grete.hermann@example.com")
    page.get_by_role("button", name="Invite").click()
    link = page.get_by_role("status").locator("code").inner_text()
    guest = visit()
    guest.goto(link)
    guest.get_by_label("Name").fill("Grete Hermann")
    guest.get_by_label("Password", exact=True).fill("plumb-7-line")
    guest.get_by_label("Password again").fill("plumb-7-line")
    guest.get_by_role("button", name="Create my account").click()
    expect_devices(guest)
    expect(guest.locator(".account")).to_contain_text("grete.hermann")


def test_pages_keep_to_the_policy_and_fit_a_narrow_screen(visit: Visit, admin_account: Account) -> None:
    page = visit(admin_account, viewport={"width": 360, "height": 740})
    for path in (*PAGES, *MORE_PAGES):
        assert page.goto(ACCOUNT + path).status == 200, path
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    nobody = visit(viewport={"width": 360, "height": 740})
    for path in ("/portal/login/", f"{ACCOUNT}password/reset/", f"{ACCOUNT}invited/x/"):
        nobody.goto(path)
        assert nobody.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_a_forgotten_session_is_ended_elsewhere(visit: Visit, person: Account) -> None:
    elsewhere, page = visit(person), visit(person)
    page.goto(f"{ACCOUNT}sessions/")
    page.get_by_role("button", name="Log out everywhere else").click()
    expect(page.get_by_role("row")).to_have_count(2)
    elsewhere.goto("/portal/devices/")
    expect(elsewhere.get_by_label("Password")).to_be_visible()
