"""Pytest plugin (see conftest.py) with `portal`, a portal as users have it, and `owner` and `device` on it.

It runs the product's own commands as processes, with its own PostgreSQL and Redis, and is used over HTTP. It
shares nothing with Django's test database.
"""

import io
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import psutil
import pytest
import requests
from django.conf import settings
from django.contrib.auth.hashers import make_password

from config.demo.data_folder import postgres_binary
from config.demo.embedded import postgres_answers, servers
from config.processes import Command, describe_exit, last_lines
from config.supervisor import Supervisor
from tests.support.database import KeptConnections, connected, execute
from tests.support.servers import MEASURED, free_folder

DATABASE = "plumbline_portal"
ACTIVITY_DATABASE = f"{DATABASE}_activity"
SERVER_URLS = ("DATABASE_URL", "REDIS_URL")
START_SECONDS = 60
# A wait for something that comes by itself. Generous: a busy machine may be many times slower.
PATIENCE_SECONDS = 180
POLL_SECONDS = 0.05
# After a second of waiting: each look may be a request, which takes CPU time from what is waited for.
SLOW_POLL_SECONDS = 0.2
CLIENT = {"timeout": 30, "allow_redirects": False}

# Digests of rows. What may change by itself is left out: last uses of credentials, readings of the erased.
STORED = """
    SELECT
        (SELECT sum(hashtextextended(u::text, 0)) FROM users_user u),
        (SELECT sum(hashtextextended(d::text, 0)) FROM devices_device d),
        (SELECT sum(hashtextextended((id, prefix, name, scopes, expires_at, revoked_at)::text, 0))
         FROM users_token),
        (SELECT sum(hashtextextended((id, prefix, expires_at, revoked_at)::text, 0)) FROM devices_devicekey),
        (SELECT count(*) FROM devices_reading WHERE device_id IN (SELECT id FROM devices_device)),
        (SELECT sum(hashtextextended(e::text, 0)) FROM devices_exclusion e),
        (SELECT count(*) FROM analytics_analysis),
        (SELECT sum(hashtextextended((id, name, asked_by_id)::text, 0)) FROM analytics_calculation),
        (SELECT sum(hashtextextended(b::text, 0)) FROM activity_blog b),
        (SELECT sum(hashtextextended(p::text, 0)) FROM activity_post p),
        (SELECT sum(hashtextextended((p, c)::text, 0))
         FROM devices_deviceprofile p LEFT JOIN devices_channel c ON c.profile_id = p.id)
"""

Name = Literal["postgres", "redis", "web", "worker", "beat"]
Role = Literal["admin", "staff", "owner"]


@dataclass(frozen=True)
class Person:
    """A user, with a token of every scope."""

    id: int
    login: str
    token: str


@dataclass(frozen=True)
class Sender:
    """A device, with its key."""

    id: str
    key: str


class Portal:
    """Web, worker, beat, PostgreSQL and Redis; `kill` and `start` take their names."""

    admin_login = "admin"

    def __init__(self, supervisor: Supervisor, urls: Mapping[str, str], port: int) -> None:
        self.supervisor = supervisor
        self.server_url = urls["DATABASE_URL"]
        # The superuser's, for what tests look up and stage themselves.
        self.database_url = f"{self.server_url.rpartition('/')[0]}/{DATABASE}"
        self.passwords = {name: secrets.token_urlsafe(16) for name in ("OWNER_PASSWORD", "RUNTIME_PASSWORD")}
        self.connections = KeptConnections(self.database_url)
        self.redis_url = urls["REDIS_URL"]
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.admin_password = secrets.token_urlsafe(16)
        self.admin_token = ""
        self.env = {
            **{name: value for name, value in os.environ.items() if name != "PLUMBLINE_DEMO"},
            "DATABASE_URL": self.url_of("plumbline_runtime", self.passwords["RUNTIME_PASSWORD"]),
            "REDIS_URL": self.redis_url,
            "SECRET_KEY": secrets.token_urlsafe(32),
            "TOKEN_PEPPER": secrets.token_urlsafe(32),
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "HTTPS": "0",
            "PORT": str(port),
            "PYTHONUNBUFFERED": "1",
            # Leftovers of killed processes are removed with the portal.
            "TMPDIR": str(supervisor.logs),
        }

    # --- Processes

    def install(self) -> None:
        """Install and start the portal, as the docs tell an operator to."""
        statements = (
            *(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in (DATABASE, ACTIVITY_DATABASE)),
            f"CREATE DATABASE {DATABASE}",
        )
        for statement in statements:
            execute(self.server_url, statement)
        self.make_roles()
        self.manage("migrate", DATABASE_URL=self.url_of("plumbline_owner", self.passwords["OWNER_PASSWORD"]))
        for name in ("web", "worker", "beat"):
            self.supervisor.add(self.command(name))
        account = ("--login", self.admin_login, "--email", "admin@example.com", "--name", "Admin")
        self.manage("createsuperuser", "--noinput", *account, DJANGO_SUPERUSER_PASSWORD=self.admin_password)
        self.admin_token = self.manage("create_token", self.admin_login).strip()
        self.wait_until_ready()

    def make_roles(self) -> None:
        """Run the script of the containers: all that the tests do is done by a role that owns nothing."""
        url = urlsplit(self.database_url)
        folder = Path(self.supervisor.logs)
        for name, password in (self.passwords | {"POSTGRES_PASSWORD": unquote(url.password or "")}).items():
            (folder / name).write_text(password)
        script = (settings.BASE_DIR / "deploy/roles.sh").read_text().replace("/secrets/", f"{folder}/")
        env = {
            "PATH": f"{Path(postgres_binary('psql')).parent}:{os.defpath}",
            "PGHOST": unquote(url.netloc.rpartition("@")[2].rpartition(":")[0]),
            "PGUSER": url.username or "",
            "PGDATABASE": DATABASE,
        }
        done = subprocess.run(["sh"], input=script, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def url_of(self, role: str, password: str) -> str:
        place = self.database_url.rpartition("@")[2]
        return f"postgresql://{role}:{password}@{place}"

    def command(self, name: str) -> Command:
        argv = [sys.executable, settings.BASE_DIR / "manage.py", name]
        # A worker's pool processes leave no data, and beat has no code of ours.
        env = self.env | MEASURED if name == "web" else self.env
        return Command(name=name, argv=argv, env=env, folder=settings.BASE_DIR)

    def manage(self, *arguments: str, **env: str) -> str:
        """Run a management command and return its output; fail the test if the command fails."""
        argv = [sys.executable, settings.BASE_DIR / "manage.py", *arguments]
        done = subprocess.run(argv, env=self.env | env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.fail(f"manage.py {arguments[0]} {describe_exit(done.returncode)}.\n{done.stderr}")
        return done.stdout

    def child(self, name: Name) -> Any:
        return next(child for child in self.supervisor.children if child.command.name == name)

    def kill(self, name: Name) -> None:
        """Kill a process (kill -9); its children must end by themselves. It stays dead until `start`."""
        process = self.child(name).process
        process.kill()
        process.wait()

    def start(self, name: Name) -> None:
        """Start the process unless it is running; do not wait until it is ready."""
        child = self.child(name)
        if child.process.poll() is None:
            return

        def started() -> bool:
            try:
                child.process = child.command.start(child.log)
            except BlockingIOError:  # children of the killed one are still ending
                return False
            return True

        eventually(started)

    @contextmanager
    def frozen(self, name: Name) -> Iterator[None]:
        """Suspend a process and its descendants: sockets accept connections and bytes but never answer."""
        process = psutil.Process(self.child(name).process.pid)
        stopped = [process, *process.children(recursive=True)]
        for each in stopped:
            each.suspend()
        try:
            yield
        finally:
            for each in stopped:
                each.resume()

    def start_all(self) -> None:
        for child in self.supervisor.children:
            if child.command.name in ("postgres", "redis", "web", "worker", "beat"):
                self.start(child.command.name)
        eventually(lambda: postgres_answers(self.database_url))
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        eventually(self.is_ready)

    def is_ready(self) -> bool:
        try:
            return self.request("GET", "/healthz").status_code == 204
        except requests.ConnectionError:
            return False

    # --- HTTP

    def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        device_key: str | None = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        params: Any = None,
    ) -> requests.Response:
        """Send one request; follow no redirect. `path` may be a whole URL."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Token {token}"
        if device_key is not None:
            sent["Authorization"] = f"Device {device_key}"
        url = path if path.startswith("http://") else self.url + path
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, url, json=json, data=data, headers=sent, params=params, **CLIENT)

    def raw(self, head: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Send a request's bytes unchanged; return status, headers (lower case) and body."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(head.replace(b"\n", b"\r\n") + body)
            response = bytearray()
            while part := connection.recv(65536):
                response += part
        top, _, content = bytes(response).partition(b"\r\n\r\n")
        status, *lines = top.decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        return int(status.split()[1]), {name.lower(): value.strip() for name, _, value in fields}, content

    def get(self, path: str, token: str | None = None, **options: Any) -> Any:
        """GET as JSON; the status must be 200. Without a token it is the admin's request."""
        response = self.request("GET", path, token=token or self.admin_token, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def new_user(self, role: Role = "owner") -> Person:
        """Create a user and a token through the API, as the admin."""
        mark = secrets.token_hex(4)
        fields = {"name": f"{role} {mark}", "email": f"{role}-{mark}@example.com", "role": role}
        user = self.made("/users/", self.admin_token, fields)
        return Person(user["id"], user["login"], self.new_token(user["id"]))

    def set_password(self, person: Person, password: str) -> None:
        """Set it in the database: a command would start a process, and the admin's pages belong to tests."""
        statement = "UPDATE users_user SET password = %s WHERE id = %s"
        self.query(statement, make_password(password), person.id)

    def new_token(self, user_id: int, **fields: Any) -> str:
        return self.made(f"/users/{user_id}/tokens/", self.admin_token, fields)["token"]

    def new_device(self, owner: Person, profile: str = "xyz", **fields: Any) -> Sender:
        """Register a device as its owner."""
        device = self.made("/devices/", owner.token, {"user_id": owner.id, "profile": profile, **fields})
        return Sender(device["id"], device["key"])

    def made(self, path: str, token: str, body: dict) -> dict:
        response = self.request("POST", path, token=token, json=body)
        assert response.status_code == 201, response.text
        return response.json()

    def post_reading(self, device: Sender, **reading: Any) -> dict:
        response = self.request("POST", f"/devices/{device.id}/stats/", device_key=device.key, json=reading)
        assert response.status_code == 201, response.text
        return response.json()

    def ask(self, path: str, token: str, **params: str) -> str:
        """Ask for an analysis; return the task's id."""
        response = self.request("GET", path, token=token, params=params)
        assert response.status_code == 202, response.text
        return response.json()["task_id"]

    def wait_for_task(self, task_id: str, token: str) -> dict:
        """Wait until the task has ended; return its JSON."""

        def over() -> dict | None:
            task = self.get(f"/tasks/{task_id}/", token)
            return None if task["status"] in ("PENDING", "STARTED") else task

        return eventually(over)

    def result(self, path: str, token: str, **params: str) -> dict:
        """Ask for an analysis, wait, and return its result."""
        task = self.wait_for_task(self.ask(path, token, **params), token)
        assert task["status"] == "SUCCESS", task
        return task["result"]

    # --- Database

    def query(self, statement: str, *parameters: object) -> list[tuple]:
        return self.connections.execute(statement, *parameters)

    def stored(self) -> list[tuple]:
        """All that a request could change: equal before and after a request that was refused."""
        return self.query(STORED)

    def load(self, device: Sender, readings: Iterable[tuple[datetime, Iterable[float]]]) -> None:
        """Store many readings at once, bypassing the API, in the partition for times before 2000."""
        [(number,)] = self.query("SELECT id FROM devices_device WHERE uuid = %s", device.id)
        lines = (
            f"{number}\t{time.isoformat()}\t{{{','.join(map(repr, values))}}}\n" for time, values in readings
        )
        with connected(self.database_url) as connection, connection.cursor() as cursor:
            cursor.copy_expert("COPY devices_reading FROM STDIN", io.StringIO("".join(lines)))


def eventually(found: Callable[[], Any]) -> Any:
    """Poll `found` until it returns something true, and return that; fail the test after PATIENCE_SECONDS."""
    start = time.monotonic()
    while True:
        value = found()
        if value:
            return value
        waited = time.monotonic() - start
        if waited > PATIENCE_SECONDS:
            pytest.fail(f"Not true within {PATIENCE_SECONDS} s; the last value was {value!r}.")
        time.sleep(POLL_SECONDS if waited < 1 else SLOW_POLL_SECONDS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def portal_with_servers() -> Iterator[Portal]:
    """A portal that is not installed yet, with servers of its own."""
    with ExitStack() as stack:
        folder = free_folder(stack)
        supervisor = Supervisor(folder / "logs")
        # Servers given by the environment are not used: tests kill those of this portal.
        with pytest.MonkeyPatch.context() as patch:
            for name in SERVER_URLS:
                patch.delenv(name)
            urls = stack.enter_context(servers(folder, supervisor))
        yield Portal(supervisor, urls, free_port())


@pytest.fixture(scope="session")
def portal() -> Iterator[Portal]:
    with portal_with_servers() as portal:
        portal.install()
        yield portal


@pytest.fixture
def owner(portal: Portal) -> Person:
    return portal.new_user()


@pytest.fixture
def device(portal: Portal, owner: Person) -> Sender:
    return portal.new_device(owner)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the end of the portal's logs to the report of a test that failed."""
    report = yield
    portal = getattr(item, "funcargs", {}).get("portal")
    if report.failed and portal is not None:
        for child in portal.supervisor.children:
            report.sections.append((f"{child.command.name} of the portal", last_lines(Path(child.log))))
    return report
