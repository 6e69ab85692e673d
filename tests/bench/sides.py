"""The two sides of the comparison, portal and peer, each started by its own command on one PostgreSQL."""

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django
import psycopg2
from django.core.management import call_command

from config.processes import Command
from config.supervisor import Supervisor
from tests.bench.load import Failed

ROOT = Path(__file__).parents[2]
PEER = Path(__file__).with_name("peer.py")
PEER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
PROCESSES = 2
START_SECONDS = 30


class Database:
    """A new, empty database on the server."""

    def __init__(self, server_url: str, name: str) -> None:
        self.url = f"{server_url.rpartition('/')[0]}/{name}"
        execute(server_url, f"CREATE DATABASE {name}")

    def query(self, statement: str, parameters: Mapping[str, object] | None = None) -> list[tuple]:
        return execute(self.url, statement, parameters)

    @property
    def env(self) -> dict[str, str]:
        """Connection variables for psql, pgbench and asyncpg."""
        parts = urlsplit(self.url)
        host, _, port = parts.netloc.rpartition("@")[2].partition(":")
        return {
            "PATH": os.environ["PATH"],
            "PGHOST": unquote(host),
            "PGPORT": port,
            "PGUSER": parts.username or "",
            "PGPASSWORD": parts.password or "",
            "PGDATABASE": parts.path[1:],
        }


@dataclass(frozen=True)
class Side:
    """A running server, its table of readings, and its devices: Authorization headers by device id.

    For the portal also the environment of its commands and an admin's token.
    """

    port: int
    database: Database
    table: str
    devices: Mapping[str, str]
    env: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


def start_portal(name: str, supervisor: Supervisor, urls: Mapping[str, str], *, devices: int) -> Side:
    """Install a portal as the docs tell an operator to, outside demo mode, and start `manage.py web`."""
    database, port = Database(urls["DATABASE_URL"], name), free_port()
    env = {
        **{key: value for key, value in os.environ.items() if key != "PLUMBLINE_DEMO"},
        **{"DATABASE_URL": database.url, "REDIS_URL": urls["REDIS_URL"]},
        **{"SECRET_KEY": secrets.token_urlsafe(32), "TOKEN_PEPPER": secrets.token_urlsafe(32)},
        **{"ALLOWED_HOSTS": "127.0.0.1", "HTTPS": "0", "PORT": str(port), "WEB_PROCESSES": str(PROCESSES)},
    }
    manage(env, "migrate")
    manage(env, "make_partitions")
    account = ("--login", "admin", "--email", "admin@example.com", "--name", "Admin")
    password = {"DJANGO_SUPERUSER_PASSWORD": secrets.token_urlsafe(16)}
    manage(env | password, "createsuperuser", "--noinput", *account)
    token = manage(env, "create_token", "admin").strip()
    start(Command(name, [sys.executable, ROOT / "manage.py", "web"], env, ROOT), supervisor, port, "/healthz")
    owner = made(port, "/users/", token, {"name": "Owner", "email": "owner@example.com"})
    registered = [
        made(port, "/devices/", token, {"user_id": owner["id"], "profile": "xyz"}) for _ in range(devices)
    ]
    keys = {device["id"]: f"Device {device['key']}" for device in registered}
    return Side(port, database, "devices_reading", keys, env, token)


def start_peer(supervisor: Supervisor, urls: Mapping[str, str], *, ids: list[str]) -> Side:
    """Start the peer with the same devices, server program and number of processes, without credentials."""
    database, port = Database(urls["DATABASE_URL"], "peer"), free_port()
    run([PEER_PYTHON, PEER], database.env, text="\n".join(ids))
    options = ["--app-dir", PEER.parent, "--host", "127.0.0.1", "--port", port, "--workers", PROCESSES]
    speed = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    argv = [PEER_PYTHON, "-m", "uvicorn", "peer:app", *options, *speed]
    start(Command("peer", argv, database.env, ROOT), supervisor, port, "/openapi.json")
    return Side(port, database, "reading", dict.fromkeys(ids, ""))


def start(command: Command, supervisor: Supervisor, port: int, path: str) -> None:
    supervisor.add(command)
    supervisor.wait_until(partial(is_ready, port, path), seconds=START_SECONDS, name=command.name)


def is_ready(port: int, path: str) -> bool:
    try:
        return ask(port, "GET", path)[0] < 300
    except (OSError, http.client.HTTPException):
        return False


def made(port: int, path: str, token: str, fields: Mapping[str, object]) -> dict:
    """POST as the admin and return the JSON of the 201 answer. Raises Failed."""
    headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}
    status, body = ask(port, "POST", path, json.dumps(fields), headers)
    if status != 201:
        raise Failed(f"POST {path} was answered {status}: {body}")
    return json.loads(body)


def ask(
    port: int, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Send a request; return status and body."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode()


def manage(env: Mapping[str, str], *arguments: str) -> str:
    return run([sys.executable, ROOT / "manage.py", *arguments], env)


def run(argv: list[object], env: Mapping[str, str], text: str = "") -> str:
    """Run a command and return its output. Raises Failed."""
    done = subprocess.run(
        [str(part) for part in argv], env=env, input=text, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Failed(f"{argv[1]} ended with code {done.returncode}.\n{done.stderr}")
    return done.stdout


def set_up_django(urls: Mapping[str, str]) -> None:
    """Set up Django in this process on these servers, and migrate the database."""
    os.environ.update(urls)
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings",
        SECRET_KEY=secrets.token_urlsafe(32),
        TOKEN_PEPPER=secrets.token_urlsafe(32),
        ALLOWED_HOSTS="127.0.0.1",
        HTTPS="0",
    )
    django.setup()
    call_command("migrate", verbosity=0)


def execute(url: str, statement: str, parameters: Mapping[str, object] | None = None) -> list[tuple]:
    """Execute a statement in a transaction of its own and return its rows."""
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
