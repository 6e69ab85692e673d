"""Bad lines are named by number; their file is not stored, with --partial its good lines are."""

from pathlib import Path

import pytest

from devices.ingestion.checks import NOT_SENSOR
from devices.models import Device, Import
from tests.files.command import Run, stamp, stored, values
from tests.support.factories import device, owner, profile

pytestmark = pytest.mark.django_db


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
    **dict.fromkeys(("", "yesterday", "true", "1e400", "9" * 5000, "01.03.1998 12:00", "1998-W09"), STAMP),
    **{
        "2999-01-01T00:00:00Z": FUTURE,
        "32472144000": FUTURE,
        "1e300": "timestamp: Not a date and time: ",
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
    '{"timestamp": true, "x": 1, "y": 2, "z": 3}': "timestamp: Must be a string or a number.",
    '{"timestamp": NaN, "x": 1, "y": 2, "z": 3}': "timestamp: Must be a finite number.",
    '{"timestamp": 1e300, "x": 1, "y": 2, "z": 3}': "timestamp: Not a date and time: ",
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


class TestBadLines:
    def refused(self, path: Path, of: Device, message: str, *options: object) -> None:
        """Check that the third line is bad: nothing is stored, with --partial the two others."""
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

    def test_readings_older_than_the_retention_period(self, write, settings):
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
        assert Run(path, "--device", pump.uuid, "--partial").said == "Stored: 6000 readings.\n"

    def test_the_first_hundred_are_shown_and_all_are_counted(self, write):
        pump = device()
        path = write(["timestamp,x,y,z", *["?,1,2,3"] * 250])
        run = Run(path, "--device", pump.uuid)
        assert len(run.errors) == 100
        assert run.failure == "Bad lines: 250. Shown: 100."
