"""`manage.py draw_secrets` for docker-compose.yml: a folder of files, which the settings read."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config.installation.drawing import FOR_PORTAL, FOR_STORES
from tests.deploy.containers import IMAGE_ENVIRONMENT, ROOT, SERVICES, settings_under

SECRETS = (*FOR_PORTAL, *FOR_STORES)
GIVEN = {name: name.lower().replace("_", "-") + "-" + "x" * 32 for name in SECRETS}


def draw(folder: Path | None, **given: str) -> subprocess.CompletedProcess[str]:
    """Run the service's command with what it is given, and with nothing else."""
    environment = dict.fromkeys(SECRETS, "") | {"PATH": os.environ["PATH"]} | given
    command = [sys.executable, "manage.py", *SERVICES["secrets"]["command"]]
    if folder is not None:
        environment["SECRETS"] = str(folder)
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_the_first_start_draws_and_the_second_keeps(tmp_path: Path) -> None:
    first = draw(tmp_path)
    assert first.returncode == 0, first.stderr
    drawn = contents(tmp_path)
    assert drawn.keys() == {*SECRETS, "DATABASE_URL", "REDIS_URL"}
    assert len({drawn[name] for name in SECRETS}) == 4
    assert not [value for value in drawn.values() if value in first.stdout + first.stderr]
    second = draw(tmp_path)
    assert second.returncode == 0, second.stderr
    assert "All secrets are there already." in second.stdout
    assert contents(tmp_path) == drawn


def test_only_the_portals_user_reads_the_portals_secrets(tmp_path: Path) -> None:
    assert draw(tmp_path).returncode == 0
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert {name for name, mode in modes.items() if mode == 0o444} == set(FOR_STORES)
    assert {mode for name, mode in modes.items() if name not in FOR_STORES} == {0o400}


def test_given_secrets_win_over_the_drawn_ones_and_stay(tmp_path: Path) -> None:
    assert draw(tmp_path).returncode == 0
    pepper = contents(tmp_path)["TOKEN_PEPPER"]
    some = {name: GIVEN[name] for name in ("SECRET_KEY", "REDIS_PASSWORD")}
    assert draw(tmp_path, **some).returncode == 0
    assert contents(tmp_path).items() >= some.items()
    assert contents(tmp_path)["TOKEN_PEPPER"] == pepper
    assert contents(tmp_path)["REDIS_URL"] == f"redis://:{some['REDIS_PASSWORD']}@redis:6379"
    given = contents(tmp_path)
    # The .env is taken away again: the stores still have these passwords.
    assert draw(tmp_path).returncode == 0
    assert contents(tmp_path) == given


def test_what_a_kill_left_is_completed(tmp_path: Path) -> None:
    (tmp_path / "POSTGRES_PASSWORD").write_text("kept")
    (tmp_path / "SECRET_KEY").touch()
    (tmp_path / "REDIS_PASSWORD.new").write_text("half")
    (tmp_path / "lost+found").mkdir()
    assert draw(tmp_path).returncode == 0
    (tmp_path / "lost+found").rmdir()
    drawn = contents(tmp_path)
    assert drawn["POSTGRES_PASSWORD"] == "kept"
    assert ":kept@" in drawn["DATABASE_URL"]
    assert len(drawn["SECRET_KEY"]) == len(drawn["REDIS_PASSWORD"]) == 64
    assert "REDIS_PASSWORD.new" not in drawn


@pytest.mark.parametrize(
    ("name", "value"),
    [("POSTGRES_PASSWORD", "with space"), ("REDIS_PASSWORD", 'quo"te'), ("SECRET_KEY", "short")],
)
def test_a_given_secret_that_cannot_serve_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    refused = draw(tmp_path, **{name: value})
    assert refused.returncode != 0
    assert name in refused.stderr
    assert value not in refused.stderr
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("found", [b"a b/@", b"\xff"])
def test_a_file_that_cannot_serve_is_refused_by_name(tmp_path: Path, found: bytes) -> None:
    (tmp_path / "REDIS_PASSWORD").write_bytes(found)
    refused = draw(tmp_path)
    assert refused.returncode != 0
    assert "REDIS_PASSWORD" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["REDIS_PASSWORD"]


def test_no_folder_is_an_error_in_words(tmp_path: Path) -> None:
    assert "Set SECRETS to the folder" in draw(None).stderr
    assert "No such file or directory" in draw(tmp_path / "missing").stderr


def test_the_settings_take_a_variable_before_the_file(tmp_path: Path) -> None:
    assert draw(tmp_path, **GIVEN).returncode == 0
    (tmp_path / "READINGS_URL").write_text("clickhouse://user:hush@clickhouse:8123/plumbline\n")
    environment = {"SECRETS": str(tmp_path), "ALLOWED_HOSTS": "localhost"}
    settings, _ = settings_under(environment)
    assert not settings["DEMO"]
    assert {name: settings[name] for name in FOR_PORTAL} == {name: GIVEN[name] for name in FOR_PORTAL}
    assert settings["DATABASES"]["default"]["PASSWORD"] == GIVEN["POSTGRES_PASSWORD"]
    assert settings["READINGS_URL"] == "clickhouse://user:hush@clickhouse:8123/plumbline"
    settings, _ = settings_under(environment | {"SECRET_KEY": "v" * 32})
    assert settings["SECRET_KEY"] == "v" * 32
    assert settings["TOKEN_PEPPER"] == GIVEN["TOKEN_PEPPER"]
    assert "SECRETS" not in IMAGE_ENVIRONMENT
