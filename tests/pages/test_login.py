"""Logging in and out, in a real browser."""

import re

import pytest
from playwright.sync_api import expect

from tests.pages.browser import (
    Account,
    Visit,
    log_in,
)

pytestmark = pytest.mark.browser


def test_one_logs_in_by_form_and_out_again(visit: Visit, owner_account: Account) -> None:
    page = visit()
    page.goto("/portal/")
    expect(page).to_have_url(re.compile(r"/portal/login/\?next="))
    log_in(page, owner_account)
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()
    expect(page.locator(".account")).to_contain_text(owner_account.login)
    expect(page.get_by_role("link", name="Admin")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    page.goto("/portal/devices/")
    expect(page.get_by_label("Password")).to_be_visible()


def test_wrong_password_is_told(visit: Visit, owner_account: Account) -> None:
    page = visit(Account(owner_account.login, "not it"))
    expect(page.get_by_role("alert")).to_contain_text("correct login and password")
    expect(page.get_by_label("Login")).to_have_value(owner_account.login)
