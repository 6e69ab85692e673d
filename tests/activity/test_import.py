"""`manage.py import_activity`: every line once, faults by line number. On the real databases."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from analytics.activity import storage
from analytics.activity.events import importer
from devices.files.record_file import BLOCK_LINES
from devices.timeline.periods import Period
from tests.support import factories
from users.models import User

pytestmark = [pytest.mark.integration, pytest.mark.django_db(databases=["default", "activity"])]
HEAD = "login,event,at,object_id,id"


@pytest.fixture(autouse=True)
def _event_types() -> None:
    factories.event_types()


@pytest.fixture
def write(tmp_path: Path):
    def write(*lines: str, head: str = HEAD, name: str = "events.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join([head, *lines]) + "\n")
        return path

    return write


def imported(path: Path, capsys: pytest.CaptureFixture, **options: bool) -> str:
    call_command("import_activity", path, **options)
    return capsys.readouterr().out.strip()


def refused(path: Path, capsys: pytest.CaptureFixture, **options: bool) -> list[str]:
    with pytest.raises(CommandError):
        call_command("import_activity", path, **options)
    return capsys.readouterr().err.splitlines()


def counts(user: User) -> dict[str, int]:
    return storage.current().counts(user.pk, Period())


def test_the_same_file_twice_is_stored_once(ada, write, capsys, tmp_path):
    post = factories.post(ada)
    lines = [
        "ada,login,2026-11-21T09:31:00Z,,",
        # Equal lines are two events: nothing tells that they are one.
        "ada,login,2026-11-21T09:31:00Z,,",
        f"ada,comment,2026-11-21T10:31:00+01:00,{post.pk},a-1",
        f"ada,create_post,2026-11-21T09:31:00,{post.blog_id},a-2",
    ]
    path = write(*lines)
    said = imported(path, capsys)
    assert said == "Stored: 4 events. Already stored before: 0. Stamps without an offset were read in UTC."
    assert imported(path, capsys).startswith("Stored: 0 events. Already stored before: 4.")
    path.rename(tmp_path / "another name.csv")
    assert imported(tmp_path / "another name.csv", capsys).startswith("Stored: 0 events.")
    assert counts(ada) == {"login": 2, "comment": 1, "create_post": 1}


def test_an_id_is_stored_once_from_whatever_file(ada, write, capsys):
    imported(write("ada,login,2026-11-21T09:31:00Z,,a-1"), capsys)
    other = write("ada,login,2026-11-21T09:31:00Z,,a-1", "ada,logout,2026-11-21T10:31:00Z,,a-2")
    assert imported(other, capsys) == "Stored: 1 events. Already stored before: 1."
    assert counts(ada) == {"login": 1, "logout": 1}


def test_columns_may_stand_in_any_order_and_two_be_left_out(ada, write, capsys):
    imported(write("2026-11-21T09:31:00Z,login,ada", head="at,event,login"), capsys)
    assert counts(ada) == {"login": 1}


@pytest.mark.parametrize("head", ["login,event", "login,event,at,colour", "login,event,at,at", ""])
def test_other_columns_are_refused(write, head):
    with pytest.raises(CommandError, match=r"columns|Columns|first line"):
        call_command("import_activity", write(head=head))


def test_bad_lines_are_named_by_number_and_nothing_is_stored(ada, write, capsys):
    path = write(
        "ada,login,2026-11-21T09:31:00Z,,",
        "nobody,login,2026-11-21T09:31:00Z,,",
        "",
        "ada,comment,2026-11-21T09:31:00Z,x,",
        "ada,comment,2026-11-21T09:31:00Z,,",
        "ada,login,2026-11-21T09:31:00Z",
        "ada,login,soon,,",
    )
    assert refused(path, capsys) == [
        "Line 3: login: There is no such user.",
        "Line 5: object_id: Must be a whole number.",
        "Line 6: object_id: There is no such post.",
        "Line 7: Has 3 columns instead of 5.",
        "Line 8: at: Must be an ISO 8601 date and time, such as 2026-11-21T09:30:00Z.",
    ]
    assert counts(ada) == {}
    refused(path, capsys, partial=True)
    assert counts(ada) == {"login": 1}


def test_a_dry_run_stores_nothing(ada, write, capsys):
    path = write("ada,login,2026-11-21T09:31:00Z,,")
    assert imported(path, capsys, dry_run=True) == "Good: 1 events. Nothing was stored."
    assert counts(ada) == {}


def test_a_large_file_goes_in_blocks_and_on_where_it_stopped(ada, write, capsys):
    lines = [f"ada,login,2026-11-21T09:31:00.{number:06}Z,," for number in range(2 * BLOCK_LINES + 10)]
    path = write(*lines)

    class Stop(Exception):
        pass

    def stop(doing: str, done: int, size: int) -> None:
        if doing == "Storing":
            raise Stop

    with pytest.raises(Stop):
        importer.import_events(path, report=stop)
    assert counts(ada) == {"login": BLOCK_LINES}
    said = imported(path, capsys)
    assert said == f"Stored: {BLOCK_LINES + 10:,} events. Already stored before: {BLOCK_LINES:,}."
    assert counts(ada) == {"login": len(lines)}


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CommandError, match="No such file"):
        call_command("import_activity", tmp_path / "nothing.csv")
