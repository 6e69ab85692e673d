"""What columns mean, guessed by headings and cells."""

import pytest

from devices.imports.cells.columns import guess_roles, looks_like_heading

ROW = ("2026-03-04 12:00", "pump", "1.5", "2", "3")


def roles(headings, channels=("x", "y", "z"), rows=(), *, needs_device=True):
    return [
        role.removeprefix("channel ")
        for role in guess_roles(headings, rows, channels, needs_device=needs_device)
    ]


@pytest.mark.parametrize(
    "time",
    [
        "timestamp",
        "Time",
        "TIME STAMP",
        "date/time",
        "Zeitstempel",
        "Datum",
        "Date",
        "t_s",
        "Recorded At",
        "horodatage",
        "Zeit [UTC]",
        "Datum/Uhrzeit",
    ],
)
def test_times_by_name_or_by_look(time):
    assert roles([time, "Device", "x", "y", "z"], rows=[ROW]) == ["time", "device", "x", "y", "z"]


@pytest.mark.parametrize(
    "device", ["device", "Sensor", "Device ID", "external_id", "UUID", "Gerät", "Serial number", "Station"]
)
def test_devices_by_name(device):
    assert roles(["time", device, "x", "y", "z"], rows=[ROW])[1] == "device"


@pytest.mark.parametrize(
    "heading",
    [
        "temperature",
        "Temperature",
        "TEMPERATURE [°C]",
        "temperature (C)",
        "Temperature °C",
        "temperature_c",
        "Temperature, K",
    ],
)
def test_channels_without_case_and_unit(heading):
    assert roles(["time", heading, "other"], ["temperature"]) == ["time", "temperature", ""]


def test_the_exact_heading_wins_over_one_with_a_unit():
    assert roles(["time", "x [mm]", "x"], ["x"]) == ["time", "", "x"]


def test_what_is_not_known_is_not_imported():
    assert roles(["time", "x", "y", "z", "comment"]) == ["time", "x", "y", "z", ""]
    assert roles(["Reason", "time", "x", "y", "z"])[0] == ""


def test_a_date_and_a_time_of_day():
    rows = [("31.12.2026", "14:05", "1")]
    assert roles(["Datum", "Uhrzeit", "Wert"], ["value"], rows) == ["time", "clock", "value"]
    assert roles(["time", "clock", "x"], ["x"], [("2026-01-01 12:00", "x", "1")])[1] == ""


def test_the_only_column_of_numbers_is_the_only_channel():
    rows = [("2026-01-01 12:00", "1.5", "ok")]
    assert roles(["When", "Messwert", "Remark"], ["value"], rows) == ["time", "value", ""]
    assert roles(["When", "a", "b"], ["value"], [("2026-01-01", "1", "2")]) == ["time", "", ""]


def test_no_device_is_looked_for_if_it_is_chosen():
    assert roles(["time", "device", "x"], ["x"], needs_device=False) == ["time", "", "x"]


def test_a_channel_named_time_of_day():
    assert roles(["stamp", "clock"], ["clock"]) == ["time", "clock"]
    assert guess_roles(["stamp", "clock"], [], ["clock"], needs_device=True) == ["time", "channel clock"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (["time", "x"], True),
        (["2026-01-01", "1"], False),
        (["a", "1"], False),
        (["", ""], False),
        (["a", ""], True),
    ],
)
def test_headings_have_no_values(row, expected):
    assert looks_like_heading(row) is expected
