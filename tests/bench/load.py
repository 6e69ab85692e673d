"""Load generators, each for a bounded time: wrk, an even pace, pgbench, psql's COPY."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
# Time beyond that of sending, for the start and the last answers.
SPARE_SECONDS = 30
CONNECT_SECONDS = 1
PACED_CONNECTIONS = 64


class Failed(Exception):
    """The figures of a round are invalid; the message says why."""


@dataclass(frozen=True)
class Figures:
    """A contender's figures of one round: readings acknowledged, readings per second, latencies in ms."""

    count: int
    rate: float
    mean: float | None = None
    p50: float | None = None
    p99: float | None = None


def post(path: str, authorization: str, content_type: str, body: bytes) -> bytes:
    """The bytes of an HTTP request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        *([f"Authorization: {authorization}"] if authorization else []),
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def requests_file(folder: Path, requests: Sequence[bytes]) -> Path:
    """Write a file for load.lua and paced.py: each request follows a line with its length."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="requests-", delete=False) as file:
        for request in requests:
            file.write(b"%d\n%s" % (len(request), request))
    return Path(file.name)


def wrk(port: int, requests: Path, *, connections: int, seconds: float) -> Figures:
    """Send as many requests as the server takes."""
    options = ["-t1", f"-c{connections}", f"-d{seconds + SPARE_SECONDS:.0f}s", f"--timeout={SPARE_SECONDS}s"]
    arguments = [requests, seconds, connections]
    argv = ["wrk", *options, "-s", HERE / "load.lua", f"http://127.0.0.1:{port}/", "--", *arguments]
    return figures(run(argv, seconds=seconds + 2 * SPARE_SECONDS))


def paced(port: int, requests: Path, *, rate: int, seconds: float) -> Figures:
    """Send `rate` requests per second even if the server falls behind; latencies count from due times."""
    argv = [sys.executable, HERE / "paced.py", port, requests, rate, seconds, PACED_CONNECTIONS]
    return figures(run(argv, seconds=seconds + 2 * SPARE_SECONDS))


def figures(output: str) -> Figures:
    """Parse the line that load.lua and paced.py print. Raises Failed unless all answers were 201."""
    found = re.search(r"^figures (.*)$", output, re.MULTILINE)
    if found is None:
        raise Failed(f"The load generator printed no figures.\n{output}")
    told = json.loads(found[1])
    if told["refused"] or told["failed"] or told["answered"] != told["sent"]:
        raise Failed(f"Not every request was answered 201: {told}")
    rate = told["answered"] / told["seconds"]
    return Figures(told["answered"], rate, told.get("mean"), told["p50"], told["p99"])


def pgbench(program: Path, database: Mapping[str, str], script: Path, *, seconds: float) -> Figures:
    """Insert one row per transaction: the database's speed without a web server in front."""
    # pgbench's running time, but not its rate, includes connecting.
    time = f"--time={seconds + CONNECT_SECONDS:.0f}"
    options = ["--no-vacuum", "--protocol=prepared", "--client=64", "--jobs=2", time]
    output = run([program, *options, f"--file={script}"], seconds=seconds + SPARE_SECONDS, env=database)
    found = re.search(r"actually processed: (\d+)$.*^tps = ([\d.]+)", output, re.MULTILINE | re.DOTALL)
    if found is None:
        raise Failed(f"pgbench printed no figures.\n{output}")
    return Figures(int(found[1]), float(found[2]))


def copy(program: Path, database: Mapping[str, str], table: str, file: Path, *, seconds: float) -> Figures:
    """Load the file by psql's COPY again and again, one transaction each time."""
    argv = [program, "--no-psqlrc", "-c", "\\timing on", "-c", f"\\copy {table} from '{file}'"]
    count, milliseconds = 0, 0.0
    while milliseconds < seconds * 1000:
        output = run(argv, seconds=SPARE_SECONDS, env=database)
        found = re.search(r"^COPY (\d+)\nTime: ([\d.]+) ms", output, re.MULTILINE)
        if found is None:
            raise Failed(f"psql printed no figures.\n{output}")
        count, milliseconds = count + int(found[1]), milliseconds + float(found[2])
    return Figures(count, count * 1000 / milliseconds)


def run(argv: Sequence[object], *, seconds: float, env: Mapping[str, str] | None = None) -> str:
    """Run a program and return its output. Raises Failed if it fails or takes longer than `seconds`."""
    try:
        words = [str(part) for part in argv]
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{argv[0]} took longer than {seconds:.0f} s.") from error
    if done.returncode != 0:
        raise Failed(f"{argv[0]} ended with code {done.returncode}.\n{done.stdout}{done.stderr}")
    return done.stdout
