"""Files that cannot be imported at all."""

import pytest

from tests.files.command import Run, stamp
from tests.support.factories import device, owner, profile

pytestmark = pytest.mark.django_db


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
