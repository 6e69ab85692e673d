import http.client
import os
import secrets
import shlex
import socket
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.demo import development
from config.demo.clients import REACHED
from config.demo.data_folder import ServersError, locked, stored_secrets
from config.demo.embedded import servers
from config.processes import Command as Process
from config.supervisor import DEATHS_ALLOWED, GaveUp, Stopped, Supervisor

LOOPBACK = ("127.0.0.1", "localhost", "::1")
READY_SECONDS = 60
BANNER = "DEMO MODE: anybody who reaches this address has full access without credentials."
BEYOND = (
    "It listens beyond this computer, to private networks unless DEMO_NETWORKS names others."
    " For real use start `web` in place of `demo`."
)
# Written to the data folder's file `env`.
FOR_COMMANDS = (
    *("SECRET_KEY", "SECRET_KEY_FALLBACKS", "TOKEN_PEPPER", "TOKEN_PEPPER_FALLBACKS", "ALLOWED_HOSTS"),
    *("DATABASE_URL", "ACTIVITY_URL", "READINGS_URL", "REDIS_URL", "EMAIL_URL"),
    *("PLUMBLINE_DEMO", "HOST", "PORT", "DATA"),
)


class Command(BaseCommand):
    help = "Start everything with open access: PostgreSQL, Redis, demo data, web, worker, beat, agent."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--data", type=Path, default=settings.DATA, help="folder of databases and logs")
        parser.add_argument(
            "--parent", type=int, metavar="PID", help="process id of the parent: also stop when it ends"
        )
        parser.add_argument(
            "--reload", action="store_true", help="for development: read .env, restart when a file changes"
        )

    def handle(self, *, host: str, port: int, data: Path, parent: int | None, reload: bool, **_: Any) -> None:
        if reload and host not in LOOPBACK:
            raise CommandError(f"A development server listens on this computer only: HOST is {host}.")
        data = data.absolute()
        # Broken code fails again at once: twice is enough to wait for its author.
        deaths_allowed = 2 if reload else DEATHS_ALLOWED
        supervisor = Supervisor(data / "logs", parent=parent, deaths_allowed=deaths_allowed)
        supervisor.catch_signals()
        try:
            with locked(data):
                refuse_taken_port(host, port)
                with servers(data, supervisor) as urls:
                    self.serve(supervisor, environment(data, host, port, urls), reload=reload)
        except Stopped:
            self.stdout.write("Stopped.")
        except (ServersError, GaveUp) as error:
            raise CommandError(str(error)) from error

    def serve(self, supervisor: Supervisor, env: Mapping[str, str], *, reload: bool) -> None:
        data, host, port = Path(env["DATA"]), env["HOST"], int(env["PORT"])
        write_environment(data / "env", env)
        # Links to set a password are in there.
        (data / "mail").mkdir(exist_ok=True)
        (data / "mail").chmod(0o700)
        (data / REACHED).unlink(missing_ok=True)
        files = development.versions(settings.BASE_DIR)
        password = secrets.token_urlsafe(12)
        supervisor.run_once(manage("migrate", env))
        supervisor.run_once(manage("seed_demo", {**env, "DEMO_ADMIN_PASSWORD": password}))
        for name in ("web", "worker", "beat"):
            # A developer sees the faults of requests at once, and a container's log has who reaches it.
            shown = name == "web" and (reload or host not in LOOPBACK)
            supervisor.add(manage(name, env), shown=shown)
        supervisor.add(manage("agent", env, "--url", f"http://{address(host)}:{port}"))
        supervisor.wait_until(partial(is_ready, host, port), seconds=READY_SECONDS, name="web")
        self.stdout.write(self.style.WARNING(BANNER))
        if host not in LOOPBACK:
            self.stdout.write(self.style.WARNING(BEYOND))
        self.tell(
            f"Plumbline is ready: http://{address(host)}:{port}/\n"
            f"Log in as admin with the password {password} (valid until the next start).\n"
            f"Data: {data}, logs: {supervisor.logs}. Press Ctrl-C to stop."
        )
        if reload:
            development.run(supervisor, settings.BASE_DIR, files, self.tell)
        else:
            supervisor.run()

    def tell(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def environment(data: Path, host: str, port: int, urls: Mapping[str, str]) -> dict[str, str]:
    """The environment of all processes; variables that are already set win over generated ones."""
    generated = stored_secrets(data)
    outside = {name: value for name, value in os.environ.items() if value}
    return {
        "SECRET_KEY": generated["SECRET_KEY"],
        "TOKEN_PEPPER": generated["TOKEN_PEPPER"],
        # A foreign site must not reach the open demo through a host name that resolves to this computer.
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]" if host in LOOPBACK else "*",
        "EMAIL_URL": f"file://{data}/mail",
        **outside,
        **urls,
        "PLUMBLINE_DEMO": "1",
        "HOST": host,
        "PORT": str(port),
        "DATA": str(data),
        "PYTHONUNBUFFERED": "1",
    }


def write_environment(path: Path, env: Mapping[str, str]) -> None:
    """Write a file that a shell can source to run commands against this demo; only its owner may read it."""
    lines = [f"export {name}={shlex.quote(env[name])}\n" for name in FOR_COMMANDS if name in env]
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.writelines(lines)


def manage(name: str, env: Mapping[str, str], *options: str) -> Process:
    argv: list[str | Path] = [sys.executable, settings.BASE_DIR / "manage.py", name, *options]
    return Process(name=name, argv=argv, env=env, folder=settings.BASE_DIR)


def refuse_taken_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        raise CommandError(f"Port {port} on {host} cannot be used ({error}). Set another PORT.") from error


def address(host: str) -> str:
    """The host by which this computer reaches the bound address."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host


def is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(address(host).strip("[]"), port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.NO_CONTENT
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
