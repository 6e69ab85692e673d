"""axe-core finds nothing on any page, in light and dark, and every route of a page is among those it sees."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import pytest
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from playwright.sync_api import Browser, Page, expect

from tests.pages.browser import Visit, account_of, sessions
from tests.pages.gallery.scenes import ACCOUNT, SCENES, STRANGERS_SCENES
from tests.pages.gallery.subjects import Subjects, prepare
from tests.pages.test_account_pages import plug_in
from tests.support.portal import Portal, eventually

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "axe-core-4.14.1/axe.min.js"
# Swagger UI and ReDoc make their markup themselves, and we cannot mend it; what is around it is checked.
NOT_OURS = ["#swagger-ui", "[data-redoc]"]
Theme = Literal["light", "dark"]
SETTLE_MS = 1000
# All rules in light; contrast is all that changes with the colours.
RULES: dict[Theme, list[str] | None] = {"light": None, "dark": ["color-contrast", "link-in-text-block"]}
RUN = """async ([outside, rules]) => {
    document.getAnimations().filter(one => one instanceof CSSTransition).forEach(one => one.finish());
    // Swagger UI brings a main element of its own.
    const main = {"landmark-no-duplicate-main": {enabled: !document.querySelector("#swagger-ui main")}};
    const options = {resultTypes: ["violations"], ...(rules ? {runOnly: rules} : {rules: main})};
    const found = await axe.run({exclude: outside.filter(one => document.querySelector(one))}, options);
    return found.violations.map(one => [
        one.id, one.nodes.map(({html, failureSummary}) => `${html} ${failureSummary}`),
    ]);
}"""
# Without pictures.
MORE = (
    f"{ACCOUNT}2fa/recovery-codes/",
    f"{ACCOUNT}2fa/recovery-codes/generate/",
    f"{ACCOUNT}2fa/totp/deactivate/",
    f"{ACCOUNT}2fa/reauthenticate/",
    f"{ACCOUNT}2fa/webauthn/",
    f"{ACCOUNT}2fa/webauthn/reauthenticate/",
    f"{ACCOUNT}2fa/webauthn/keys/{{key}}/edit/",
    f"{ACCOUNT}2fa/webauthn/keys/{{key}}/remove/",
    f"{ACCOUNT}openid/error/",
    "/portal/devices/{device}/stretch/",
)
STRANGERS_MORE = (
    f"{ACCOUNT}email/x/",
    f"{ACCOUNT}invited/x/",
    f"{ACCOUNT}inactive/",
    f"{ACCOUNT}password/reset/done/",
    f"{ACCOUNT}password/reset/key/x-y/",
    f"{ACCOUNT}password/reset/key/done/",
    f"{ACCOUNT}openid/cancelled/",
)
# Routes below /portal/ without a page of their own.
NO_PAGES = {
    "None",  # /portal/ leads to the devices
    "account_login",  # the address of activity:login
    *("account_logout", "activity:logout"),
    # Answers to buttons
    *("account_revoke_token", "account_withdraw_invitation", "mfa_login_webauthn"),
    *("analytics:analysis-cancel", "analytics:calculation-cancel", "analytics:calculation-rerun"),
    *("devices:bring-back", "devices:erase", "devices:exclusion-lift", "devices:import-action"),
    *("devices:revoke-key", "devices:trial"),
    # Data for scripts, parts of pages, files
    *("analytics:analysis-chart", "analytics:analysis-stale", "analytics:bucket-file"),
    *("analytics:calculation-chart", "analytics:calculation-states", "analytics:device-latest"),
    *("devices:connection", "devices:import-faulty-rows", "devices:import-states", "devices:owner-search"),
    *("mfa_download_recovery_codes", "trail:trail-file"),
    # Pages of a provider, and one for those who came by it and have no password; tests/account looks at them.
    *("account_set_password", "openid_connect_callback", "openid_connect_login"),
}


@pytest.fixture
def visit_by_name(portal: Portal, browser: Browser) -> Iterator[Visit]:
    """Sessions at localhost: a passkey belongs to a name, not to an address."""
    with sessions(cast(Portal, SimpleNamespace(url=f"http://localhost:{portal.port}")), browser) as visit:
        yield visit


@pytest.fixture
def subjects(portal: Portal) -> Subjects:
    admin = portal.new_user("admin")
    sender = portal.new_device(portal.new_user(), name="Greenhouse north")
    now = datetime.now(UTC)
    for hours in range(48):
        time = now - timedelta(hours=hours, minutes=1)
        portal.post_reading(sender, x=20.5 + hours % 5, y=1.0, z=0.25 * hours, timestamp=time.isoformat())

    def api(method: str, path: str, body: Any = None, status: int | None = None) -> Any:
        answer = portal.request(method, path, token=admin.token, json=body)
        assert answer.ok or answer.status_code == status, answer.text
        return answer.json()

    account = account_of(portal, admin)
    subjects = prepare(api, account.login, account.password, device=sender.id, person=admin.login)
    ended = ("finished", "failed")
    for run in ("calculation", "other_calculation"):
        path = f"/calculations/{subjects.ids[run]}/"
        eventually(lambda path=path: api("GET", path)["status"] in ended)
    return subjects


class Inspection:
    """The faults that axe-core found, by page and theme, and the routes that were seen."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.routes: set[str] = set()

    def look(self, page: Page, themes: tuple[Theme, ...] = ("light", "dark")) -> None:
        path = urlsplit(page.url).path
        if "nothing" not in path:
            self.routes.add(resolve(path).view_name)
        if page.locator("[data-chart]").count():
            page.wait_for_load_state("networkidle")
        if page.evaluate("typeof axe") == "undefined":
            page.add_script_tag(path=AXE)
        for theme in themes:
            page.emulate_media(color_scheme=theme)
            found = page.evaluate(RUN, [NOT_OURS, RULES[theme]])
            if found:
                # Once more: the page may have been changing at that moment.
                page.wait_for_timeout(SETTLE_MS)
                found = page.evaluate(RUN, [NOT_OURS, RULES[theme]])
            for rule, nodes in found:
                self.faults += [f"{path} {theme} {rule}: {node}" for node in nodes]
        page.emulate_media(color_scheme="light")


def routes_of_pages() -> set[str]:
    """The names of all routes below /portal/."""

    def named(resolver: URLResolver, prefix: str, space: str) -> Iterator[tuple[str, str]]:
        for each in resolver.url_patterns:
            path = prefix + str(each.pattern)
            if isinstance(each, URLPattern):
                yield path, f"{space}{each.name}"
            else:
                yield from named(each, path, f"{space}{each.namespace}:" if each.namespace else space)

    return {name for path, name in named(get_resolver(), "", "") if path.startswith("portal/")}


def new_key(page: Page) -> str:
    """Add a security key on its page; return its id."""
    plug_in(page)
    page.get_by_label("Name").fill("Ring")
    page.get_by_role("button", name="Add the key").click()
    expect(page).not_to_have_url(re.compile("add/$"))
    page.goto(f"{ACCOUNT}2fa/webauthn/")
    return (page.get_by_role("link", name="Rename").get_attribute("href") or "").split("/")[-3]


def test_axe_finds_nothing_on_any_page(subjects: Subjects, visit_by_name: Visit) -> None:
    inspection = Inspection()
    # The policy would stop axe-core's script; other tests watch over it.
    options = {"bypass_csp": True, "reduced_motion": "reduce", "color_scheme": "light"}
    page = visit_by_name(SimpleNamespace(login=subjects.login, password=subjects.password), **options)
    for name, scene in SCENES.items():
        scene(page, subjects)
        inspection.look(page)
        if name == "account-key-new":
            # Before the password is asked for again.
            subjects.ids["key"] = new_key(page)
            for path in MORE:
                page.goto(path.format(**subjects.ids))
                inspection.look(page)
    page.goto("/redoc")
    # It loads itself again in the other colours.
    inspection.look(page, ("light",))
    stranger = visit_by_name(**options)
    for scene in STRANGERS_SCENES.values():
        scene(stranger, subjects)
        inspection.look(stranger)
    for path in STRANGERS_MORE:
        stranger.goto(path)
        inspection.look(stranger)
    assert inspection.faults == [], json.dumps(inspection.faults, indent=1)
    assert routes_of_pages() - inspection.routes == NO_PAGES
