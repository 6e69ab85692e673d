"""A portal's secrets, and the URLs made of them. The files for containers use the same names."""

import secrets
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit

FOR_PORTAL = ("SECRET_KEY", "TOKEN_PEPPER")
# Confidential settings of the portal that are not drawn: most portals have none.
GIVEN_TO_PORTAL = ("SECRET_KEY_FALLBACKS", "TOKEN_PEPPER_FALLBACKS", "EMAIL_URL", "OIDC_CLIENT_SECRET")
# Of PostgreSQL: its superuser, whom no program of ours knows; the owner of the tables; who runs the portal.
FOR_POSTGRES = ("POSTGRES_PASSWORD", "OWNER_PASSWORD", "RUNTIME_PASSWORD")
FOR_STORES = (*FOR_POSTGRES, "REDIS_PASSWORD")
# Of each role in a URL. An installation from before the two roles has its superuser there.
PASSWORD_OF = {
    "plumbline": "POSTGRES_PASSWORD",
    "plumbline_owner": "OWNER_PASSWORD",
    "plumbline_runtime": "RUNTIME_PASSWORD",
}


def for_stores(known: Mapping[str, str]) -> dict[str, str]:
    """The passwords of PostgreSQL and Redis: those that are known, and new ones for the rest."""
    return {name: known.get(name) or drawn() for name in FOR_STORES}


def for_portal(stores: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """The portal's settings: secrets that are known or new, and URLs with the passwords of the stores."""
    return {
        **{name: known.get(name) or drawn() for name in FOR_PORTAL},
        "DATABASE_URL": database_url("plumbline_runtime", stores["RUNTIME_PASSWORD"]),
        "REDIS_URL": f"redis://:{quote(stores['REDIS_PASSWORD'], safe='')}@redis:6379",
    }


def for_owner(portal: Mapping[str, str], stores: Mapping[str, str]) -> dict[str, str]:
    """What `migrate` has in place of the portal's URL: the same, unless it is of the role without tables."""
    url = portal.get("DATABASE_URL", "")
    is_ours = url == database_url("plumbline_runtime", stores.get("RUNTIME_PASSWORD", ""))
    return {"DATABASE_URL": database_url("plumbline_owner", stores["OWNER_PASSWORD"]) if is_ours else url}


def database_url(role: str, password: str) -> str:
    return f"postgresql://{role}:{quote(password, safe='')}@postgres:5432/plumbline"


def passwords_in(portal: Mapping[str, str]) -> dict[str, str]:
    """The stores' passwords in URLs of the portal; a URL of some other server has none of them."""
    found = {}
    for setting, host in (("DATABASE_URL", "postgres"), ("REDIS_URL", "redis")):
        url = urlsplit(portal.get(setting, ""))
        name = "REDIS_PASSWORD" if host == "redis" else PASSWORD_OF.get(url.username or "")
        if url.hostname == host and url.password and name:
            found[name] = unquote(url.password)
    return found


def drawn() -> str:
    """256 random bits in letters and digits, which need no quoting anywhere."""
    return secrets.token_hex(32)
