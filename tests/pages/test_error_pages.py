"""Errors are pages for people, problem details for programs, and need no database."""

import re

import pytest
import requests
from playwright.sync_api import expect

from tests.pages.browser import Account, Visit
from tests.support.portal import Portal

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"
PROGRAMS = ("*/*", "application/json", "application/json, text/html;q=0.5", "")


def assert_page(response: requests.Response, status: int, title: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert f"<h1>{title}</h1>" in response.text
    assert f"<code>{response.headers['X-Request-ID']}</code>" in response.text
    assert 'href="/portal/devices/"' in response.text


def assert_problem(response: requests.Response, status: int) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["request_id"] == response.headers["X-Request-ID"]


@pytest.mark.parametrize("path", ["/nothing", "/portal/nothing/", "/device/7", "/api/"])
def test_404(portal: Portal, path: str) -> None:
    assert_page(portal.request("GET", path, headers={"Accept": BROWSER}), 404, "Not found")


@pytest.mark.parametrize("accept", PROGRAMS)
def test_404_for_programs(portal: Portal, accept: str) -> None:
    assert_problem(portal.request("GET", "/nothing", headers={"Accept": accept}), 404)


def test_scripts_of_pages_get_what_they_ask_for(portal: Portal) -> None:
    assert_page(portal.request("GET", "/portal/nothing/", headers={"Accept": "*/*"}), 404, "Not found")
    assert_problem(portal.request("GET", "/portal/nothing/", headers={"Accept": "application/json"}), 404)


@pytest.mark.parametrize("accept", [BROWSER, JAVA, *PROGRAMS])
@pytest.mark.parametrize("path", ["/devices/", "/devices", "/tasks/", "/stats/", "/api/blogs/"])
def test_routes_of_the_api_answer_problems_to_everybody(portal: Portal, path: str, accept: str) -> None:
    assert_problem(portal.request("GET", path, headers={"Accept": accept}), 401)


def test_a_credential_or_a_json_body_makes_a_program(portal: Portal) -> None:
    headers = {"Accept": JAVA}
    assert_problem(portal.request("GET", "/device/", token=portal.admin_token, headers=headers), 404)
    assert_problem(portal.request("POST", "/device/", json={}, headers=headers), 404)


@pytest.mark.parametrize(("accept", "is_page"), [(BROWSER, True), ("*/*", True), ("application/json", False)])
def test_403_of_a_form_without_its_token(portal: Portal, accept: str, is_page: bool) -> None:
    response = portal.request("POST", "/portal/login/", data={"username": "x"}, headers={"Accept": accept})
    if is_page:
        assert_page(response, 403, "The form has expired")
    else:
        assert_problem(response, 403)


@pytest.mark.parametrize(("accept", "is_page"), [(BROWSER, True), ("*/*", False)])
def test_400_of_a_foreign_host(portal: Portal, accept: str, is_page: bool) -> None:
    headers = {"Accept": accept, "Host": "evil.example"}
    response = portal.request("GET", "/", headers=headers)
    if is_page:
        assert_page(response, 400, "Unknown address")
        assert "evil.example" not in response.text
    else:
        assert_problem(response, 400)


def test_413(portal: Portal) -> None:
    large = b"x" * (6 * 1024 * 1024)
    response = portal.request("POST", "/portal/login/", data=large, headers={"Accept": BROWSER})
    assert_page(response, 413, "Too large")


@pytest.mark.browser
class TestInTheBrowser:
    def test_403(self, visit: Visit, owner_account: Account) -> None:
        page = visit(owner_account)
        assert page.goto("/portal/account/invitations/").status == 403
        expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()

    def test_404_and_the_way_home(self, visit: Visit, owner_account: Account) -> None:
        page = visit(owner_account)
        response = page.goto("/nothing")
        assert response.status == 404
        expect(page.get_by_text(response.headers["x-request-id"])).to_be_visible()
        page.get_by_role("link", name="Go to the devices").click()
        expect(page.get_by_role("heading", name="Devices")).to_be_visible()

    def test_500_without_a_table(self, portal: Portal, visit: Visit, owner_account: Account) -> None:
        """A page that needs the session, and so fails before it has a user."""
        page = visit(owner_account)
        portal.query("ALTER TABLE django_session RENAME TO mislaid")
        try:
            response = page.goto("/portal/devices/")
            assert response.status == 500
            expect(page.get_by_role("heading", name="Something went wrong")).to_be_visible()
            assert response.headers["x-request-id"] in page.content()
            # The same error for a program.
            cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
            cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
            headers = {"Accept": "application/json", "Cookie": cookie}
            assert_problem(portal.request("GET", "/portal/devices/", headers=headers), 500)
        finally:
            portal.query("ALTER TABLE mislaid RENAME TO django_session")
        assert page.goto("/portal/devices/").status == 200

    def test_503_without_the_database(self, portal: Portal, visit: Visit, owner_account: Account) -> None:
        page = visit(owner_account)
        portal.kill("postgres")
        try:
            response = page.goto("/portal/devices/")
            assert (response.status, response.headers["retry-after"]) == (503, "1")
            expect(page.get_by_role("heading", name="Temporarily unavailable")).to_be_visible()
            assert re.search(r"Request id <code>[0-9a-f-]+</code>", page.content())
        finally:
            portal.start_all()
        assert page.goto("/portal/devices/").status == 200
