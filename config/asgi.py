"""The web server's entry: Django on WSGI threads, whose database connections stay open, behind ASGI."""

import multiprocessing
import os

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

from config.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
THREADS = 8

# One of uvicorn's several processes must not go on, holding the port, when the first was killed.
first_process = multiprocessing.parent_process()
if first_process is not None:
    die_with_parent(parent=first_process.pid)

django_application = WSGIMiddleware(get_wsgi_application(), workers=THREADS)


async def application(scope, receive, send) -> None:
    if scope["type"] == "http":
        await django_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await lifespan(receive, send)


async def lifespan(receive, send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
