"""Readers of environment variables for `config.settings`: each refuses nonsense and names the variable."""

import os
import re
import secrets
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

# RFC 1918, RFC 4193, and addresses of one link.
PRIVATE_NETWORKS = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,fc00::/7,fe80::/10"
KERNEL_SOURCE = re.compile(r"(?:([\w-]+)=)?([^=:]*\.py|\w+(?:\.\w+)*)(?::(\w+))?", re.ASCII)
CONTACT = re.compile(r"(?:mailto:[^\s@]+@[^\s@]+|https://\S+|tel:\+[0-9-]+)")
# NAME=value, NAME="value", NAME='value'; then perhaps a comment.
ASSIGNMENT = re.compile(r"""(\w+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(.*?))(?:\s+#.*)?""")


def assignments(text: str) -> dict[str, str]:
    """Read an .env file's text as docker compose does, but without substitutions; leave out empty values.

    Raises ImproperlyConfigured for any other line, by its number: it may hold a secret.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = ASSIGNMENT.fullmatch(stripped.removeprefix("export "))
        if match is None:
            raise ImproperlyConfigured(f".env: line {number} is not of the form NAME=value.")
        name, *quoted_or_plain = match.groups()
        found[name] = next((value for value in quoted_or_plain if value), "")
    return {name: value for name, value in found.items() if value}


def flag(name: str, default: str) -> bool:
    value = os.environ.get(name, default)
    if value not in ("0", "1"):
        raise ImproperlyConfigured(f"{name} must be 0 or 1, not {value!r}.")
    return value == "1"


def networks(name: str, default: str) -> list[IPv4Network | IPv6Network]:
    """Read networks such as 192.0.2.0/24, separated by commas."""
    entries = (os.environ.get(name, "") or default).split(",")
    try:
        return [ip_network(entry.strip()) for entry in entries]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must name networks such as 192.0.2.0/24 ({error}).") from error


def whole_number(name: str, default: int, *, at_least: int, at_most: int) -> int:
    value = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", value) or not at_least <= int(value) <= at_most:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {at_least} to {at_most}, not {value!r}."
        )
    return int(value)


def confidential(name: str) -> str:
    """The variable or, where it is empty, the first file of that name in the folders SECRETS; else empty."""
    value, folders = os.environ.get(name, ""), os.environ.get("SECRETS", "")
    if value or not folders:
        return value
    for folder in folders.split(os.pathsep):
        try:
            return Path(folder, name).read_text().strip()
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ImproperlyConfigured(f"{name} cannot be read from the folder SECRETS ({error}).") from error
    return ""


def required(name: str, demo_default: str) -> str:
    """Refuse to start without `name`; only demo mode has a default."""
    value = confidential(name) or (demo_default if flag("PLUMBLINE_DEMO", "0") else "")
    if not value:
        raise ImproperlyConfigured(f"Set {name} in the environment: it is required outside demo mode.")
    return value


def secret(name: str) -> str:
    """A required value of 32 or more characters; in demo mode the default is a new secret at each start."""
    value = required(name, secrets.token_urlsafe(32))
    if len(value) < 32:
        raise ImproperlyConfigured(f"{name} must have at least 32 characters.")
    return value


def former_secrets(name: str) -> list[str]:
    """Secrets that were replaced and still count, separated by commas."""
    found = [value.strip() for value in confidential(name).split(",") if value.strip()]
    if any(len(value) < 32 for value in found):
        raise ImproperlyConfigured(f"{name} must have values of at least 32 characters, separated by commas.")
    return found


def zone_name(name: str, default: str) -> str:
    value = os.environ.get(name, default)
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ImproperlyConfigured(f"{name} must be an IANA time zone, not {value!r}.") from error
    return value


def kernel_sources(name: str) -> list[tuple[str, str, str]]:
    """Kernel's name, file or module, and function of each entry; only the second is never empty."""
    entries = [entry.strip() for entry in os.environ.get(name, "").split(",") if entry.strip()]
    found = [KERNEL_SOURCE.fullmatch(entry) for entry in entries]
    for entry, match in zip(entries, found, strict=True):
        if match is None:
            raise ImproperlyConfigured(
                f"{name} must have entries such as /path/kernel.py, /path/kernel.py:function,"
                f" package.module:function or name=/path/kernel.py, not {entry!r}."
            )
    return [(match[1] or "", match[2], match[3] or "") for match in found if match]


def database(name: str, url: str) -> dj_database_url.DBConfig:
    """Convert the URL of variable `name` to Django's settings. The URL may hold a password: never show it."""
    try:
        # A thread keeps its connection and checks it before use: a restarted database costs no request.
        parsed = dj_database_url.parse(url, conn_max_age=None, conn_health_checks=True)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not a database URL.") from error
    if parsed["ENGINE"] != "django.db.backends.postgresql" or not parsed["NAME"]:
        raise ImproperlyConfigured(f"{name} must be of the form postgresql://user:password@host:port/name.")
    parsed.setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
    return parsed


def contacts(name: str) -> list[str]:
    """Read addresses for reports, separated by commas: mailto:, https: or tel: (RFC 9116)."""
    entries = [entry.strip() for entry in os.environ.get(name, "").split(",") if entry.strip()]
    if not all(CONTACT.fullmatch(entry) for entry in entries):
        raise ImproperlyConfigured(f"{name} must have entries such as mailto:security@example.com.")
    return entries


def is_clickhouse(url: str) -> bool:
    """Return True if the URL names a host and a database of ClickHouse."""
    try:
        parts = urlsplit(url)
        is_complete = bool(parts.hostname and parts.path.strip("/") and parts.port != 0)
    except ValueError:
        return False
    return is_complete and url.startswith("clickhouse://")


LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(url: str) -> bool:
    """Tell whether the URL is of a server on this computer."""
    return url.startswith("unix://") or urlsplit(url).hostname in LOOPBACK


def redis_url(name: str) -> str:
    """The URL of Redis. It must have a password, unless the server is on this computer or this is the demo.

    Whoever can write to Redis hands work to the workers. The URL may hold a password: never show it.
    """
    url = required(name, "redis://localhost")
    try:
        parts = urlsplit(url)
        is_guarded = is_loopback(url) or bool(parts.password) or "ssl_certfile" in parts.query
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not a URL.") from error
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ImproperlyConfigured(f"{name} must start with redis://, rediss:// or unix://.")
    if not is_guarded and not flag("PLUMBLINE_DEMO", "0"):
        raise ImproperlyConfigured(
            f"{name} must have a password, as in redis://:password@host:6379: Redis is on another host."
        )
    return url


def redis_database(url: str, number: int) -> str:
    """The URL with database `number` in place of its own."""
    if url.startswith("unix://"):
        # urllib would write unix:/path, which redis-py refuses.
        return f"{url.partition('?')[0]}?db={number}"
    return urlsplit(url)._replace(path=f"/{number}").geturl()


@dataclass(frozen=True)
class MailServer:
    """How mail leaves: `kind` is the name of Django's backend. `tls` is from the start, `start_tls` later."""

    kind: str
    folder: str | None = None
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    tls: bool = False
    start_tls: bool = False


def mail_server(name: str) -> MailServer | None:
    """Read smtp, smtps, file or console from a URL. None if empty. It may hold a password: never show it."""
    url = confidential(name)
    if not url:
        return None
    wrong = ImproperlyConfigured(
        f"{name} must be of the form smtp://user:password@host:587 (STARTTLS), smtps://user:password@host:465,"
        " smtp://host:25?tls=0, file:///folder or console://."
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme == "console":
        return MailServer("console")
    if parts.scheme == "file" and parts.path.startswith("/"):
        return MailServer("filebased", folder=parts.path)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.query not in ("", "tls=0"):
        raise wrong
    tls = parts.scheme == "smtps"
    return MailServer(
        "smtp",
        host=parts.hostname,
        port=port or (465 if tls else 587),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=tls,
        start_tls=not tls and parts.query != "tls=0",
    )


def openid_issuer(name: str) -> str:
    """The URL of an OpenID provider, without a slash at its end; plain HTTP only on this computer."""
    url = os.environ.get(name, "").rstrip("/")
    try:
        parts = urlsplit(url)
        is_known = parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost", "::1")
    except ValueError:
        is_known = False
    if url and not (is_known and parts.hostname and parts.scheme in ("http", "https") and not parts.query):
        raise ImproperlyConfigured(f"{name} must be the https URL of an OpenID Connect issuer, not {url!r}.")
    return url
