"""Each encoding and format of a file, from its bytes to stored readings."""

import gzip
import io
import sys
from contextlib import suppress
from datetime import UTC, datetime
from random import Random

import pytest

from devices.imports import preview
from devices.imports.options import Options
from devices.imports.tables import content
from devices.imports.tables import workbook as workbook_module
from devices.imports.tables.source_row import CannotRead
from tests.imports.uploads import (
    counts,
    imported,
    start,
    stored,
    upload,
    values,
    with_entry,
    workbook,
    worked,
)
from tests.support.factories import device, profile

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.django_db

FIRST, SECOND = datetime(2026, 3, 4, 14, 5, tzinfo=UTC), datetime(2026, 3, 14, 14, 6, 7, tzinfo=UTC)
READINGS = [(FIRST, [1.5, -2.0, 1234.5]), (SECOND, [0.25, 7.0, 12345678.0])]
SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    "<sheetData>{}</sheetData></worksheet>"
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252")
STYLES = {
    "point": (["1.5", "-2", "1234.5"], ["0.25", "7", "12345678"]),
    "comma": (["1,5", "-2", "1.234,5"], ["0,25", "7", "12.345.678"]),
    "grouped": (["1.5", "-2", "1,234.5"], ["0.25", "7", "12,345,678"]),
    "spaces": (["1,5", "-2", "1 234,5"], ["0,25", "7", "12\u00a0345\u00a0678"]),
}
DATES = {
    "iso": ("2026-03-04T14:05:00Z", "2026-03-14T14:06:07Z"),
    "day": ("04.03.2026 14:05", "14.03.2026 14:06:07"),
    "slash": ("04/03/2026 14:05", "14/03/2026 14:06:07"),
    "month": ("03/04/2026 2:05 PM", "03/14/2026 2:06:07 PM"),
    "seconds": ("1772633100", "1773497167"),
    "milliseconds": ("1772633100000", "1773497167000"),
    "nanoseconds": ("1772633100000000000", "1773497167000000000"),
}


def text(separator=";", style="point", dates="iso", end="\r\n"):
    rows = [[date, *numbers, "Größe"] for date, numbers in zip(DATES[dates], STYLES[style], strict=True)]
    cells = [["Zeitstempel", "X [mm]", "y", "Z", "Bemerkung"], *rows]
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in row] for row in cells]
    return end.join(separator.join(row) for row in quoted) + end


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_encodings_and_separators(encoding, separator):
    pump = device()
    done = imported(text(separator).encode(encoding), device=pump)
    assert (counts(done), stored(pump)) == (("finished", 2, 0, 0), READINGS)
    assert done.headings[-1] == "Bemerkung"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dates", DATES)
@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_numbers_and_dates(style, dates, separator):
    pump = device()
    done = imported(text(separator, style, dates), device=pump)
    assert (counts(done), stored(pump)) == (("finished", 2, 0, 0), READINGS)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(end):
    pump = device()
    imported(text(end=end), device=pump)
    assert stored(pump) == READINGS


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstd.compress, lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])]
)
def test_compressed_files(pack):
    pump = device()
    imported(pack(text().encode()), device=pump)
    assert stored(pump) == READINGS


def test_excel():
    pump = device()
    rows = [["Zeit", "x", "y", "z"], *([time.replace(tzinfo=None), *row] for time, row in READINGS)]
    done = imported(workbook({"Data": rows, "Notes": [["nothing"]]}), device=pump)
    assert (counts(done), stored(pump)) == (("finished", 2, 0, 0), READINGS)


def test_excel_with_text_cells_and_another_sheet():
    pump = device()
    rows = [["04.03.2026 14:05", "1,5", "-2", "1234,5"], ["14.03.2026 14:06:07", 0.25, 7, 12345678]]
    made = upload(workbook({"Notes": [["nothing"]], "Data": [["Zeit", "x", "y", "z"], *rows]}), device=pump)
    preview.guess_cells(made, Options.of(made.options).changed(sheet="Data", header_row=1), made.by)
    start(made)
    assert (counts(worked(made)), stored(pump)) == (("finished", 2, 0, 0), READINGS)


def test_json_lines():
    pump = device()
    lines = (
        '{"timestamp": "2026-03-04T14:05:00Z", "x": 1.5, "y": -2, "z": 1234.5}\n\n'
        '{"timestamp": 1773497167, "x": 0.25, "y": 7, "z": 12345678, "note": null}\n'
        'null\n{"x": 1, "more": 2\n'
    )
    done = imported(lines, device=pump)
    assert (counts(done), stored(pump)) == (("finished", 2, 0, 2), READINGS)


def test_a_preamble_and_a_line_that_names_the_separator():
    pump = device()
    done = imported("sep=;\r\nLogger 7\r\nSite;North\r\n" + text(), device=pump)
    assert (counts(done), stored(pump)) == (("finished", 2, 0, 0), READINGS)


def test_no_headings():
    pump = device()
    made = upload("2026-03-04T14:05:00Z,1.5,-2,1234.5\n", device=pump)
    options = Options.of(made.options)
    assert (options.header_row, made.headings, options.roles[0]) == (
        0,
        [f"Column {i}" for i in range(1, 5)],
        "time",
    )


def test_date_and_time_of_day_in_two_columns():
    pump = device(profile=profile("scalar", ["value"]))
    imported("Datum;Uhrzeit;Wert\n04.03.2026;14:05;1,5\n", device=pump)
    assert stored(pump) == [(FIRST, [1.5])]


def test_quoted_cells_may_hold_separators_and_lines():
    pump = device()
    done = imported('timestamp,x,y,z,note\n2026-03-04T14:05:00Z,1,2,3,"a,\nb"\nx,1,2,3,""\n', device=pump)
    assert values(pump) == [[1, 2, 3]]
    [fault] = done.blocks.get().faults
    assert fault[:2] == [1, 0]


def test_a_zone_that_is_said_wins_over_the_devices():
    pump = device(time_zone="America/New_York")
    imported("timestamp,x,y,z\n04.03.2026 15:05,1,2,3\n", device=pump, zone="Europe/Berlin")
    assert stored(pump)[0][0] == FIRST


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"\xd0\xcf\x11\xe0" + b"\1" * 600, "old format"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDRxxxxxxxxxxxxxxxxxxxxxx", "neither text nor"),
        (b"PK\x03\x04" + b"x" * 100, "workbook"),
        (gzip.compress(b"time,x\n" * 1000, mtime=0)[:-20], "breaks off"),
        (b"\x1f\x8b" + b"x" * 100, "broken"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 100, "broken"),
        (b"a," * 100_000, "longer than"),
    ],
)
def test_what_cannot_be_read(data, message):
    with pytest.raises(CannotRead, match=message):
        upload(data)


def test_a_compressed_file_is_bounded(settings, monkeypatch):
    settings.IMPORT_MEBIBYTES = 1
    monkeypatch.setattr(content, "EXPANSION", 1)
    lines = b"2026-03-04T14:05:00Z,1,2,3\n" * 50_000
    made = upload(gzip.compress(b"timestamp,x,y,z\n" + lines), device=device())
    start(made)
    done = worked(made)
    assert (done.status, done.stored) == ("failed", 0)
    assert "unpacks to more than 1 MiB" in done.error


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("xl/sharedStrings.xml", 2_000_000),
        ("xl/styles.xml", 2_000_000),
        ("xl/worksheets/sheet1.xml", 9_000_000),
    ],
)
def test_bombs_of_workbooks(settings, monkeypatch, name, size):
    settings.IMPORT_MEBIBYTES = 1
    monkeypatch.setattr(workbook_module, "MAX_HELD_BYTES", 1024 * 1024)
    bomb = with_entry(workbook({"Data": [["time", "x"]]}), name, b"<a>" + b" " * size + b"</a>")
    with pytest.raises(CannotRead, match="too much"):
        upload(bomb)


@pytest.mark.parametrize(
    "sheet",
    [
        b"",
        b"<x",
        SHEET.format('<row r="x"><c r="?"/></row>').encode(),
    ],
)
def test_broken_workbooks(sheet):
    with pytest.raises(CannotRead):
        upload(with_entry(workbook({"Data": [["time", "x"]]}), "xl/worksheets/sheet1.xml", sheet))


def test_a_workbook_with_wrong_bytes_is_read_or_refused():
    random = Random(7)
    rows = [["time", "x", "note"], *([datetime(2026, 3, 4, hour), hour, "ok"] for hour in range(24))]
    book = workbook({"Data": rows, "More": rows})
    for _ in range(150):
        data = bytearray(book)
        for _ in range(random.randrange(1, 20)):
            data[random.randrange(4, len(data))] = random.randrange(256)
        file = io.BytesIO(data[: random.randrange(100, 2 * len(data))])
        with suppress(CannotRead):
            options = content.guess(file)
            assert len(list(content.all_rows(file, options))) < 100


def test_a_sheet_whose_rows_lie_far_apart_ends():
    cells = '<c r="A{0}"><v>1</v></c><c r="XFD{0}"><v>1</v></c>'
    rows = "".join(f'<row r="{row}">{cells.format(row)}</row>' for row in (1, 5, 1_048_576, 10**12))
    sheet = SHEET.format(rows)
    data = with_entry(workbook({"Data": [["a"]]}), "xl/worksheets/sheet1.xml", sheet.encode())
    rows = list(content.all_rows(io.BytesIO(data), Options(kind="xlsx", sheet="Data")))
    assert [row.line for row in rows] == [1, 5, 1_048_576]
    assert {len(row.cells) for row in rows} == {content.MAX_COLUMNS}


def test_what_no_database_holds_is_replaced():
    pump = device()
    lines = "2026-03-04T14:05:00Z,1,2,3\n" * 3000 + "2026-03-04T14:05:00Z,\0,2,3\n"
    assert counts(imported(f"timestamp,x,y,z\n{lines}", device=pump)) == ("finished", 1, 2999, 1)
    lines = '{"t\\u0000\\ud800": "2026-03-04", "x": "\\ud800", "y": 2, "z": 3}\n'
    assert counts(imported(lines, device=pump)) == ("finished", 0, 0, 1)


def test_entities_are_not_expanded_without_end():
    entities = (
        '<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">'
        + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
        + "]>"
    )
    sheet = entities + SHEET.format('<row r="1"><c r="A1" t="str"><v>&a11;</v></c></row>')
    with pytest.raises(CannotRead):
        upload(with_entry(workbook({"Data": [["a"]]}), "xl/worksheets/sheet1.xml", sheet.encode()))


def test_an_error_in_the_middle_costs_one_row():
    lines = iter(["a,b\n", "1,2\n", '"' + "x" * 200_000 + '"\n', "3,4\n"])
    rows = list(content.text_rows(lines, ","))
    assert [row.cells for row in rows if not row.error] == [["a", "b"], ["1", "2"], ["3", "4"]]
    assert [row.line for row in rows if row.error] == [3]
