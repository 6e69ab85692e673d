"""Fixtures of the pages' tests: browsers, people, a device.

A session fails on a script's error, a breach of the content policy, a failed request, or a request to another
host.
"""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

from tests.pages.browser import WAIT_MS, Account, Visit, account_of, launch, sessions
from tests.support.portal import Person, Portal, Sender

# Playwright's own switch does not render <noscript>.
NO_SCRIPTS = "--blink-settings=scriptEnabled=false"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Module scope: while it lives, Django takes this thread for an asynchronous one."""
    with sync_playwright() as playwright:
        expect.set_options(timeout=WAIT_MS)
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with launch(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def scriptless_browser(playwright: Playwright) -> Iterator[Browser]:
    with launch(playwright, NO_SCRIPTS) as browser:
        yield browser


@pytest.fixture(scope="module")
def owner(portal: Portal) -> Person:
    return portal.new_user()


@pytest.fixture(scope="module")
def owner_account(portal: Portal, owner: Person) -> Account:
    return account_of(portal, owner)


@pytest.fixture(scope="module")
def admin_account(portal: Portal) -> Account:
    return Account(portal.admin_login, portal.admin_password)


@pytest.fixture
def device(portal: Portal, owner: Person) -> Sender:
    """A device of the owner with three readings, the last one second old."""
    sender = portal.new_device(owner, name=f"Pump {secrets.token_hex(4)}", time_zone="Europe/Berlin")
    for x, ago in ((0.1, 7200), (0.2, 60), (-1234.56789012345, 1)):
        time = datetime.now(UTC) - timedelta(seconds=ago)
        portal.post_reading(sender, x=x, y=1.0, z=1e-7, timestamp=time.isoformat())
    return sender


@pytest.fixture
def visit(portal: Portal, browser: Browser) -> Iterator[Visit]:
    with sessions(portal, browser) as visit:
        yield visit


@pytest.fixture
def visit_without_scripts(portal: Portal, scriptless_browser: Browser) -> Iterator[Visit]:
    with sessions(portal, scriptless_browser) as visit:
        yield visit
