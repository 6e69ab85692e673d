"""The command as a process of its own: killed, and with large files."""

import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings

from tests.files.command import stamp
from tests.support.portal import Portal, Sender, eventually


class TestProcess:
    MANAGE = settings.BASE_DIR / "manage.py"
    # Prints the peak memory of the process, in KiB, after the output of the command.
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
            done = eventually(partial(self.progress, portal, path, done))
            process.kill()
            assert process.wait() == -signal.SIGKILL
            assert done < lines
        assert (
            portal.manage("import_readings", str(path), "--device", sender.id)
            == "Stored: 60\u202f000 readings.\n"
        )
        assert self.contents(portal, sender) == [(lines, lines, sum(range(lines)))]

    def progress(self, portal: Portal, path: Path, before: int) -> int:
        """Return the number of stored lines once it exceeds `before`."""
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
