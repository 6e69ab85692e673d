"""The README's own commands, run as a newcomer would: in one shell, against the demo."""

import re
import subprocess
from pathlib import Path

from tests.support.demo import demo, free_port

README = Path(__file__).parents[2] / "README.md"


def commands() -> str:
    """The README's `sh` blocks, each announced by a line of output."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 6
    return "".join(f"echo; echo BLOCK {i}\n{block}" for i, block in enumerate(blocks))


def test_the_main_job_as_written(open_folder: Path):
    with demo(open_folder / "data", free_port()) as running:
        script = "set -eu\n" + commands().replace("http://127.0.0.1:8080", running.url)
        shell = ["bash", "-c", script]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    _setup, _register, *shown = done.stdout.split("BLOCK ")[1:]
    post, analyse, days, exclusion, series, fleet, many, bad, calculate, activity = shown
    assert post.count('{"status":"ok"}') == 3
    assert '"x":2.5' in post
    assert '"x":{"count":3,"min":1.5,"max":8.0,"sum":12.0,"avg":4.0,"median":2.5}' in analyse
    assert '"start":"2026-11-01T11:00:00Z"' in analyse
    assert '"percent":100.0,"gaps":0,"longest_gap":null}' in analyse
    assert '"percentiles":{"5":' in days
    assert '"start":"2026-10-31T23:00:00Z","end":"2026-11-01T23:00:00Z","seconds":86400.0' in days
    assert exclusion.count('"reason":"Sensor was being cleaned"') == 2
    assert '"count":[1,' in series
    assert '"aggregate":{"x":{"count":3,"min":1.5,"max":8.0,"sum":12.0,"avg":4.0,"median":2.5}' in fleet
    assert '{"accepted":2,"rejected":[]}' in many
    assert '{"last_measurement":"2026-11-02T08:00:00Z","count":1,"avg":61.5}' in many
    assert '"field":"x","message":"Must be a finite number."' in bad
    assert '"field":"y","message":"Must be a number."' in bad
    assert '"field":"z","message":"Is missing."' in bad
    assert '{"accepted":1,"rejected":[{"index":1,"message":"login: There is no such user."}]}' in activity
    assert '"post_header":"Frost","post_author_login":"ada","total_comments":1' in activity
    assert "2019-05-01,0,0,0" in activity
    assert '"name":"Well 7"' in calculate
    assert '"seed":42' in calculate
    assert "date,liquid,oil,water,wct\n2026-01-01," in calculate
    assert "the same table" in calculate
