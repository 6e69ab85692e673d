"""Files of readings: what is in them is stored, each line once, and what is wrong is named by its line."""

import io
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.core.management.base import CommandError, OutputWrapper
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from devices.files import importer
from devices.files.formats import CannotImport
from devices.files.importer import ImportJob
from devices.files.progress import ProgressBar
from devices.ingestion.checks import NOT_SENSOR
from devices.models import Device, Import
from devices.storage.postgresql import readings_table
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.factories import colleague, device, owner, profile
from tests.support.portal import Portal, Sender, eventually
from users.models import Role

START = datetime(1998, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SPECIAL = ("0.1", "-0.0", "5e-324", "1.7976931348623157e308", "-1E-7", "12345678901234567890", "3")

db = pytest.mark.django_db


def stamp(second: int) -> str:
    return (START + second * SECOND).isoformat()


def stored(of: Device) -> list[tuple[datetime, list[float]]]:
    """Oldest first."""
    return [(row.time, row.values) for row in reversed(readings_table.page([of.pk], Period(), limit=10_000))]


def values(of: Device) -> list[list[float]]:
    return [row for _, row in stored(of)]


class Run:
    """What came of the command."""

    def __init__(self, path: Path, *arguments: object) -> None:
        self.out, self.err, self.failure = io.StringIO(), io.StringIO(), ""
        options = map(str, arguments)
        try:
            call_command(
                "import_readings", str(path), *options, stdout=self.out, stderr=self.err, no_color=True
            )
        except CommandError as error:
            self.failure = str(error)

    @property
    def said(self) -> str:
        return self.out.getvalue()

    @property
    def errors(self) -> list[str]:
        return self.err.getvalue().splitlines()


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes | Iterable[object], name: str = "readings.csv") -> Path:
        if not isinstance(content, str | bytes):
            content = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in content)
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@db
class TestFormats:
    def test_csv_of_one_device_with_columns_in_any_order(self, write):
        pump = device()
        path = write(f"z,timestamp,x,y\n3,{stamp(0)},1,2\n6.5,{stamp(1)},4,5e0\n")
        run = Run(path, "--device", pump.uuid)
        assert (run.said, run.errors, run.failure) == ("Stored: 2 readings.\n", [], "")
        assert stored(pump) == [(START, [1, 2, 3]), (START + SECOND, [4, 5, 6.5])]

    def test_csv_whose_lines_name_their_device(self, write):
        pump, fan = device(), device()
        lines = ["device,timestamp,x,y,z"]
        lines += [
            f"{pump.uuid},{stamp(i)},{i},0,0\n{str(fan.uuid).upper()},{stamp(i)},0,{i},0" for i in range(3)
        ]
        assert Run(write(lines)).said == "Stored: 6 readings.\n"
        assert values(pump) == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
        assert values(fan) == [[0, 0, 0], [0, 1, 0], [0, 2, 0]]

    def test_ndjson_of_devices_with_several_profiles(self, write):
        pump, meter = device(), device(profile=profile("scalar", ["value"]))
        lines = [
            {"device": str(pump.uuid), "timestamp": stamp(0), "x": 1, "y": 2, "z": 3},
            {"value": 7.25, "timestamp": stamp(1), "device": str(meter.uuid)},
        ]
        assert Run(write(lines, "all.ndjson")).said == "Stored: 2 readings.\n"
        assert (values(pump), values(meter)) == ([[1, 2, 3]], [[7.25]])

    def test_ndjson_of_one_device(self, write):
        pump = device()
        path = write([{"timestamp": stamp(0), "x": 1, "y": 2, "z": 3}], "pump.jsonl")
        assert Run(path, "--device", pump.uuid).said == "Stored: 1 readings.\n"
        assert values(pump) == [[1, 2, 3]]

    @pytest.mark.parametrize("ending", ["csv", "ndjson"])
    def test_sensors_are_found_or_registered(self, write, ending):
        holder = owner()
        known = device(holder, profile=profile("scalar", ["value"]), external_id="boiler, 1")
        rows = [("boiler, 1", 0, 61.5), ('the "new" one', 0, 5), ("boiler, 1", 1, 62)]
        if ending == "csv":
            quoted = [
                f'"{name.replace(chr(34), chr(34) * 2)}",{stamp(at)},{value}' for name, at, value in rows
            ]
            path = write(["sensor,timestamp,value", *quoted])
        else:
            path = write([{"sensor": n, "timestamp": stamp(at), "value": v} for n, at, v in rows], "s.ndjson")
        assert Run(path, "--owner", holder.login.upper()).said == "Stored: 3 readings.\n"
        assert values(known) == [[61.5], [62]]
        assert values(Device.objects.get(owner=holder, external_id='the "new" one')) == [[5]]

    def test_bom_crlf_quotes_empty_lines_and_no_last_line_end(self, write):
        pump = device()
        path = write(
            f'\ufeff"timestamp","x","y","z"\r\n"{stamp(0)}","1","2","3"\r\n\r\n  \r\n{stamp(1)},4,5,6'
        )
        assert Run(path, "--device", pump.uuid).failure == ""
        assert values(pump) == [[1, 2, 3], [4, 5, 6]]

    @pytest.mark.parametrize("ending", ["csv", "ndjson"])
    def test_numbers_come_back_bit_for_bit_as_through_the_api(self, write, ending):
        meter = device(profile=profile("scalar", ["value"]))
        if ending == "csv":
            path = write(["timestamp,value", *(f"{stamp(i)},{n}" for i, n in enumerate(SPECIAL))])
        else:
            path = write(
                (f'{{"timestamp": "{stamp(i)}", "value": {n}}}' for i, n in enumerate(SPECIAL)), "n.ndjson"
            )
        assert Run(path, "--device", meter.uuid).failure == ""
        assert [str(row[0]) for row in values(meter)] == [str(float(text)) for text in SPECIAL]

    def test_stamps_without_an_offset_are_read_in_the_zone_of_the_device(self, write):
        pump = device(time_zone="Asia/Kolkata")
        run = Run(write("timestamp,x,y,z\n1998-03-01T05:30:00,1,2,3\n"), "--device", pump.uuid)
        assert run.said == "Stored: 1 readings. Stamps without an offset were read in Asia/Kolkata.\n"
        assert stored(pump) == [(START, [1, 2, 3])]

    def test_the_format_may_be_said(self, write):
        pump = device()
        path = write(f"timestamp,x,y,z\n{stamp(0)},1,2,3\n", "export.txt")
        assert "choose the format" in Run(path, "--device", pump.uuid).failure
        assert Run(path, "--device", pump.uuid, "--format", "csv").failure == ""

    def test_queries_do_not_grow_with_devices_and_lines(self, write):
        def queries(senders: list[Device], name: str) -> int:
            lines = (f"{sender.uuid},{stamp(i)},1,2,3" for sender in senders for i in range(len(senders)))
            path = write(["device,timestamp,x,y,z", *lines], name)
            with CaptureQueriesContext(connection) as captured:
                assert Run(path).failure == ""
            return len(captured)

        holder = owner()
        assert queries([device(holder)], "one.csv") == queries(
            [device(holder) for _ in range(20)], "many.csv"
        )


NUMBER = "x: Must be a number."
FINITE = "x: Must be a finite number."
BAD_NUMBERS = {
    **{"NaN": FINITE, "Infinity": FINITE, "-Infinity": FINITE, "1e400": FINITE, "9" * 5000: FINITE},
    **dict.fromkeys(("", "nan", "inf", "1_000", "١", "0x10", "+1", ".5", "1.", "01", "1 2", "--1"), NUMBER),
    **dict.fromkeys(("true", "null", "[1]", '"""5"""', '"1,5"', "{}", "[" * 9000, "x", "1;2"), NUMBER),
    **{"-10.5": "x: Must be at least -10.0.", "1000.25": "x: Must be at most 1000.0."},
}
STAMP = "timestamp: Must be an ISO 8601 date and time, such as 2026-11-21T09:30:00Z."
FUTURE = "timestamp: Is more than 5 minutes in the future."
BAD_STAMPS = {
    **dict.fromkeys(("", "yesterday", "1e9", "01.03.1998 12:00", "1998-W09"), STAMP),
    **{
        "2999-01-01T00:00:00Z": FUTURE,
        **dict.fromkeys(("1998-02-30", "1998-03-01T12:00:00+25"), "timestamp: Not a date and time: "),
    },
}
CSV_LINES = {
    **{f"{stamp(1)},{cell},2,3": message for cell, message in BAD_NUMBERS.items()},
    **{f"{cell},1,2,3": message for cell, message in BAD_STAMPS.items()},
    f"{stamp(1)},1,2": "Has 3 columns instead of 4.",
    f"{stamp(1)},1,2,3,4": "Has 5 columns instead of 4.",
    f'{stamp(1)},1,2,"3': "Not valid CSV: unexpected end of data.",
    f'{stamp(1)},1,2,"3"x': "Not valid CSV: ',' expected after '\"'.",
    f"{stamp(1)}\r,1,2,3": "Not valid CSV: new-line character seen in unquoted field",
    f"{stamp(1)},NaN,2,x": f"{FINITE} z: Must be a number.",
}
JSON_NUMBERS = ("NaN", "-Infinity", "1e400", "9" * 5000)
NDJSON_LINES = {
    **{f'{{"timestamp": "{stamp(1)}", "x": {n}, "y": 2, "z": 3}}': FINITE for n in JSON_NUMBERS},
    **{
        f'{{"timestamp": "{stamp(1)}", "x": {n}, "y": 2, "z": 3}}': NUMBER
        for n in ("true", "null", '"5"', "[1]", "{}")
    },
    f'{{"timestamp": "{stamp(1)}", "x": 1_000, "y": 2, "z": 3}}': "Not valid JSON: Expecting ',' delimiter",
    f'{{"timestamp": "{stamp(1)}", "x": 1, "y": 2}}': "z: Is missing.",
    f'{{"timestamp": "{stamp(1)}", "x": 1, "y": 2, "z": 3, "w": 4}}': "w: Unknown channel",
    '{"x": 1, "y": 2, "z": 3}': "timestamp: Is missing.",
    '{"timestamp": 1e9, "x": 1, "y": 2, "z": 3}': "timestamp: Must be a string.",
    '{"x": 1}{"x": 2}': "Not valid JSON: Extra data, at character 9.",
    '{"x": 1},': "Not valid JSON: Extra data",
    "[1, 2]": "Must be an object.",
    "null": "Must be an object.",
    "[" * 9000: "Not valid JSON: nested too deeply.",
    "x,y,z": "Not valid JSON: Expecting value, at character 1.",
}
BAD_BYTES = b"\xff\xfe1,2"
DEVICE_CELLS = {
    "": "device: There is no such device.",
    "1": "device: There is no such device.",
    "00000000-0000-4000-8000-000000000000": "device: There is no such device.",
}


def short(text: object) -> str:
    return ascii(text)[:40]


@db
class TestBadLines:
    def refused(self, path: Path, of: Device, message: str, *options: object) -> None:
        """The third line is bad: nothing is stored, but with --partial the two others."""
        run = Run(path, *options)
        assert run.errors[0].startswith(f"Line 3: {message}")
        assert run.failure == "Bad lines: 1. Shown: 1."
        assert run.said == "Good: 2 readings. Nothing was stored.\n"
        assert not stored(of)
        assert not Import.objects.exists()
        run = Run(path, *options, "--partial")
        assert run.errors[0].startswith(f"Line 3: {message}")
        assert (run.said, run.failure) == ("Stored: 2 readings.\n", "Bad lines: 1. Shown: 1.")
        assert values(of) == [[1, 2, 3], [1, 2, 3]]

    def limited(self) -> Device:
        found = profile("limited")
        found.channels.update(minimum=-10.0, maximum=1000.0)
        return device(profile=found)

    @pytest.mark.parametrize(("line", "message"), CSV_LINES.items(), ids=short)
    def test_csv(self, write, line, message):
        pump = self.limited()
        path = write(["timestamp,x,y,z", f"{stamp(0)},1,2,3", line, f"{stamp(2)},1,2,3"])
        self.refused(path, pump, message, "--device", pump.uuid)

    @pytest.mark.parametrize(("line", "message"), NDJSON_LINES.items(), ids=short)
    def test_ndjson(self, write, line, message):
        pump = device()
        good = f'{{"timestamp": "{stamp(0)}", "x": 1, "y": 2, "z": 3}}'
        self.refused(write([good, "", line, good], "r.ndjson"), pump, message, "--device", pump.uuid)

    @pytest.mark.parametrize(("ending", "good"), [("csv", "{stamp},1,2,3"), ("ndjson", "")])
    def test_bytes_that_are_not_utf8(self, write, ending, good):
        pump = device()
        reading = f'{{"timestamp": "{stamp(0)}", "x": 1, "y": 2, "z": 3}}'
        lines = ["timestamp,x,y,z", f"{stamp(0)},1,2,3"] if ending == "csv" else ["", reading]
        content = b"\n".join([*(line.encode() for line in lines), BAD_BYTES, lines[1].encode()])
        self.refused(write(content, f"r.{ending}"), pump, "Is not UTF-8.", "--device", pump.uuid)

    @pytest.mark.parametrize(("cell", "message"), DEVICE_CELLS.items())
    def test_devices_that_are_not_there(self, write, cell, message):
        pump = device()
        good = f"{pump.uuid},{stamp(0)},1,2,3"
        self.refused(write(["device,timestamp,x,y,z", good, f"{cell},{stamp(0)},1,2,3", good]), pump, message)

    def test_a_line_of_ndjson_without_a_device(self, write):
        pump = device()
        reading = {"timestamp": stamp(0), "x": 1, "y": 2, "z": 3}
        good = {"device": str(pump.uuid), **reading}
        path = write(["", good, reading, good], "r.ndjson")
        self.refused(path, pump, "device: Must be the id of a device.")

    def test_an_inactive_device_and_one_of_other_channels(self, write):
        pump, off = device(), device(is_active=False)
        meter = device(profile=profile("scalar", ["value"]))
        lines = (f"{sender.uuid},{stamp(0)},1,2,3" for sender in (pump, off, meter, pump))
        run = Run(write(["device,timestamp,x,y,z", *lines]), "--partial")
        assert run.errors[0] == "Line 3: device: Is inactive."
        assert run.errors[1].startswith("Line 4: value: Is missing. x: Unknown channel; there are value.")
        assert (len(stored(pump)), len(stored(off)), len(stored(meter))) == (2, 0, 0)

    @pytest.mark.parametrize("sensor", ["", "a" * 256, "nul\0"])
    def test_sensors_that_cannot_be(self, write, sensor):
        holder = owner()
        path = write(["sensor,timestamp,value", f"ok,{stamp(0)},1", f"{sensor},{stamp(0)},1"])
        run = Run(path, "--owner", holder.login)
        assert run.errors == [f"Line 3: sensor: {NOT_SENSOR}"]
        assert not holder.devices.exists()

    def test_readings_older_than_what_is_kept(self, write, settings):
        settings.RETENTION_DAYS = 30
        pump = device()
        run = Run(write(f"timestamp,x,y,z\n{stamp(0)},1,2,3\n"), "--device", pump.uuid)
        assert run.errors == ["Line 2: timestamp: Is older than the 30 days that are kept."]

    def test_a_bad_last_line_behind_many_good_ones(self, write):
        pump = device()
        good = (f"{stamp(i)},1,2,3" for i in range(6000))
        path = write(["timestamp,x,y,z", *good, "yesterday,1,2,3"])
        assert Run(path, "--device", pump.uuid).errors == [f"Line 6002: {STAMP}"]
        assert not stored(pump)
        assert Run(path, "--device", pump.uuid, "--partial").said == "Stored: 6,000 readings.\n"

    def test_the_first_hundred_are_shown_and_all_are_counted(self, write):
        pump = device()
        path = write(["timestamp,x,y,z", *["?,1,2,3"] * 250])
        run = Run(path, "--device", pump.uuid)
        assert len(run.errors) == 100
        assert run.failure == "Bad lines: 250. Shown: 100."


HEADERS = {
    "timestamp,x,y": "timestamp,x,y,z. Missing: 'z'.",
    "timestamp,x,y,z,w": "timestamp,x,y,z. Unknown: 'w'.",
    "timestamp;x;y;z": "Unknown: 'timestamp;x;y;z'. Missing: 'timestamp', 'x', 'y', 'z'.",
    "Timestamp,x,y, z": "Unknown: 'Timestamp', ' z'. Missing: 'timestamp', 'z'.",
    "timestamp,x,y,z,x": "Columns named twice: x.",
    "device,timestamp,x,y,z": "Unknown: 'device'.",
    "": "Missing: 'timestamp', 'x', 'y', 'z'.",
    '"timestamp,x,y,z': "The first line must name the columns",
}


@db
class TestWholeFiles:
    @pytest.mark.parametrize(("header", "message"), HEADERS.items())
    def test_columns_of_one_device(self, write, header, message):
        run = Run(write([header, f"{stamp(0)},1,2,3"]), "--device", device().uuid)
        assert message in run.failure

    def test_columns_of_many_devices_as_the_nearest_profile_has_them(self, write):
        profile()
        profile("scalar", ["value"])
        assert "There is no column device" in Run(write("timestamp,x,y,z\n")).failure
        assert (
            "device,timestamp,x,y,z. Unknown: 'w'. Missing: 'z'."
            in Run(write("device,timestamp,x,y,w\n")).failure
        )
        assert "device,timestamp,value. Missing: 'timestamp'." in Run(write("device,value\n")).failure

    def test_columns_of_sensors(self, write):
        run = Run(write("sensor,time,value\n"), "--owner", owner().login)
        assert "sensor,timestamp,value. Unknown: 'time'. Missing: 'timestamp'." in run.failure

    def test_an_empty_file(self, write):
        pump = device()
        assert "Missing" in Run(write(""), "--device", pump.uuid).failure
        assert Run(write("timestamp,x,y,z\n"), "--device", pump.uuid).said == "Stored: 0 readings.\n"
        assert Run(write("", "empty.ndjson")).said == "Stored: 0 readings.\n"

    def test_a_line_without_end(self, write):
        run = Run(write("timestamp,x,y,z\n" + "9" * 20_000), "--device", device().uuid)
        assert "Line 2 is longer than 16384 bytes." in run.failure

    def test_what_is_not_there(self, write, tmp_path):
        assert "No such file" in Run(tmp_path / "no.csv").failure
        path = write("timestamp,x,y,z\n")
        assert "no such device" in Run(path, "--device", "00000000-0000-4000-8000-000000000000").failure
        assert "no such user" in Run(path, "--owner", "nobody").failure
        assert "inactive" in Run(path, "--device", device(is_active=False).uuid).failure
        assert "not allowed with" in Run(path, "--device", device().uuid, "--owner", "a").failure


@db
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


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgressBar:
    def test_on_a_terminal_it_is_drawn_at_most_ten_times_a_second_and_erased(self):
        terminal = Terminal()
        bar = ProgressBar(OutputWrapper(terminal))
        for done in range(10_000):
            bar.show("Storing", done + 5000, 20_000)
        bar.clear()
        drawn = terminal.getvalue().split("\r")[1:]
        assert drawn[0] == f"Storing [{'#' * 10}{'.' * 30}]  25 %\x1b[K"
        assert drawn[-1] == "\x1b[K"
        assert len(drawn) < 10

    def test_elsewhere_it_is_not(self):
        stream = io.StringIO()
        bar = ProgressBar(OutputWrapper(stream))
        bar.show("Storing", 1, 2)
        bar.clear()
        assert not stream.getvalue()


@db
class TestUpload:
    URL = "/portal/import/"

    def staff(self) -> Client:
        client = Client()
        client.force_login(colleague())
        return client

    def post(self, client: Client, content: str, name: str = "readings.csv", **fields: object) -> str:
        response = client.post(self.URL, {"file": SimpleUploadedFile(name, content.encode()), **fields})
        assert response.status_code == 200
        return response.content.decode()

    def test_a_file_is_stored_once(self):
        client, pump = self.staff(), device()
        content = f"timestamp,x,y,z\n{stamp(0)},1,2,3\n"
        assert "Stored: 1 readings." in self.post(client, content, device=pump.uuid)
        assert "This file was imported before" in self.post(client, content, device=pump.uuid)
        assert values(pump) == [[1, 2, 3]]

    def test_sensors_of_an_owner_and_a_format_that_is_said(self):
        client, holder = self.staff(), owner()
        profile("scalar", ["value"])
        line = json.dumps({"sensor": "boiler", "timestamp": stamp(0), "value": 1})
        page = self.post(client, line, "export.txt", owner=holder.login, format="ndjson")
        assert "Stored: 1 readings." in page
        assert holder.devices.get().external_id == "boiler"

    def test_bad_lines_are_shown_by_number_and_escaped(self):
        client, pump = self.staff(), device()
        path = f"device,timestamp,x,y,z\n{pump.uuid},{stamp(0)},1,2,3\n<script>,{stamp(0)},1,2,3\n"
        page = self.post(client, path)
        assert "Good: 1 readings. Nothing was stored." in page
        assert '<th scope="row">Line 3</th>' in page
        assert "device: There is no such device." in page
        assert not stored(pump)
        assert "Stored: 1 readings." in self.post(client, path, partial="on")

    def test_a_dry_run_stores_nothing(self):
        client, pump = self.staff(), device()
        page = self.post(client, f"timestamp,x,y,z\n{stamp(0)},1,2,3\n", device=pump.uuid, dry_run="on")
        assert "Good: 1 readings. Nothing was stored." in page
        assert not stored(pump)

    @pytest.mark.parametrize(
        ("name", "content", "fields", "message"),
        [
            ("r.txt", "x", {}, "does not end in .csv, .ndjson, .jsonl"),
            ("r.csv", "<b>,timestamp\n", {}, "There is no column device"),
            ("r.csv", "device,timestamp,<b>\n", {}, "Unknown: &#x27;&lt;b&gt;&#x27;"),
            ("r.csv", "", {}, "empty"),
            ("r.csv", "x", {"device": "pump"}, "valid UUID"),
            ("r.csv", "x", {"device": "00000000-0000-4000-8000-000000000000"}, "no such device"),
            ("r.csv", "x", {"owner": "nobody"}, "no such user"),
            ("r.csv", "x", {"format": "xlsx"}, "valid choice"),
        ],
    )
    def test_what_cannot_be_imported(self, name, content, fields, message):
        profile()
        assert message in self.post(self.staff(), content, name, **fields)

    def test_device_and_owner_at_once(self):
        page = self.post(self.staff(), "x", device=device().uuid, owner=owner().login)
        assert "not both" in page
        assert "field is required" in self.staff().post(self.URL).content.decode()

    @pytest.mark.parametrize("role", [Role.ADMIN, Role.STAFF])
    def test_admin_and_staff_may(self, role):
        client = Client(enforce_csrf_checks=True)
        client.force_login(factories.person(role))
        page = client.get(self.URL)
        assert page.status_code == 200
        file = SimpleUploadedFile("r.csv", b"device,timestamp,x,y,z\n")
        assert client.post(self.URL, {"file": file}).status_code == 403
        file.seek(0)
        token = client.cookies["csrftoken"].value
        assert client.post(self.URL, {"file": file, "csrfmiddlewaretoken": token}).status_code == 200

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_nobody_else_may(self, method):
        client, nobody = Client(), Client()
        client.force_login(owner())
        assert getattr(client, method)(self.URL).status_code == 403
        assert getattr(nobody, method)(self.URL).headers["Location"].startswith("/portal/login/")
        assert self.staff().put(self.URL).status_code == 405

    def test_django_admin_shows_imports_and_changes_none(self):
        pump = device()
        client = self.staff()
        self.post(client, "timestamp,x,y,z\n", device=pump.uuid)
        row = Import.objects.get()
        assert "readings.csv" in client.get(reverse("admin:devices_import_changelist")).content.decode()
        page = reverse("admin:devices_import_change", args=[row.pk])
        assert row.digest in client.get(page).content.decode()
        assert client.post(page, {"name": "other"}).status_code == 403
        assert client.get(reverse("admin:devices_import_add")).status_code == 403
        assert client.post(reverse("admin:devices_import_delete", args=[row.pk])).status_code == 403


class TestProcess:
    """The real command, as a process of its own."""

    MANAGE = settings.BASE_DIR / "manage.py"
    # Behind what the command prints, the most memory that the process ever had, in KiB.
    MEASURED = (
        "import runpy\n"
        "try: runpy.run_path('manage.py', run_name='__main__')\n"
        "finally: print(*(line for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )

    def sender(self, portal: Portal) -> Sender:
        return portal.new_device(portal.new_user())

    def csv_file(self, folder: Path, lines: int) -> Path:
        path = folder / f"{lines}-{random.getrandbits(64):x}.csv"
        with path.open("w") as file:
            file.write("timestamp,x,y,z\n")
            file.writelines(f"{stamp(i)},{i},{-i}.5,0\n" for i in range(lines))
        return path

    def test_killed_twice_in_mid_file_each_line_is_stored_once(self, portal, tmp_path):
        sender, lines = self.sender(portal), 60_000
        path = self.csv_file(tmp_path, lines)
        argv = (sys.executable, self.MANAGE, "import_readings", path, "--device", sender.id)
        done = 1
        for _ in range(2):
            process = subprocess.Popen(argv, env=portal.env, stdout=subprocess.DEVNULL)
            done = eventually(partial(self.progress, portal, path, done), seconds=60)
            process.kill()
            assert process.wait() == -signal.SIGKILL
            assert done < lines
        assert (
            portal.manage("import_readings", str(path), "--device", sender.id) == "Stored: 60,000 readings.\n"
        )
        assert self.contents(portal, sender) == [(lines, lines, sum(range(lines)))]

    def progress(self, portal: Portal, path: Path, before: int) -> int:
        """The lines done, once they are more than `before`."""
        query = "SELECT line FROM devices_import WHERE name = %s AND line > %s"
        return sum(line for (line,) in portal.query(query, path.name, before))

    def contents(self, portal: Portal, sender: Sender) -> list[tuple]:
        return portal.query(
            "SELECT count(*), count(DISTINCT r.time), sum(r.values[1]) FROM devices_reading r"
            " JOIN devices_device d ON d.id = r.device_id WHERE d.uuid = %s",
            sender.id,
        )

    @pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
    def test_memory_does_not_grow_with_the_file_or_with_a_line_that_has_no_end(self, portal, tmp_path):
        endless = tmp_path / "endless.csv"
        endless.write_bytes(b"timestamp,x,y,z\n" + bytes(100_000_000))
        files = (self.csv_file(tmp_path, 5000), self.csv_file(tmp_path, 100_000), endless)
        sender = self.sender(portal)
        least, *others = [self.peak_kib(portal, path, "--device", sender.id, "--partial") for path in files]
        assert max(others) < least + 8 * 1024

    def peak_kib(self, portal: Portal, *arguments: object) -> int:
        argv = (sys.executable, "-c", self.MEASURED, "import_readings", *arguments)
        done = subprocess.run(
            argv, env=portal.env, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
        )
        return int(done.stdout.partition("VmHWM:")[2].split()[0])
