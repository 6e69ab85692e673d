"""Files of every format and sender are stored as they are."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from tests.files.command import SECOND, START, Run, stamp, stored, values
from tests.support.factories import device, owner, profile

pytestmark = pytest.mark.django_db


SPECIAL = ("0.1", "-0.0", "5e-324", "1.7976931348623157e308", "-1E-7", "12345678901234567890", "3")


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


class TestNumbersAsTimestamps:
    """A timestamp that is a number counts seconds since 1970, or what --precision says."""

    TIME = datetime(2024, 11, 27, 9, 33, 20, 123456, tzinfo=UTC)

    @pytest.mark.parametrize("ending", ["csv", "ndjson"])
    @pytest.mark.parametrize(
        ("precision", "number"),
        [("s", "1732700000.123456"), ("ms", "1732700000123.456"), ("ns", "1732700000123456400")],
    )
    def test_each_unit(self, write, ending, precision, number):
        pump = device()
        lines = [f'{{"timestamp": {number}, "x": 1, "y": 2, "z": 3}}'] * 2
        if ending == "csv":
            lines = ["timestamp,x,y,z", f"{number},1,2,3", f"{number},1,2,3"]
        run = Run(write(lines, f"r.{ending}"), "--device", pump.uuid, "--precision", precision)
        assert (run.said, run.failure) == ("Stored: 2 readings.\n", "")
        assert [time for time, _ in stored(pump)] == [self.TIME] * 2

    def test_numbers_and_texts_in_one_column(self, write):
        pump, meter = device(), device()
        for sender, cell in ((pump, "1"), (meter, "x")):
            lines = ["timestamp,x,y,z", "1732700000.123456,1,2,3", f"{self.TIME.isoformat()},1,2,3"]
            run = Run(write([*lines, f"0,{cell},2,3"]), "--device", sender.uuid, "--partial")
            assert run.said == f"Stored: {3 if sender == pump else 2} readings.\n"
            assert [time for time, _ in stored(sender)][-2:] == [self.TIME] * 2

    def test_the_same_file_in_another_unit_is_another_import(self, write):
        pump = device()
        path = write(["timestamp,x,y,z", "1000,1,2,3"])
        for precision in ("s", "ms", "ms"):
            Run(path, "--device", pump.uuid, "--precision", precision)
        assert [time.timestamp() for time, _ in stored(pump)] == [1, 1000]

    def test_sensors(self, write):
        profile("scalar", ["value"])
        holder = owner()
        run = Run(write(["sensor,timestamp,value", "s,1732700000.123456,1"]), "--owner", holder.login)
        assert run.said == "Stored: 1 readings.\n"
        assert [time for time, _ in stored(holder.devices.get())] == [self.TIME]
