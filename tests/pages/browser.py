"""Browser sessions on the portal that fail on any fault, and helpers to read pages."""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Response

from tests.support.portal import Person, Portal, Sender

Visit = Callable[..., Page]

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
# Generous: a busy machine may be many times slower.
WAIT_MS = 60_000
# Chromium's message about an answer of 400 or more; `watch` judges answers by their status.
NOT_LOADED = "Failed to load resource"


@dataclass(frozen=True)
class Account:
    login: str
    password: str


def launch(playwright: Playwright, *flags: str) -> Browser:
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail("The browser tests need Chromium: install it, or set CHROMIUM to its path.")
    return playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])


def account_of(portal: Portal, person: Person) -> Account:
    """Give the person a password."""
    password = secrets.token_urlsafe(16)
    portal.set_password(person, password)
    return Account(person.login, password)


@contextmanager
def sessions(portal: Portal, browser: Browser) -> Iterator[Visit]:
    """Yield a function that opens a session, logged in if given an account. Fails on any fault."""
    faults: list[str] = []
    with ExitStack() as stack:

        def visit(account: Account | None = None, **options: Any) -> Page:
            context = stack.enter_context(browser.new_context(base_url=portal.url, **options))
            context.set_default_timeout(WAIT_MS)
            watch(context, portal.url, faults)
            page = context.new_page()
            if account is not None:
                log_in(page, account)
            return page

        yield visit
    assert faults == []


def watch(context: BrowserContext, origin: str, faults: list[str]) -> None:
    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(NOT_LOADED):
            faults.append(f"{message.page and message.page.url}: {message.text}")

    def on_response(response: Response) -> None:
        # 400 is invalid input, which the page explains.
        if response.status > 400 and not response.request.is_navigation_request():
            faults.append(f"{response.status} {response.url}")

    context.on("console", on_console)
    context.on("response", on_response)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("request", lambda r: None if is_inside(r.url, origin) else faults.append(f"outside: {r.url}"))


def is_inside(url: str, origin: str) -> bool:
    return url.startswith((f"{origin}/", f"blob:{origin}/", "data:"))


def log_in(page: Page, account: Account) -> None:
    page.goto("/portal/login/")
    page.get_by_label("Login").fill(account.login)
    page.get_by_label("Password").fill(account.password)
    with page.expect_response("**/portal/login/**"):
        page.get_by_role("button", name="Log in").click()


def device_path(device: Sender) -> str:
    return f"/portal/devices/{device.id}/"


def statistics_path(device: Sender) -> str:
    return f"/portal/devices/{device.id}/statistics/"


@contextmanager
def same_document(page: Page) -> Iterator[None]:
    """Fail if the page is left or reloaded in the block."""
    page.evaluate("window.wasHere = true")
    yield
    assert page.evaluate("window.wasHere")


def is_drawn(page: Page) -> bool:
    """Some pixel of the chart is coloured."""
    return page.locator("[data-chart] canvas").first.evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(byte => byte > 0)"
    )
