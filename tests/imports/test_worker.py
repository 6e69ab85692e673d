"""Imports by a real worker: killed in the middle, and files of any size in bounded memory."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from django.conf import settings

from tests.pages.browser import Account, account_of
from tests.support.portal import Portal, Sender, eventually

START = datetime(2026, 3, 4, tzinfo=UTC)
ROWS = 60_000
# Reads, splits and checks a file of so many rows that is made as it is read. Prints the number of good ones
# and the peak of memory, in KiB.
MEASURED = """
import django, io, sys
django.setup()
from datetime import datetime, timezone
from zoneinfo import ZoneInfo
from devices.access.grants import Target
from devices.imports import stored_rows, work
from devices.imports.tables import content
from devices.imports.checking import RowChecker
from devices.imports.options import Options

class Lines(io.RawIOBase):
    def __init__(self, count):
        self.left, self.rest, self.count = count, b"time;x;y\\r\\n", count
    def readable(self): return True
    def seek(self, *a): return 0
    def readinto(self, buffer):
        while self.left and len(self.rest) < len(buffer):
            n = self.count - self.left
            few = min(self.left, 1000)
            self.rest += b"".join(b"04.03.2026 %02d:%02d:%02d;%d,5;-%d\\r\\n" % (
                i // 3600 % 24, i // 60 % 60, i % 60, i, i) for i in range(n, n + few))
            self.left -= few
        piece, self.rest = self.rest[:len(buffer)], self.rest[len(buffer):]
        buffer[:len(piece)] = piece
        return len(piece)

class Unmarked(io.BufferedReader):
    # The start of a file that is made as it is read cannot be read twice.
    def read(self, size=-1): return b"time" if size == 4 else super().read(size)
    def seek(self, *a): return 0

options = Options(separator=";", decimal=",", order="day", roles=["time", "channel x", "channel y"])
infinity = float("inf")
device = Target(1, ("x", "y"), (-infinity,) * 2, (infinity,) * 2, ZoneInfo("Europe/Berlin"))
now = datetime(2026, 11, 27, tzinfo=timezone.utc)
checker = RowChecker(options, device, None, 3, now)
good = 0
for rows in work.in_blocks(content.open_table(Unmarked(Lines(int(sys.argv[1]))), options).rows):
    found = checker.check(work.unpack_cells(work.pack_cells(rows)))
    stored_rows.pack(found.rows)
    good += len(found.rows.times)
print(good, *(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def table(rows: int) -> str:
    lines = (f"{START + i * timedelta(seconds=1):%d.%m.%Y %H:%M:%S};{i},5;0;{-i}" for i in range(rows))
    return "\n".join(["Zeit;x;y;z", *lines, "gestern;1;2;3"])


class Pages:
    """A person's session on the pages, without a browser."""

    def __init__(self, portal: Portal, account: Account) -> None:
        self.portal = portal
        self.session = requests.Session()
        self.session.trust_env = False
        self.post("/portal/login/", {"username": account.login, "password": account.password})

    def post(self, path: str, fields: dict[str, str], **options) -> str:
        """Send a page's form; return the address to which it leads."""
        url = path if path.startswith("http") else self.portal.url + path
        page = self.session.get(url, timeout=60).text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        sent = {**fields, "csrfmiddlewaretoken": token}
        answer = self.session.post(url, sent, allow_redirects=False, timeout=60, **options)
        assert answer.status_code == 302, answer.text
        return self.portal.url + answer.headers["Location"]

    def start_import(self, content: str, device: Sender) -> str:
        """Upload, choose the device and start; returns the import's id."""
        url = self.post("/portal/import/", {}, files={"file": ("log.csv", content.encode())})
        common = {
            "separator": ";",
            "encoding": "utf-8-sig",
            "header_row": "1",
            "decimal": ",",
            "order": "day",
        }
        common |= {"unit": "s", "zone": "UTC", "repeats": "skip", "device": device.id, "role_0": "time"}
        self.post(url, {**common, "apply": ""})
        self.post(
            url, {**common, **{f"role_{i}": f"channel {c}" for i, c in enumerate("xyz", 1)}, "start": ""}
        )
        return url.rstrip("/").rpartition("/")[2]


@pytest.fixture
def pages(portal: Portal) -> Pages:
    return Pages(portal, account_of(portal, portal.new_user("staff")))


def row(portal: Portal, pk: str) -> tuple:
    [found] = portal.query(
        "SELECT job, status, rows_done, stored, repeated, faulty, undone FROM imports_upload WHERE id = %s",
        pk,
    )
    return found


def contents(portal: Portal, device: Sender) -> list[tuple]:
    return portal.query(
        "SELECT count(*), count(DISTINCT r.time), sum(r.values[3]) FROM devices_reading r"
        " JOIN devices_device d ON d.id = r.device_id WHERE d.uuid = %s",
        device.id,
    )


def kill_in_the_middle(portal: Portal, pk: str, column: str) -> None:
    def is_under_way() -> bool:
        [(done, status)] = portal.query(f"SELECT {column}, status FROM imports_upload WHERE id = %s", pk)
        return done > 0 and status == "running"

    eventually(is_under_way)
    portal.kill("worker")
    assert row(portal, pk)[1] in ("running", "queued")
    # As if DEAD_AFTER had passed.
    portal.query("UPDATE imports_upload SET heartbeat_at = now() - interval '1 hour' WHERE id = %s", pk)
    portal.start("worker")


def test_an_import_and_its_undo_survive_killed_workers(portal: Portal, device: Sender, pages: Pages) -> None:
    portal.post_reading(device, x=1, y=2, z=0.5, timestamp="2026-03-05T00:00:00.5Z")
    try:
        pk = pages.start_import(table(ROWS), device)
        kill_in_the_middle(portal, pk, "rows_done")
        eventually(lambda: row(portal, pk)[1] == "finished")
        assert row(portal, pk) == ("import", "finished", ROWS + 1, ROWS, 0, 1, 0)
        assert contents(portal, device) == [(ROWS + 1, ROWS + 1, 0.5 - sum(range(ROWS)))]

        again = pages.start_import(table(ROWS), device)
        eventually(lambda: row(portal, again)[1] == "finished")
        assert row(portal, again)[3:5] == (0, ROWS)

        token = pages.session.get(f"{portal.url}/portal/import/{pk}/", timeout=60).text
        assert "Undo this import" in token
        csrf = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', token)[1]
        undo = f"{portal.url}/portal/import/{pk}/undo/"
        pages.session.post(undo, {"csrfmiddlewaretoken": csrf}, timeout=60)
        kill_in_the_middle(portal, pk, "undone")
        eventually(lambda: row(portal, pk)[:2] == ("undo", "finished"))
        assert row(portal, pk)[6] == ROWS
        assert contents(portal, device) == [(1, 1, 0.5)]
    finally:
        portal.start_all()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_many_rows_take_no_more_memory_than_some() -> None:
    peaks = []
    for rows in (20_000, 300_000):
        argv = (sys.executable, "-c", MEASURED, str(rows))
        done = subprocess.run(argv, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
        good, peak = done.stdout.split() or pytest.fail(done.stderr)
        assert int(good) == rows
        peaks.append(int(peak))
    # The least that Python keeps for a row, a number in a list, would be more.
    assert peaks[1] < peaks[0] + 8 * 1024
