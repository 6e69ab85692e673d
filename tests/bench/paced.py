"""Sends requests at an even pace over a pool of connections, whether the server keeps up or not.

If a request is due while all connections wait for answers, the first free one sends it; its latency counts
from when it was due. Requests still unsent at the end are dropped, which lowers the rate. load.py runs this
program, which prints a line of figures.
"""

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import uvloop

DRAIN_SECONDS = 20


class Pace:
    """The requests that are due, and the free connections."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests = requests
        self.due: deque[float] = deque()
        self.free: list[Connection] = []
        self.sent = self.refused = self.failed = 0
        self.latencies: list[float] = []
        self.last_answer = 0.0

    def send(self) -> None:
        while self.due and self.free:
            self.free.pop().send(self.requests[self.sent % len(self.requests)], self.due.popleft())
            self.sent += 1

    def answered(self, connection: "Connection", status: int) -> None:
        self.last_answer = time.perf_counter()
        self.latencies.append(self.last_answer - connection.due)
        self.refused += status != 201
        self.free.append(connection)
        self.send()

    async def keep(self, rate: int, seconds: float) -> None:
        began = time.perf_counter()
        for number in range(round(rate * seconds)):
            due = began + number / rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self.due.append(due)
            self.send()
        self.due.clear()
        deadline = time.perf_counter() + DRAIN_SECONDS
        while len(self.latencies) < self.sent and time.perf_counter() < deadline:
            await asyncio.sleep(0.01)
        milliseconds = np.array(self.latencies) * 1000
        figures = {
            "sent": self.sent,
            "answered": len(self.latencies),
            "refused": self.refused,
            "failed": self.failed,
            "seconds": self.last_answer - began,
            "mean": milliseconds.mean(),
            "p50": np.percentile(milliseconds, 50),
            "p99": np.percentile(milliseconds, 99),
        }
        print("figures", json.dumps(figures))  # noqa: T201  what load.py reads


class Connection(asyncio.Protocol):
    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.received = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.pace.free.append(self)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        if end and len(body) == int(length):
            self.received = b""
            self.pace.answered(self, int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        self.pace.failed += 1


async def main(port: int, requests: list[bytes], rate: int, seconds: float, connections: int) -> None:
    pace = Pace(requests)
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Connection(pace), "127.0.0.1", port)
    await pace.keep(rate, seconds)


def read_requests(path: Path) -> list[bytes]:
    requests = []
    with path.open("rb") as file:
        while length := file.readline():
            requests.append(file.read(int(length)))
    return requests


if __name__ == "__main__":
    port, path, rate, seconds, connections = sys.argv[1:]
    uvloop.run(main(int(port), read_requests(Path(path)), int(rate), float(seconds), int(connections)))
