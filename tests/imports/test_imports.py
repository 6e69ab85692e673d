"""What an import stores, what it leaves out, and what its undo takes back."""

import csv
import io
from datetime import timedelta

import pytest
from django.utils import timezone

from devices import statistics
from devices.imports import faulty_rows, runs, tasks, work
from devices.imports.models import ImportBlock, Job, Upload, UploadStatus
from devices.ingestion import stored as told
from devices.models import Device
from devices.timeline.periods import Period
from tests.imports.uploads import HEADER, counts, imported, start, undone, upload, values, worked
from tests.support import factories
from tests.support.factories import NOON, colleague, device, exclusion, profile

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


def rows(*numbers, header=HEADER):
    return "\n".join([header, *(f"{(NOON + n * SECOND).isoformat()},{n},0,0" for n in numbers)]) + "\n"


def figures(pump):
    found = statistics.of_devices([Device.objects.with_channels().get(pk=pump.pk)], Period())[1][pump.pk]
    return found.readings, found.channels["x", ""].sum


class TestStoring:
    def test_the_same_file_twice_stores_nothing_twice(self):
        pump = device()
        assert counts(imported(rows(1, 2, 3), device=pump)) == ("finished", 3, 0, 0)
        assert counts(imported(rows(1, 2, 3), device=pump)) == ("finished", 0, 3, 0)
        assert counts(imported(rows(1, 2, 3, 4), device=pump)) == ("finished", 1, 3, 0)
        assert values(pump) == [[n, 0, 0] for n in (1, 2, 3, 4)]

    def test_equal_rows_of_a_file_are_stored_once_or_each_as_it_is_said(self):
        pump = device()
        assert counts(imported(rows(1, 1, 2), device=pump)) == ("finished", 2, 1, 0)
        assert counts(imported(rows(1, 1, 2), device=pump, repeats="store")) == ("finished", 3, 0, 0)
        assert len(values(pump)) == 5

    def test_another_value_at_the_same_time_is_another_reading(self):
        pump = device()
        imported(rows(1), device=pump)
        assert counts(imported(rows(1).replace(",1,0,0", ",1,0,5"), device=pump))[1:] == (1, 0, 0)

    def test_devices_by_name_external_id_and_id(self):
        by_id, by_external, by_name = (
            device(name="a"),
            device(name="b", external_id="e-7"),
            device(name="Pump 3"),
        )
        device(name="twin"), device(name="twin"), device(name="off", is_active=False)
        names = (by_id.uuid, "e-7", "Pump 3", "twin", "off", "nobody", "", str(by_id.uuid).upper())
        lines = [f"{(NOON + n * SECOND).isoformat()},{name},{n},0,0" for n, name in enumerate(names)]
        done = imported("\n".join(["time,device,x,y,z", *lines]))
        assert counts(done) == ("finished", 4, 0, 4)
        assert [len(values(each)) for each in (by_id, by_external, by_name)] == [2, 1, 1]
        reasons = [row.in_words for row in faulty_rows.faulty_rows(done)]
        assert [reason.split(":")[0] for reason in reasons] == ["device"] * 4
        assert "Several devices" in reasons[0]
        assert "inactive" in reasons[1]

    def test_devices_of_two_profiles_each_with_its_channels(self):
        pump, meter = device(name="pump"), device(name="meter", profile=profile("scalar", ["value"]))
        lines = [
            "time,device,x,y,z,value",
            f"{NOON.isoformat()},pump,1,2,3,",
            f"{NOON.isoformat()},meter,,,,7",
        ]
        assert counts(imported("\n".join(lines))) == ("finished", 2, 0, 0)
        assert (values(pump), values(meter)) == ([[1, 2, 3]], [[7]])

    def test_faulty_cells_are_named_by_row_column_and_reason(self):
        kind = profile("limited", ["t"])
        kind.channels.update(minimum=-10, maximum=50)
        pump = device(profile=kind)
        lines = [
            "time,t",
            "2026-01-01,20",
            "2026-01-02,",
            "x,21",
            "2026-01-03,51",
            "2999-01-01,1",
            "2026-01-04,1,2",
            "2026-01-05,20",
        ]
        done = imported("\n".join(lines), device=pump)
        assert counts(done) == ("finished", 2, 0, 5)
        found = [
            (row.line, [cell.text for cell in row.shown if cell.reason], row.in_words)
            for row in faulty_rows.faulty_rows(done)
        ]
        assert [row[:2] for row in found] == [
            (3, [""]),
            (4, ["x"]),
            (5, ["51"]),
            (6, ["2999-01-01"]),
            (7, []),
        ]
        for (_, _, words), part in zip(
            found,
            (
                "t: Is empty",
                "time: Is not a date",
                "t: Must be at most 50",
                "in the future",
                "3 cells instead of 2",
            ),
            strict=True,
        ):
            assert part in words

    def test_faulty_rows_come_as_a_file_that_is_corrected_and_imported(self):
        pump = device()
        done = imported(f"time;x;y;z;note\n{NOON.isoformat()};1,5;?;3;=1+1\n", device=pump)
        text = "".join(faulty_rows.as_file(done))
        assert text.startswith("\ufefftime;x;y;z;note;Reason\r\n")
        [row] = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), delimiter=";")
        assert (row["y"], row["note"]) == ("?", "'=1+1")
        assert row["Reason"].startswith("y: Is not a number")
        assert counts(imported(text.replace(";?;", ";2,5;"), device=pump)) == ("finished", 1, 0, 0)
        assert values(pump) == [[1.5, 2.5, 3]]

    def test_who_may_not_import_any_more_stores_nothing(self):
        pump, person = device(), colleague()
        made = upload(rows(1), device=pump, by=person)
        start(made)
        person.is_active = False
        person.save()
        assert worked(made).status == "failed"
        assert not values(pump)

    def test_an_inactive_device_stores_nothing(self):
        pump = device()
        made = upload(rows(1), device=pump)
        start(made)
        Device.objects.filter(pk=pump.pk).update(is_active=False)
        assert "inactive" in worked(made).error
        assert not values(pump)

    def test_listeners_are_told(self, monkeypatch, django_capture_on_commit_callbacks):
        seen = []
        monkeypatch.setattr(told, "LISTENERS", [lambda rows: seen.extend(len(part.times) for part in rows)])
        with django_capture_on_commit_callbacks(execute=True):
            made = upload(rows(1, 2), device=device())
            Upload.objects.filter(pk=made.pk).update(status="queued", queued_at=timezone.now())
            worked(made)
        assert seen == [2]


class TestUndo:
    def test_it_takes_back_what_was_stored_and_nothing_else(self):
        pump, other = device(), device()
        factories.readings(pump, [[1, 0, 0], [9, 9, 9]], start=NOON + SECOND)
        done = imported(rows(1, 2, 3), device=pump)
        assert counts(done) == ("finished", 2, 1, 0)
        # Meanwhile: an equal one, one at the same time, a later one, and one of another device.
        factories.append([(pump.pk, NOON + 3 * SECOND, [3, 0, 0]), (pump.pk, NOON + 3 * SECOND, [3, 0, 1])])
        factories.append([(pump.pk, NOON + 9 * SECOND, [5, 0, 0]), (other.pk, NOON + 3 * SECOND, [3, 0, 0])])
        done = undone(done)
        assert (done.status, done.job, done.undone, done.label) == ("finished", "undo", 2, "Undone")
        assert sorted(values(pump)) == [[1, 0, 0], [3, 0, 0], [3, 0, 1], [5, 0, 0], [9, 9, 9]]
        assert values(other) == [[3, 0, 0]]

    def test_statistics_follow_and_exclusions_stay(self):
        pump = device()
        factories.readings(pump, [[100, 0, 0]], start=NOON + 5 * SECOND)
        before = figures(pump)
        done = imported(rows(1, 2, 3), device=pump)
        assert figures(pump) == (4, 106)
        rule = exclusion(pump, NOON + 2 * SECOND, NOON + 3 * SECOND)
        assert figures(pump) == (3, 104)
        undone(done)
        assert figures(pump) == before == (1, 100)
        rule.refresh_from_db()
        assert rule.is_in_force

    def test_equal_rows_that_were_stored_each_are_taken_back_each(self):
        pump = device()
        imported(rows(1), device=pump)
        done = imported(rows(1, 1), device=pump, repeats="store")
        assert len(values(pump)) == 3
        assert undone(done).undone == 2
        assert values(pump) == [[1, 0, 0]]

    def test_each_storage_takes_back_the_same(self, kept):
        pump = device()
        factories.append([(pump.pk, NOON + SECOND, [1, 0, 0])])
        done = imported(rows(1, 2, 3, 3), device=pump)
        assert counts(done) == ("finished", 2, 2, 0)
        factories.append([(pump.pk, NOON + 3 * SECOND, [3, 0, 0]), (pump.pk, NOON + 4 * SECOND, [4, 0, 0])])
        exclusion(pump, NOON + 2 * SECOND, NOON + 4 * SECOND)
        assert figures(pump) == (2, 5)
        assert undone(done).undone == 2
        assert sorted(values(pump)) == [[1, 0, 0], [3, 0, 0], [4, 0, 0]]
        assert figures(pump) == (2, 5)

    def test_after_it_the_file_can_be_imported_again(self):
        pump = device()
        undone(imported(rows(1, 2), device=pump))
        assert counts(imported(rows(1, 2), device=pump)) == ("finished", 2, 0, 0)

    def test_it_is_done_once(self):
        done = undone(imported(rows(1), device=device()))
        assert not done.may_be_undone
        assert not done.may_go_on

    def test_what_others_deleted_meanwhile_is_no_fault(self):
        pump = device()
        done = imported(rows(1, 2), device=pump)
        pump.clear()
        factories.readings(pump, [[7, 7, 7]])
        assert undone(done).status == "finished"
        assert values(pump) == [[7, 7, 7]]


class TestInterrupted:
    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch):
        monkeypatch.setattr(work, "BLOCK_ROWS", 2)
        monkeypatch.setattr(tasks, "TURN_SECONDS", 0)

    def test_turns_share_the_worker(self):
        pump, fan = device(), device()
        first, second = upload(rows(*range(6)), device=pump), upload(rows(*range(6)), device=fan)
        for made in (first, second):
            start(made)
        for _ in range(2):
            tasks.work_on_uploads()
        assert (len(values(pump)), len(values(fan))) == (2, 2)
        assert [worked(made).status for made in (first, second)] == ["finished"] * 2
        assert len(values(pump)) == len(values(fan)) == 6

    def test_a_stopped_import_goes_on_or_is_undone(self):
        pump = device()
        made = upload(rows(*range(6)), device=pump)
        start(made)
        tasks.work_on_uploads()
        assert runs.stop(made)
        assert counts(worked(made)) == ("stopped", 2, 0, 0)
        assert runs.enqueue(made, Job.IMPORT, tasks.work_on_uploads, after=(UploadStatus.STOPPED,))
        assert counts(worked(made)) == ("finished", 6, 0, 0)
        assert undone(made).undone == 6
        assert not values(pump)

    def test_a_turn_that_was_lost_stores_nothing(self):
        pump = device()
        made = upload(rows(1, 2), device=pump)
        start(made)
        turn = runs.claim()
        runs.stop(turn)
        tasks.take_turn(turn)
        assert (counts(worked(made)), values(pump)) == (("stopped", 0, 0, 0), [])

    def test_a_planned_block_stores_what_was_planned(self):
        """As after a death between the plan and the storing, with equal readings posted meanwhile."""
        pump = device()
        made = upload(rows(1, 2), device=pump)
        start(made)
        turn = runs.claim()
        work.split(turn)
        work.plan(turn, turn.blocks.get(), work.checker_of(turn))
        factories.append([(pump.pk, NOON + SECOND, [1, 0, 0])])
        runs.end_turn(turn, UploadStatus.QUEUED)
        assert counts(worked(made)) == ("finished", 2, 0, 0)
        undone(made)
        assert values(pump) == [[1, 0, 0]]

    def test_a_block_that_reached_the_storage_without_its_mark_is_stored_once(self, kept, monkeypatch):
        """As after a death between ClickHouse's insert and PostgreSQL's commit."""
        pump = device()
        made = upload(rows(1, 2), device=pump)
        start(made)

        def die(*_: object) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(told, "call_after_commit", die)
            with pytest.raises(RuntimeError, match="killed"):
                tasks.work_on_uploads()
        assert runs.enqueue(made, Job.IMPORT, tasks.work_on_uploads, after=(UploadStatus.FAILED,))
        assert counts(worked(made)) == ("finished", 2, 0, 0)
        assert len(values(pump)) == 2
        undone(made)
        assert not values(pump)

    def test_a_dead_worker_is_noticed_and_after_three_deaths_without_progress_it_fails(self):
        made = upload(rows(1), device=device())
        start(made)
        for deaths in (1, 2, 3):
            turn = runs.claim()
            later = timezone.now() + timedelta(minutes=2)
            runs.reconcile(tasks.work_on_uploads, later)
            made.refresh_from_db()
            assert (made.status, made.deaths) == (("queued", deaths) if deaths < 3 else ("failed", 2))
        assert "died 3 times" in made.error
        assert not runs.end_turn(turn, UploadStatus.FINISHED)
        assert runs.enqueue(made, Job.IMPORT, tasks.work_on_uploads, after=(UploadStatus.FAILED,))
        assert worked(made).status == "finished"

    def test_splitting_that_was_cut_short_begins_anew(self):
        pump = device()
        made = upload(rows(*range(5)), device=pump)
        ImportBlock.objects.create(upload=made, number=0, rows=2, cells=b"cut")
        start(made)
        assert counts(worked(made)) == ("finished", 5, 0, 0)
        assert not made.parts.exists()


def test_old_uploads_are_forgotten_and_their_counts_stay(settings):
    kept, old, draft = imported(rows(1), device=device()), imported(rows(2), device=device()), upload(rows(3))
    Upload.objects.filter(pk=old.pk).update(
        finished_at=timezone.now() - timedelta(days=settings.IMPORT_DAYS, minutes=1)
    )
    Upload.objects.filter(pk=draft.pk).update(at=timezone.now() - timedelta(days=1, minutes=1))
    assert tasks.forget_uploads() == 2
    old.refresh_from_db()
    assert (old.stored, old.is_forgotten, old.may_be_undone) == (1, True, False)
    assert list(ImportBlock.objects.values_list("upload", flat=True)) == [kept.pk]
    assert not Upload.objects.filter(pk=draft.pk).exists()
