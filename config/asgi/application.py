"""The web server's entry: ordinary readings through the gate, all else to Django on threads behind it."""

import asyncio
import gc
import json
import multiprocessing
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Loads Django, so it stands before what needs the settings.
handler = get_wsgi_application()

from django.conf import settings  # noqa: E402

from config.asgi.bodies import Bodies  # noqa: E402
from config.asgi.protocol import PatientProtocol  # noqa: E402
from config.asgi.threads import OnThreads  # noqa: E402
from config.middleware import HEADERS  # noqa: E402
from config.problems import problem_body  # noqa: E402
from config.processes import die_with_parent  # noqa: E402
from devices.access import rate_limit  # noqa: E402
from devices.ingestion import group_commit  # noqa: E402
from devices.ingestion.gate import Gate  # noqa: E402

# The threads keep their database connections.
THREADS = 8

# One of uvicorn's several processes must not go on, holding the port, when the first was killed.
first_process = multiprocessing.parent_process()
if first_process is not None:
    die_with_parent(parent=first_process.pid)

standing_headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def problem(status: int, detail: str) -> bytes:
    return json.dumps(problem_body(status, detail), separators=(",", ":")).encode()


# What is loaded by now stays: searching it for garbage took a third of the time of decoding large batches.
gc.freeze()


class Application:
    """Owns what lives as long as a server process: group commit, limits, and the gate in front of Django."""

    gate: Gate

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            await self.gate(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.lifespan(receive, send)

    async def lifespan(self, receive, send) -> None:
        await receive()
        loop = asyncio.get_running_loop()
        group_commit.current = group_commit.GroupCommit(loop)
        rate_limit.current = rate_limit.RateLimiter(loop, settings.CACHE_URL, settings.INGEST_RATE_PER_MINUTE)
        bodies = Bodies(OnThreads(handler, THREADS), standing_headers, problem)
        self.gate = Gate(bodies, group_commit.current, rate_limit.current, standing_headers, problem)
        PatientProtocol.gate = self.gate
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # uvicorn has let all requests end by now; this answers for what they left.
        await group_commit.current.close()
        await rate_limit.current.close()
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
