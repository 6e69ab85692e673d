"""`manage.py draw_secrets` for docker-compose.yml: a folder of files, which the settings read."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config.installation.drawing import FOR_PORTAL, FOR_POSTGRES, FOR_STORES
from config.installation.folder import OWNER, POSTGRES, REDIS
from tests.deploy.containers import IMAGE_ENVIRONMENT, ROOT, SERVICES, make_folders, settings_under

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The portal's folder; the others are beside it."""
    return make_folders(tmp_path)


def contents(folder: Path, *ends: str) -> dict[str, str]:
    """What the portal's folder has, or those beside it; of all if none is named."""
    folders = [folder.with_name(folder.name + end) for end in ends or (OWNER, "", POSTGRES, REDIS)]
    return {path.name: path.read_text() for each in folders for path in each.iterdir()}


def test_the_first_start_draws_and_the_second_keeps(folder: Path) -> None:
    first = draw(folder)
    assert first.returncode == 0, first.stderr
    drawn = contents(folder)
    assert drawn.keys() == {*SECRETS, "DATABASE_URL", "REDIS_URL"}
    assert len({drawn[name] for name in SECRETS}) == 6
    assert not [value for value in drawn.values() if value in first.stdout + first.stderr]
    second = draw(folder)
    assert second.returncode == 0, second.stderr
    assert "All secrets are there already." in second.stdout
    assert contents(folder) == drawn


def test_only_the_portals_user_reads_the_portals_secrets(folder: Path) -> None:
    assert draw(folder).returncode == 0
    assert contents(folder, "").keys() == {*FOR_PORTAL, "DATABASE_URL", "REDIS_URL"}
    files = [path for each in folder.parent.iterdir() for path in each.iterdir()]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files}
    assert {name for name, mode in modes.items() if mode == 0o444} == set(FOR_STORES)
    assert {mode for name, mode in modes.items() if name not in FOR_STORES} == {0o400}


def test_given_secrets_win_over_the_drawn_ones_and_stay(folder: Path) -> None:
    assert draw(folder).returncode == 0
    pepper = contents(folder)["TOKEN_PEPPER"]
    some = {name: GIVEN[name] for name in ("SECRET_KEY", "REDIS_PASSWORD")}
    assert draw(folder, **some).returncode == 0
    assert contents(folder).items() >= some.items()
    assert contents(folder)["TOKEN_PEPPER"] == pepper
    assert contents(folder)["REDIS_URL"] == f"redis://:{some['REDIS_PASSWORD']}@redis:6379"
    given = contents(folder)
    # The .env is taken away again: the stores still have these passwords.
    assert draw(folder).returncode == 0
    assert contents(folder) == given


def test_what_is_not_drawn_is_there_while_it_is_given(folder: Path) -> None:
    given = {"EMAIL_URL": "smtp://ada:secret@mail:25", "SECRET_KEY_FALLBACKS": "f" * 32}
    assert draw(folder, **given).returncode == 0
    found, _ = settings_under({"SECRETS": str(folder), "ALLOWED_HOSTS": "localhost"})
    assert (found["EMAIL_HOST_PASSWORD"], found["SECRET_KEY_FALLBACKS"]) == ("secret", ["f" * 32])
    done = draw(folder)
    assert done.stdout.strip() == "Changed: SECRET_KEY_FALLBACKS, EMAIL_URL."
    assert not given.keys() & contents(folder).keys()


def test_what_a_kill_left_is_completed(folder: Path) -> None:
    (folder.with_name(folder.name + POSTGRES) / "RUNTIME_PASSWORD").write_text("kept")
    (folder / "SECRET_KEY").touch()
    (folder.with_name(folder.name + REDIS) / "REDIS_PASSWORD.new").write_text("half")
    (folder / "lost+found").mkdir()
    assert draw(folder).returncode == 0
    (folder / "lost+found").rmdir()
    drawn = contents(folder)
    assert drawn["RUNTIME_PASSWORD"] == "kept"
    assert drawn["DATABASE_URL"] == "postgresql://plumbline_runtime:kept@postgres:5432/plumbline"
    assert len(drawn["SECRET_KEY"]) == len(drawn["REDIS_PASSWORD"]) == 64
    assert "REDIS_PASSWORD.new" not in drawn


def test_each_program_finds_what_it_needs_and_no_more(folder: Path) -> None:
    assert draw(folder).returncode == 0
    assert contents(folder, POSTGRES).keys() == set(FOR_POSTGRES)
    assert contents(folder, REDIS).keys() == {"REDIS_PASSWORD"}
    [(name, url)] = contents(folder, OWNER).items()
    assert name == "DATABASE_URL"
    assert url.startswith("postgresql://plumbline_owner:")


def test_the_passwords_of_an_older_installation_move_to_those_who_need_them(folder: Path) -> None:
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        (folder / name).write_text(GIVEN[name])
    (folder / "TOKEN_PEPPER").write_text(GIVEN["TOKEN_PEPPER"])
    assert draw(folder).returncode == 0
    portal = contents(folder, "")
    assert portal["TOKEN_PEPPER"] == GIVEN["TOKEN_PEPPER"]
    assert "POSTGRES_PASSWORD" not in portal
    assert contents(folder, POSTGRES)["POSTGRES_PASSWORD"] == GIVEN["POSTGRES_PASSWORD"]
    assert contents(folder, REDIS)["REDIS_PASSWORD"] == GIVEN["REDIS_PASSWORD"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("POSTGRES_PASSWORD", "with space"), ("REDIS_PASSWORD", 'quo"te'), ("SECRET_KEY", "short")],
)
def test_a_given_secret_that_cannot_serve_is_refused_by_name(folder: Path, name: str, value: str) -> None:
    refused = draw(folder, **{name: value})
    assert refused.returncode != 0
    assert name in refused.stderr
    assert value not in refused.stderr
    assert contents(folder) == {}


@pytest.mark.parametrize("found", [b"a b/@", b"\xff"])
def test_a_file_that_cannot_serve_is_refused_by_name(folder: Path, found: bytes) -> None:
    (folder.with_name(folder.name + REDIS) / "REDIS_PASSWORD").write_bytes(found)
    refused = draw(folder)
    assert refused.returncode != 0
    assert "REDIS_PASSWORD" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert list(folder.iterdir()) == []


def test_no_folder_is_an_error_in_words(folder: Path) -> None:
    assert "Set SECRETS to the folder" in draw(None).stderr
    assert "No such file or directory" in draw(folder / "missing").stderr


def test_the_settings_take_a_variable_before_the_file(folder: Path) -> None:
    assert draw(folder, **GIVEN).returncode == 0
    (folder / "READINGS_URL").write_text("clickhouse://user:hush@clickhouse:8123/plumbline\n")
    environment = {"SECRETS": str(folder), "ALLOWED_HOSTS": "localhost"}
    settings, _ = settings_under(environment)
    assert not settings["DEMO"]
    assert {name: settings[name] for name in FOR_PORTAL} == {name: GIVEN[name] for name in FOR_PORTAL}
    assert settings["DATABASES"]["default"]["PASSWORD"] == GIVEN["RUNTIME_PASSWORD"]
    assert settings["READINGS_URL"] == "clickhouse://user:hush@clickhouse:8123/plumbline"
    settings, _ = settings_under(environment | {"SECRET_KEY": "v" * 32})
    assert settings["SECRET_KEY"] == "v" * 32
    assert settings["TOKEN_PEPPER"] == GIVEN["TOKEN_PEPPER"]
    assert "SECRETS" not in IMAGE_ENVIRONMENT
    # The first of several folders counts.
    folders = f"{folder.with_name(folder.name + OWNER)}:{folder}"
    settings, _ = settings_under(environment | {"SECRETS": folders})
    assert settings["DATABASES"]["default"]["USER"] == "plumbline_owner"
    assert settings["SECRET_KEY"] == GIVEN["SECRET_KEY"]
