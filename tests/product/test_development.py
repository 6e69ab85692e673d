"""`make dev`: what it reads from .env, its restarts when files change, and its end."""

import os
import re
import signal
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.demo import development
from config.environment import assignments
from config.supervisor import GaveUp, Supervisor
from tests.product.test_processes import shell
from tests.product.tree import copy_sources, link_environment, made, running
from tests.support.portal import free_port

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("PORT=8081", {"PORT": "8081"}),
        ("  PORT = 8081  ", {"PORT": "8081"}),
        ("export PORT=8081", {"PORT": "8081"}),
        ("URL=redis://:a=b@host:1/2?c#d", {"URL": "redis://:a=b@host:1/2?c#d"}),
        ("ZONE=UTC # the portal's", {"ZONE": "UTC"}),
        ('NAME="two words # and this"', {"NAME": "two words # and this"}),
        ("NAME='two words' # three", {"NAME": "two words"}),
        ("NAME=$HOME", {"NAME": "$HOME"}),
        ("EMPTY=", {}),
        ('EMPTY=""', {}),
        ("# NAME=value", {}),
        ("", {}),
    ],
)
def test_line_of_an_env_file(line: str, found: dict[str, str]) -> None:
    assert assignments(f"FIRST=1\n{line}\nLAST=2\n") == {"FIRST": "1", **found, "LAST": "2"}


@pytest.mark.parametrize("line", ["hush", "=hush", "two words=hush", "MY-NAME=hush"])
def test_other_line_of_an_env_file_is_refused_by_its_number_alone(line: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^\.env: line 2 is not of the form NAME=value\.$"):
        assignments(f"FIRST=1\n{line}\n")


def test_environment_wins_over_the_file_and_the_file_over_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PORT=1111\nTIME_ZONE=Asia/Tokyo\nWEB_PROCESSES=3\nSECRET_KEY=\n")
    # The lines below restore what `prepare` sets.
    for name in ("TIME_ZONE", "WEB_PROCESSES", "DATA"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("PORT", "2222")
    before = os.environ["SECRET_KEY"]
    development.prepare(tmp_path)
    found = [os.environ[name] for name in ("PORT", "TIME_ZONE", "WEB_PROCESSES", "DATA", "SECRET_KEY")]
    assert found == ["2222", "Asia/Tokyo", "3", str(tmp_path / ".dev"), before]


def test_restart_starts_all_but_servers_even_those_given_up(tmp_path: Path) -> None:
    fixed = tmp_path / "fixed"
    with Supervisor(tmp_path, deaths_allowed=1) as supervisor:
        for name, script, serves in (
            ("server", "exec sleep 60", True),
            ("whole", "exec sleep 60", False),
            ("broken", f"test -e {fixed} && exec sleep 60", False),
        ):
            supervisor.add(shell(name, script, serves_others=serves))
        with pytest.raises(GaveUp, match="broken"):
            supervisor.run()
        server, whole, broken = supervisor.children
        first = server.process, whole.process
        supervisor.tend()
        assert broken.process is None
        fixed.touch()
        supervisor.restart()
        supervisor.tend()
        assert server.process is first[0]
        assert whole.process not in (None, first[1])
        assert broken.process.poll() is None


@pytest.fixture
def copy(open_folder: Path) -> Path:
    """A copy of the sources, ready for make; its .env is the example with one line changed."""
    copy_sources(open_folder)
    link_environment(open_folder)
    return open_folder


def write_env(copy: Path, name: str, value: object) -> None:
    example = (copy / ".env.example").read_text()
    text, count = re.subn(f"^#{name}=.*", f"{name}={value}", example, flags=re.MULTILINE)
    assert count == 1
    (copy / ".env").write_text(text)


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_make_dev_takes_over_changed_files_and_ends_with_ctrl_c(copy: Path, left_behind) -> None:
    port = free_port()
    write_env(copy, "PORT", port)
    with running(copy, port, "dev") as server:
        server.says("Log in as admin with the password")
        server.says(f"Data: {copy}/.dev,")
        change(copy / "config/openapi/settings.py", '"TITLE": "Plumbline"', '"TITLE": "Changed"')
        change(copy / "templates/_demo_banner.html", "<strong>Demo.", "<strong>Rehearsal.")
        server.answers("/schema/", '"title": "Changed"')
        server.answers("/portal/devices/", "<strong>Rehearsal.")
        # Broken code waits for its author, and a fault in a request shows in the terminal.
        change(copy / "config/health.py", "import logging", "import broken")
        server.says("No module named 'broken'")
        change(copy / "config/health.py", "import broken", "import logging")
        list_page = copy / "templates/devices/device_list.html"
        change(list_page, "{% block main %}", "{% block main %}{% url 'gone' %}")
        server.answers("/portal/devices/", "Something went wrong")
        server.says("Reverse for 'gone' not found")
        server.end(signal.SIGINT)
        assert left_behind() == []
        server.says("\nStopped.\n")


def test_development_server_is_for_this_computer_only(copy: Path) -> None:
    write_env(copy, "HOST", "0.0.0.0")  # noqa: S104
    code, output = made(copy, "dev", log=copy / "make.log")
    assert code != 0
    assert "listens on this computer only: HOST is 0.0.0.0" in output
    assert not (copy / ".dev").exists()
