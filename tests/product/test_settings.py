"""Settings come from the environment: docs/operations.md lists all, and nonsense is refused by name."""

import ast
import os
import re
import runpy
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

# In processes of their own: among the first, as they take long.
pytestmark = pytest.mark.e2e

COMPLETE = {
    "SECRET_KEY": "s" * 32,
    "TOKEN_PEPPER": "p" * 32,
    "DATABASE_URL": "postgresql://someone:password@localhost/plumbline",
    "REDIS_URL": "redis://localhost",
    "ALLOWED_HOSTS": "plumbline.example",
}


def tree(module: str) -> ast.Module:
    return ast.parse((settings.BASE_DIR / "config" / f"{module}.py").read_text())


def read_by_settings() -> set[str]:
    """First arguments of `os.environ.get` and of the readers in config/environment.py."""
    functions = [node for node in tree("environment").body if isinstance(node, ast.FunctionDef)]
    readers = {node.name for node in functions if node.args.args[0].arg == "name"}
    modules = (tree("settings"), tree("accounts/settings"), tree("limits/settings"))
    nodes = (node for module in modules for node in ast.walk(module))
    calls = [node for node in nodes if isinstance(node, ast.Call) and node.args]
    return {
        call.args[0].value
        for call in calls
        if isinstance(call.args[0], ast.Constant)
        and (ast.unparse(call.func) in readers or ast.unparse(call.func).startswith("os.environ"))
    }


def documented() -> set[str]:
    """Variables in the first column of the tables in docs/operations.md."""
    page = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    cells = re.findall(r"^\| *(`[A-Z_]+`(?:, `[A-Z_]+`)*) *\|", page, re.MULTILINE)
    return set(re.findall("[A-Z_]+", " ".join(cells)))


def check(**variables: str | None) -> subprocess.CompletedProcess[str]:
    """Run `manage.py check` with these variables only; None leaves out a required one."""
    env = {name: value for name, value in (COMPLETE | variables).items() if value is not None}
    command = [sys.executable, settings.BASE_DIR / "manage.py", "check"]
    # PATH lets Python find itself; nothing else of a developer's environment gets in.
    return subprocess.run(
        command, env=env | {"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )


def test_the_readers_of_this_test_find_the_settings():
    assert {"PLUMBLINE_DEMO", "SECRET_KEY", "DATABASE_URL", "HTTPS", "HOST", "PORT"} <= read_by_settings()


def test_docs_list_every_setting_and_no_other():
    assert documented() == read_by_settings()


def test_required_settings_are_enough_to_start():
    done = check()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMPLETE)
def test_missing_required_setting_is_refused_by_name(name):
    for value in (None, ""):
        refused(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "s" * 31),
        ("TOKEN_PEPPER", "p" * 31),
        ("ALLOWED_HOSTS", ","),
        ("PLUMBLINE_DEMO", "yes"),
        ("HTTPS", "true"),
        ("HTTPS", ""),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "8_080"),
        ("PORT", "٨٠٨٠"),
        ("WEB_PROCESSES", "0"),
        ("WORKER_PROCESSES", "-1"),
        ("WORKER_PROCESSES", "two"),
        ("DEVICE_ONLINE_SECONDS", "1.5"),
        ("DEVICE_ONLINE_SECONDS", "9" * 20),
        ("RESULT_DAYS", "-1"),
        ("IMPORT_MEBIBYTES", "0"),
        ("IMPORT_DAYS", "0"),
        ("WRITE_SECONDS", "0"),
        ("BODY_SECONDS", "0"),
        # Two processes must be able to hold two of the largest bodies each.
        ("BODIES_MEBIBYTES", "19"),
        ("IDEMPOTENCY_KEYS", "0"),
        ("RETENTION_DAYS", ""),
        ("RETENTION_DAYS", "9" * 5000),
        ("LOG_LEVEL", "LOUD"),
        ("TIME_ZONE", "Berlin"),
        ("TIME_ZONE", "../UTC"),
        ("TIME_ZONE", "Europe"),
        ("TIME_ZONE", ""),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "mysql://localhost/plumbline"),
        ("DATABASE_URL", "postgresql://localhost"),
        ("DATABASE_URL", "postgresql://localhost:many/plumbline"),
        ("ACTIVITY_URL", "nonsense"),
        ("ACTIVITY_URL", "mysql://localhost/activity"),
        ("ACTIVITY_URL", "postgresql://localhost"),
        ("ACTIVITY_URL", "clickhouse://localhost"),
        ("ACTIVITY_URL", "clickhouse:///activity"),
        ("ACTIVITY_URL", "clickhouse://localhost:many/activity"),
        ("READINGS_URL", "nonsense"),
        ("READINGS_URL", "postgresql://localhost/readings"),
        ("READINGS_URL", "clickhouse://localhost"),
        ("READINGS_URL", "clickhouse://localhost:many/readings"),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "amqp://localhost"),
        ("TRUSTED_PROXIES", "-1"),
        # Twice as many requests must leave threads to others.
        ("PASSWORD_HASHES", "3"),
        ("TRUSTED_PROXIES", "all"),
        ("STAFF_NEED_SECOND_FACTOR", "yes"),
        ("EMAIL_URL", "localhost"),
        ("EMAIL_URL", "smtp://"),
        ("EMAIL_URL", "smtp://localhost:many"),
        ("EMAIL_URL", "smtp://localhost?tls=maybe"),
        ("EMAIL_URL", "file://folder"),
        ("OIDC_ISSUER", "login.example.com"),
        ("OIDC_ISSUER", "http://login.example.com"),
        ("OIDC_ISSUER", "https://"),
        ("OIDC_ISSUER", "https://login.example.com"),  # without OIDC_CLIENT_ID
    ],
)
def test_nonsense_is_refused_by_name(name, value):
    refused(name, value)


LIMITS = str(settings.BASE_DIR / "config" / "limits" / "settings.py")


def test_nonsense_in_a_limit_is_refused_by_name(monkeypatch):
    monkeypatch.delenv("PAUSE_SECONDS")
    monkeypatch.delenv("DEVICES_PER_OWNER")
    names = [name for name in runpy.run_path(LIMITS) if name.isupper() and name != "MOST"]
    assert len(names) > 10
    for name in names:
        for value in ("-1", "many", "", "1.5", "9" * 20):
            monkeypatch.setenv(name, value)
            with pytest.raises(ImproperlyConfigured, match=name):
                runpy.run_path(LIMITS)
        monkeypatch.delenv(name)


def test_runs_can_be_slowed_down_in_the_demo_alone(monkeypatch):
    monkeypatch.delenv("PAUSE_SECONDS")
    assert runpy.run_path(LIMITS)["PAUSE_SECONDS"] == 0
    monkeypatch.setenv("PLUMBLINE_DEMO", "1")
    assert runpy.run_path(LIMITS)["PAUSE_SECONDS"] == 1800


def test_refused_activity_url_names_both_kinds_of_database():
    said = check(ACTIVITY_URL="mysql://localhost/activity").stderr.splitlines()[-1]
    assert "postgresql://" in said
    assert "clickhouse://" in said


def refused(name: str, value: str | None) -> None:
    done = check(**{name: value})
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: ")
    assert name in last


@pytest.mark.parametrize("name", ["DATABASE_URL", "ACTIVITY_URL", "READINGS_URL", "EMAIL_URL"])
def test_a_password_is_not_shown(name):
    done = check(**{name: "postgresql://someone:hush@localhost:many/plumbline"})
    assert "hush" not in done.stdout + done.stderr


def test_activity_database_has_a_default_name_on_the_portals_server():
    ask = "from django.conf import settings; print(settings.DATABASES.get('activity', {}).get('NAME'))"
    for url, name in (
        ("", "plumbline_activity"),
        ("postgresql://elsewhere/logs", "logs"),
        ("clickhouse://elsewhere:8123/logs", "None"),
    ):
        env = COMPLETE | {"ACTIVITY_URL": url, "PATH": os.environ["PATH"]}
        env["DJANGO_SETTINGS_MODULE"] = "config.settings"
        done = subprocess.run(
            [sys.executable, "-c", ask],
            env=env,
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == name


@pytest.mark.parametrize(
    ("url", "values"),
    [
        ("", ("dummy", "", 0, "", False, False)),
        ("smtp://a%40b:p%2Fw@mail.example", ("smtp", "mail.example", 587, "p/w", True, False)),
        ("smtp://mail.example:25?tls=0", ("smtp", "mail.example", 25, "", False, False)),
        ("smtps://mail.example", ("smtp", "mail.example", 465, "", False, True)),
        ("console://", ("console", "", 0, "", False, False)),
        ("file:///var/mail", ("filebased", "", 0, "", False, False)),
    ],
)
def test_mail_is_sent_as_its_url_says(url, values):
    names = ("BACKEND", "HOST", "PORT", "HOST_PASSWORD", "USE_TLS", "USE_SSL")
    ask = f"from django.conf import settings; print([getattr(settings, 'EMAIL_' + n) for n in {names}])"
    env = COMPLETE | {
        "EMAIL_URL": url,
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    command = [sys.executable, "-c", ask]
    done = subprocess.run(command, env=env, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)
    backend = f"django.core.mail.backends.{values[0]}.EmailBackend"
    assert ast.literal_eval(done.stdout) == [backend, *values[1:]]


def test_openid_is_named_by_its_issuer():
    ask = "from django.conf import settings; print(settings.OIDC_PROVIDER, settings.OIDC_CLIENT_SECRET)"
    env = COMPLETE | {
        "OIDC_ISSUER": "https://Login.example.com/realms/one/",
        "OIDC_CLIENT_ID": "plumbline",
        "OIDC_CLIENT_SECRET": "hush",
    }
    env |= {"PATH": os.environ["PATH"], "DJANGO_SETTINGS_MODULE": "config.settings"}
    command = [sys.executable, "-c", ask]
    done = subprocess.run(command, env=env, cwd=settings.BASE_DIR, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["login-example-com-realms-one", "hush"]


def test_demo_mode_needs_nothing():
    done = check(**dict.fromkeys(COMPLETE), PLUMBLINE_DEMO="1")
    assert done.returncode == 0, done.stderr
