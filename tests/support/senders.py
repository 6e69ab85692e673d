"""Clients of ingestion: connections to a chosen web process, and a load that records every answer."""

import http.client
import itertools
import json
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, Self

import psutil

from config.demo.embedded import postgres_answers
from tests.support.portal import Portal, Sender, eventually

JSON = "application/json"
# The gate passes this media type on to the REST view, which treats it as JSON.
UNUSUAL_JSON = "application/json; door=rest"
STAMP = "2020-02-02T12:00:00Z"
PAUSE_SECONDS = 0.02
PATIENCE_SECONDS = 60


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """A persistent connection: the same web process answers every request."""

    def __init__(self, portal: Portal, *, timeout: float = 30) -> None:
        self.link = http.client.HTTPConnection("127.0.0.1", portal.port, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        device_key: str | None = None,
        key: str | None = None,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; a `body` other than bytes is sent as JSON.

        Raises OSError or http.client.HTTPException without an answer.
        """
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Token {token}"
        if device_key is not None:
            sent["Authorization"] = f"Device {device_key}"
        if key is not None:
            sent["Idempotency-Key"] = key
        if body is not None:
            sent["Content-Type"] = content_type
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            self.link.request(method, path, body, sent)
            response = self.link.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, response.read())
        except (OSError, http.client.HTTPException):
            # The next request opens a new connection.
            self.link.close()
            raise

    def post(self, path: str, body: Any, **options: Any) -> Answer:
        return self.send("POST", path, body, **options)


def stats_path(device: Sender) -> str:
    return f"/devices/{device.id}/stats/"


def batch_path(device: Sender) -> str:
    return f"/devices/{device.id}/stats/batch"


def at_once(work: Callable[[int], Any], count: int = 16) -> list[Any]:
    """Call `work` with 0, 1, … on `count` threads at the same moment; return the results."""
    barrier = threading.Barrier(count)

    def wait_and_work(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(wait_and_work, range(count)))


def new_profile(
    portal: Portal, *, allows_future: bool = False, **ranges: tuple[float | None, float | None]
) -> str:
    """Create a profile with these channels and their (minimum, maximum); return its name."""
    name = f"profile-{secrets.token_hex(4)}"
    [(number,)] = portal.query(
        "INSERT INTO devices_deviceprofile (name, description, allows_future)"
        " VALUES (%s, '', %s) RETURNING id",
        name,
        allows_future,
    )
    for position, (channel, (low, high)) in enumerate(ranges.items()):
        portal.query(
            "INSERT INTO devices_channel (profile_id, position, name, unit, kind, minimum, maximum)"
            " VALUES (%s, %s, %s, '', 'gauge', %s, %s)",
            *(number, position, channel, low, high),
        )
    return name


# --- web processes


def web_processes(portal: Portal) -> list[psutil.Process]:
    """The processes that answer requests: children of the web command."""
    found = []
    for process in psutil.Process(portal.child("web").process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if any("spawn_main" in argument for argument in process.cmdline()):
                found.append(process)
    return found


@contextmanager
def paused(processes: Sequence[psutil.Process]) -> Iterator[None]:
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def connection_to(portal: Portal, process: psutil.Process) -> Connection:
    """Connect to this web process by pausing the others. An idle connection lasts 5 s.

    The request that opens it needs no database.
    """
    connection = Connection(portal)
    with paused([other for other in web_processes(portal) if other.pid != process.pid]):
        assert connection.send("GET", "/data").status == 401
    return connection


@contextmanager
def connection_to_each(portal: Portal) -> Iterator[list[Connection]]:
    """A connection to every web process. Raises ConnectionError while there are fewer than two."""
    connections = [connection_to(portal, process) for process in web_processes(portal)]
    if len(connections) < 2:
        raise ConnectionError("A web process is missing.")
    try:
        yield connections
    finally:
        for connection in connections:
            connection.link.close()


def kill_web_process(portal: Portal) -> None:
    """Kill one web process (kill -9); the web command starts another in its place."""
    before = web_processes(portal)
    before[0].kill()
    before[0].wait()


def all_web_processes_answer(portal: Portal) -> bool:
    """Return True once every web process answers, including restarted ones."""
    try:
        with connection_to_each(portal):
            return True
    except (OSError, http.client.HTTPException, psutil.NoSuchProcess):
        return False


def kill_postgres(portal: Portal) -> None:
    """Kill all PostgreSQL processes at once (kill -9), so that none can shut down in an orderly way."""
    first = psutil.Process(portal.child("postgres").process.pid)
    with paused([first]):
        sessions = first.children(recursive=True)
        for session in sessions:
            with suppress(psutil.NoSuchProcess):
                session.kill()
        portal.kill("postgres")


def bring_postgres_back(portal: Portal) -> None:
    portal.start("postgres")
    eventually(lambda: postgres_answers(portal.database_url))


# --- load that records every answer


class Tally(NamedTuple):
    """The fate of a load's readings."""

    acknowledged: int
    stored: int
    # Readings of requests answered with another status or not at all; and how many of these are stored.
    refused: int
    refused_but_stored: int
    lost: int
    doubled: int
    # Number of requests by status; 0: the connection closed without an answer.
    statuses: dict[int, int]


class Load:
    """Senders of every kind, each with its own connection and device, posting as fast as they get answers.

    Each reading has a unique number as its value. Careful senders use an Idempotency-Key and repeat a request
    until it is acknowledged.
    """

    def __init__(self, portal: Portal, *, careless: int = 4, careful: int = 4) -> None:
        self.portal = portal
        self.owner = portal.new_user()
        self.careless = careless
        self.devices = [portal.new_device(self.owner) for _ in range(careless + careful)]
        self.numbers = itertools.count(1)
        self.answers: dict[int, int] = {}
        self.statuses: Counter[int] = Counter()
        self.lock = threading.Lock()
        self.stopping = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        self.stopping.clear()
        with ThreadPoolExecutor(len(self.devices)) as threads:
            futures: list[Future] = [threads.submit(self.send, place) for place in range(len(self.devices))]
            try:
                yield
            finally:
                self.stopping.set()
        for future in futures:
            future.result()

    def send(self, place: int) -> None:
        """Post until stopped; of four senders one posts singles, one batches, one sensors, one unusual."""
        device, kind = self.devices[place], (self.single, self.batch, self.sensors, self.unusual)[place % 4]
        with Connection(self.portal) as connection:
            while not self.stopping.is_set():
                path, numbers, body, options = kind(device)
                if place < self.careless:
                    self.attempt(connection, path, numbers, body, options)
                else:
                    options["key"] = secrets.token_hex(8)
                    attempt = partial(self.attempt, connection, path, numbers, body, options)
                    eventually(attempt)

    def attempt(
        self, connection: Connection, path: str, numbers: list[int], body: Any, options: Mapping[str, Any]
    ) -> bool:
        """Send the request once; return True if it was acknowledged."""
        status = self.answer(connection, path, body, options)
        self.note(numbers, status)
        if status != 201:
            time.sleep(PAUSE_SECONDS)
        return status == 201

    def answer(self, connection: Connection, path: str, body: Any, options: Mapping[str, Any]) -> int:
        try:
            return connection.post(path, body, **options).status
        except (OSError, http.client.HTTPException):
            return 0

    def note(self, numbers: list[int], status: int) -> None:
        with self.lock:
            self.statuses[status] += 1
            for number in numbers:
                self.answers[number] = status

    def single(self, device: Sender) -> tuple[str, list[int], Any, dict[str, Any]]:
        number = next(self.numbers)
        return stats_path(device), [number], reading(number), {"device_key": device.key}

    def unusual(self, device: Sender) -> tuple[str, list[int], Any, dict[str, Any]]:
        path, numbers, body, options = self.single(device)
        return path, numbers, body, options | {"content_type": UNUSUAL_JSON}

    def batch(self, device: Sender) -> tuple[str, list[int], Any, dict[str, Any]]:
        numbers = [next(self.numbers) for _ in range(20)]
        return batch_path(device), numbers, [reading(n) for n in numbers], {"device_key": device.key}

    def sensors(self, _: Sender) -> tuple[str, list[int], Any, dict[str, Any]]:
        numbers = [next(self.numbers) for _ in range(20)]
        items = [{"sensor": f"s{n % 7}", "timestamp": STAMP, "value": n} for n in numbers]
        return "/data", numbers, items, {"token": self.owner.token}

    def stored(self) -> Counter[int]:
        rows = self.portal.query(
            "SELECT values[1], count(*) FROM devices_reading JOIN devices_device d ON d.id = device_id"
            " WHERE d.owner_id = %s GROUP BY 1",
            self.owner.id,
        )
        return Counter({int(number): count for number, count in rows})

    def tally(self) -> Tally:
        """Count the readings; call it while the load is not running."""
        stored = self.stored()
        acknowledged = {number for number, status in self.answers.items() if status == 201}
        refused = self.answers.keys() - acknowledged
        return Tally(
            acknowledged=len(acknowledged),
            stored=stored.total(),
            refused=len(refused),
            refused_but_stored=len(refused & stored.keys()),
            lost=len(acknowledged - stored.keys()),
            doubled=sum(count - 1 for count in stored.values()) + len(stored.keys() - self.answers.keys()),
            statuses=dict(sorted(self.statuses.items())),
        )


def reading(number: int) -> dict[str, Any]:
    return {"x": number, "y": 0, "z": 0, "timestamp": STAMP}
