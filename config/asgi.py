"""The web server's entry: Django on WSGI threads, whose database connections stay open, behind ASGI."""

import multiprocessing
import os

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

from config.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
THREADS = 8
# More than any route takes: what is larger is refused by its length.
CHUNKED_BYTES = 6 * 1024 * 1024

# One of uvicorn's several processes must not go on, holding the port, when the first was killed.
first_process = multiprocessing.parent_process()
if first_process is not None:
    die_with_parent(parent=first_process.pid)

django_application = WSGIMiddleware(get_wsgi_application(), workers=THREADS)


async def application(scope, receive, send) -> None:
    if scope["type"] == "http":
        if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            scope, receive = await with_length(scope, receive)
        await django_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await lifespan(receive, send)


async def with_length(scope, receive):
    """A chunked request as one whose length is known: Django takes the body of no other."""
    body, is_whole = bytearray(), False
    while not is_whole and len(body) <= CHUNKED_BYTES:
        message = await receive()
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
    headers = [header for header in scope["headers"] if header[0] != b"transfer-encoding"]
    headers.append((b"content-length", str(len(body)).encode()))
    messages = iter([{"type": "http.request", "body": bytes(body), "more_body": False}])

    async def receive_known():
        return next(messages, None) or await receive()

    return {**scope, "headers": headers}, receive_known


async def lifespan(receive, send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
