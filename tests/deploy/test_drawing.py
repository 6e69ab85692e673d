"""The arithmetic of secrets: what is drawn, what is kept, and the URLs made of them."""

from urllib.parse import unquote, urlsplit

import pytest

from config.installation.drawing import (
    FOR_PORTAL,
    FOR_STORES,
    drawn,
    for_owner,
    for_portal,
    for_stores,
    passwords_in,
)


def test_a_drawn_secret_is_long_and_never_the_same() -> None:
    some = {drawn() for _ in range(100)}
    assert len(some) == 100
    assert all(len(one) == 64 and one.isalnum() for one in some)


def test_known_passwords_stay_and_the_rest_is_drawn() -> None:
    stores = for_stores({"REDIS_PASSWORD": "kept", "POSTGRES_PASSWORD": ""})
    assert stores.keys() == set(FOR_STORES)
    assert stores["REDIS_PASSWORD"] == "kept"
    assert len(stores["POSTGRES_PASSWORD"]) == 64


def test_the_portal_gets_secrets_and_urls_of_the_stores() -> None:
    stores = dict(zip(FOR_STORES, ("one", "two", "three", "four"), strict=True))
    portal = for_portal(stores, {"TOKEN_PEPPER": "kept"})
    assert portal.keys() == {*FOR_PORTAL, "DATABASE_URL", "REDIS_URL"}
    assert portal["TOKEN_PEPPER"] == "kept"
    assert portal["DATABASE_URL"] == "postgresql://plumbline_runtime:three@postgres:5432/plumbline"
    assert portal["REDIS_URL"] == "redis://:four@redis:6379"
    owner = {"DATABASE_URL": "postgresql://plumbline_owner:two@postgres:5432/plumbline"}
    assert for_owner(portal, stores) == owner


@pytest.mark.parametrize(
    "url",
    ["postgresql://someone:hush@db.example.com/x", "postgresql://plumbline:one@postgres:5432/plumbline"],
)
def test_with_another_database_or_one_role_migrate_uses_the_portals_url(url: str) -> None:
    stores = dict.fromkeys(FOR_STORES, "hush")
    assert for_owner({"DATABASE_URL": url}, stores) == {"DATABASE_URL": url}


@pytest.mark.parametrize("password", ["plain", "a/b@c:d?e#f%20 g", "ü€"])
def test_the_urls_give_the_passwords_back(password: str) -> None:
    stores = dict.fromkeys(FOR_STORES, password)
    portal = for_portal(stores, {})
    assert unquote(urlsplit(portal["DATABASE_URL"]).password) == password
    assert passwords_in(portal) == {"RUNTIME_PASSWORD": password, "REDIS_PASSWORD": password}
    of_old = {"DATABASE_URL": portal["DATABASE_URL"].replace("plumbline_runtime", "plumbline")}
    assert passwords_in(of_old) == {"POSTGRES_PASSWORD": password}


@pytest.mark.parametrize(
    "portal",
    [
        {},
        {
            "DATABASE_URL": "postgresql://someone:hush@db.example.com/x",
            "REDIS_URL": "redis://:hush@cache:6379",
        },
        {"DATABASE_URL": "postgresql://plumbline@postgres/plumbline", "REDIS_URL": "redis://redis"},
        {"DATABASE_URL": "", "REDIS_URL": "unix:///run/redis"},
    ],
)
def test_urls_of_other_servers_hold_no_password_of_the_stores(portal: dict[str, str]) -> None:
    assert passwords_in(portal) == {}
