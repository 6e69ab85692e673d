"""The web server's entry. A request passes along this chain, and any part may answer it:

- `protocol`: parses HTTP, or hands a request with a known head straight to the gate;
- `application`, this module: owns the parts that live as long as the process;
- `static`: sends static files;
- `devices.ingestion.gate`: takes ordinary ingestion POSTs;
- `bodies`: bounds and collects request bodies;
- `threads`: runs Django's WSGI handler on a thread, or on the event loop if it need not wait;
- Django.
"""

import asyncio
import gc
import json
import logging
import multiprocessing
import os
from http import HTTPStatus
from importlib import import_module

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Loads Django, so it comes before the imports that need its settings.
handler = get_wsgi_application()

from django.conf import settings  # noqa: E402

from config.asgi.bodies import MAX_HELD_BYTES, Bodies, Refusal  # noqa: E402
from config.asgi.connections import Connections, within_files  # noqa: E402
from config.asgi.protocol import PatientProtocol  # noqa: E402
from config.asgi.statements import bound_statements  # noqa: E402
from config.asgi.static import StaticSender  # noqa: E402
from config.asgi.threads import OnThreads  # noqa: E402
from config.demo import clients  # noqa: E402
from config.middleware import HEADERS  # noqa: E402
from config.problems import problem_body  # noqa: E402
from config.processes import die_with_parent  # noqa: E402
from devices.access import rate_limit  # noqa: E402
from devices.ingestion import group_commit  # noqa: E402
from devices.ingestion.asgi import (  # noqa: E402
    REQUEST_ID,
    Receive,
    Send,
    current_request_id,
    request_id,
    request_state,
)
from devices.ingestion.gate import Gate  # noqa: E402

logger = logging.getLogger(__name__)

# Each thread keeps a database connection.
THREADS = 8
LIVENESS = {(method, path, b"") for method in ("GET", "HEAD") for path in ("/livez", "/livez/")}

# When uvicorn's first process is killed, the others must not live on and hold the port.
first_process = multiprocessing.parent_process()
if first_process is not None:
    die_with_parent(parent=first_process.pid)

standing_headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def problem(status: int, detail: str, request_id: str = "") -> bytes:
    body = problem_body(status, detail, request_id=request_id)
    return json.dumps(body, separators=(",", ":")).encode()


class Answer:
    """A `send` that adds the request's id to the headers of the answer."""

    def __init__(self, own_id: bytes, send: Send) -> None:
        self.own_id = own_id
        self.send = send
        self.has_begun = False

    async def __call__(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            message = message | {"headers": [*message["headers"], (REQUEST_ID, self.own_id)]}
        await self.send(message)


bound_statements()
# The views, which Django would load with the first request.
import_module(settings.ROOT_URLCONF)
# All objects loaded so far stay: collecting garbage among them took a third of the time of large batches.
gc.freeze()


async def answer_alive(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": standing_headers})
    await send({"type": "http.response.body", "body": b""})


class Application:
    """The ASGI application of a server process: owns group commit, rate limiter, gate and bodies."""

    gate: Gate
    bodies: Bodies
    static: StaticSender

    async def __call__(self, scope: dict, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            own_id = request_id(scope["headers"])
            current_request_id.set(own_id.decode())
            await self.answer(scope, receive, Answer(own_id, send))
        elif scope["type"] == "lifespan":
            await self.lifespan(receive, send)

    async def answer(self, scope: dict, receive: Receive, send: Answer) -> None:
        """Have the request answered; never raises before the answer has begun, except when stopped."""
        try:
            await self.pass_on(scope, receive, send)
        except Refusal as refusal:
            await self.bodies.refuse(refusal, scope, receive, send)
        except Exception:  # whatever it is, its answer has the headers of all others
            if send.has_begun:
                raise
            logger.exception("%s %s failed.", scope["method"], scope["path"])
            detail = "Something went wrong. The error was logged."
            fault = Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, detail, is_sending=False)
            await self.bodies.refuse(fault, scope, receive, send)
        finally:
            self.bodies.release(request_state(scope))

    async def pass_on(self, scope: dict, receive: Receive, send: Send) -> None:
        hosts = len([name for name, _ in scope["headers"] if name == b"host"])
        if hosts > 1 or (hosts == 0 and scope["http_version"] == "1.1"):
            raise Refusal(HTTPStatus.BAD_REQUEST, "A request needs one Host header.")
        if not self.is_near(scope):
            # Django refuses it; what is before it would not.
            await self.bodies(scope, receive, send)
        # Django would answer the same, but on a thread, and all of these may wait for a database.
        elif (scope["method"], scope["path"], scope["query_string"]) in LIVENESS:
            await answer_alive(send)
        elif not await self.static.answer(scope, send):
            await self.gate(scope, receive, send)

    def is_near(self, scope: dict) -> bool:
        return not settings.DEMO or clients.is_near(scope["client"][0] if scope["client"] else "")

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        loop = asyncio.get_running_loop()
        group_commit.current = group_commit.GroupCommit(loop)
        rate_limit.current = rate_limit.RateLimiter(loop, settings.CACHE_URL, settings.INGEST_RATE_PER_MINUTE)
        self.static = StaticSender(standing_headers, problem)
        self.bodies = Bodies(OnThreads(handler, THREADS), standing_headers, problem)
        self.gate = Gate(self.bodies, group_commit.current, rate_limit.current, standing_headers, problem)
        PatientProtocol.gate = self.gate
        PatientProtocol.write_seconds = settings.WRITE_SECONDS
        PatientProtocol.most_waiting_bytes = MAX_HELD_BYTES
        PatientProtocol.lets_in = clients.is_near if settings.DEMO else None
        PatientProtocol.places = Connections(
            within_files(settings.CONNECTIONS), is_behind_proxy=settings.TRUSTED_PROXIES > 0
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # uvicorn has let all requests end by now; rows of clients that left may still wait.
        await group_commit.current.close()
        await rate_limit.current.close()
        await self.gate.close()
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
