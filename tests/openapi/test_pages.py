"""The API's documentation pages have the header of all pages, whoever looks at them."""

import re

import pytest
from django.test import Client

from tests.account.people import logged_in, person
from users.models import Role, Theme

pytestmark = pytest.mark.django_db
PAGES = ["/docs", "/redoc"]


def header(client: Client, path: str) -> list[str]:
    """The texts of the links and buttons in the header."""
    [html] = re.findall(r'<header class="site">(.*?)</header>', client.get(path).content.decode(), re.DOTALL)
    return re.findall(r">\s*([^<>]+?)\s*</(?:a|button)>", html)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("role", [Role.ADMIN, Role.OWNER])
def test_who_is_logged_in_has_the_same_header_as_elsewhere(path, role):
    client = logged_in(person(role))
    elsewhere = header(client, "/portal/devices/")
    assert header(client, path) == elsewhere
    assert "Log out" in elsewhere
    assert ("Import" in elsewhere) == (role == Role.ADMIN)


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_has_no_account_there_nor_has_a_bad_credential(path):
    stranger = header(Client(), path)
    assert stranger[-2:] == ["API docs", "Log in"]
    assert not {"Import", "Admin", "Log out"} & set(stranger)
    assert header(Client(headers={"Authorization": "Token wrong"}), path) == stranger


@pytest.mark.parametrize("path", PAGES)
def test_the_theme_of_the_account_counts(path):
    client = logged_in(person(theme=Theme.DARK))
    assert 'data-theme="dark"' in client.get(path).content.decode()
