"""Each line is stored once, however often and by however many its file is imported."""

import pytest
from django.utils import timezone

from devices.files import importer
from devices.files.formats import CannotImport
from devices.files.importer import ImportJob
from devices.models import Import
from tests.files.command import Run, stamp, stored, values
from tests.support.factories import device, owner

pytestmark = pytest.mark.django_db


class TestOnce:
    def lines(self, number: int) -> list[str]:
        return ["timestamp,x,y,z", *(f"{stamp(i)},{i},0,0" for i in range(number))]

    def test_a_dry_run_leaves_nothing_behind(self, write):
        holder = owner()
        path = write(["sensor,timestamp,value", f"new,{stamp(0)},1"])
        for _ in range(2):
            run = Run(path, "--owner", holder.login, "--dry-run")
            assert (run.said, run.failure) == ("Good: 1 readings. Nothing was stored.\n", "")
        assert not holder.devices.exists()
        assert not Import.objects.exists()
        assert Run(write("timestamp,x,y,z\n?,1,2,3\n"), "--device", device().uuid, "--dry-run").failure

    def test_the_same_file_again_stores_nothing_and_says_so(self, write):
        pump = device()
        lines = self.lines(3)
        Run(write(lines), "--device", pump.uuid)
        for options in ([], ["--partial"]):
            run = Run(write(lines, "copy.csv"), "--device", pump.uuid, *options)
            assert run.said.startswith("This file was imported before, at ")
            assert run.said.endswith(": 3 readings. Nothing was stored now.\n")
            assert run.failure == ""
        assert len(stored(pump)) == 3

    def test_the_same_file_for_another_device_is_another_import(self, write):
        pump, fan = device(), device()
        path = write(self.lines(3))
        for sender in (pump, fan):
            assert Run(path, "--device", sender.uuid).said == "Stored: 3 readings.\n"
        assert (len(stored(pump)), len(stored(fan))) == (3, 3)

    def test_good_lines_are_stored_once_when_bad_ones_were_left_out(self, write):
        pump = device()
        path = write([*self.lines(3), "?,1,2,3"])
        Run(path, "--device", pump.uuid, "--partial")
        run = Run(path, "--device", pump.uuid)
        assert "3 readings. Nothing was stored now." in run.said
        assert len(stored(pump)) == 3

    def test_two_at_the_same_time_store_each_line_once(self, write):
        pump = device()
        path = write(self.lines(6000))
        job = ImportJob(path, path.name, "csv", device=importer.find_device(pump.uuid))

        def other(doing: str, *_: object) -> None:
            if doing == "Storing":
                importer.run_import(job, timezone.now())

        with pytest.raises(CannotImport, match="Another process"):
            importer.run_import(job, timezone.now(), report=other)
        assert [row[0] for row in values(pump)] == list(range(6000))

    def test_a_file_that_changes_meanwhile(self, write):
        pump = device()
        path = write(self.lines(6000))
        job = ImportJob(path, path.name, "csv", device=importer.find_device(pump.uuid))

        def append(*_: object) -> None:
            with path.open("a") as file:
                file.write(f"{stamp(0)},1,2,3\n")

        with pytest.raises(CannotImport, match="was changed"):
            importer.run_import(job, timezone.now(), report=append)
        assert not stored(pump)
