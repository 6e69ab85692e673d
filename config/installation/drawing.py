"""A portal's four secrets, and the two URLs made of them. The files for containers use the same names."""

import secrets
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit

FOR_PORTAL = ("SECRET_KEY", "TOKEN_PEPPER")
FOR_STORES = ("POSTGRES_PASSWORD", "REDIS_PASSWORD")


def for_stores(known: Mapping[str, str]) -> dict[str, str]:
    """The passwords of PostgreSQL and Redis: those that are known, and new ones for the rest."""
    return {name: known.get(name) or drawn() for name in FOR_STORES}


def for_portal(stores: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The portal's settings: secrets that are known or new, and URLs with the passwords of the stores."""
    postgres, redis = (quote(stores[name], safe="") for name in FOR_STORES)
    return {
        **{name: known.get(name) or drawn() for name in FOR_PORTAL},
        "DATABASE_URL": f"postgresql://plumbline:{postgres}@postgres:5432/plumbline",
        "REDIS_URL": f"redis://:{redis}@redis:6379",
    }


def passwords_in(portal: Mapping[str, str]) -> dict[str, str]:
    """The stores' passwords in URLs of the portal; a URL of some other server has none of them."""
    found = {}
    for name, host, setting in zip(
        FOR_STORES, ("postgres", "redis"), ("DATABASE_URL", "REDIS_URL"), strict=True
    ):
        url = urlsplit(portal.get(setting, ""))
        if url.hostname == host and url.password:
            found[name] = unquote(url.password)
    return found


def drawn() -> str:
    """256 random bits in letters and digits, which need no quoting anywhere."""
    return secrets.token_hex(32)
