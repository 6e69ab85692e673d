"""The web server's entry: Django on WSGI threads, whose database connections stay open, behind ASGI."""

import multiprocessing
import os

from a2wsgi import WSGIMiddleware
from django.core.wsgi import get_wsgi_application

from config.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
THREADS = 8
# More than any route takes: what is larger is refused by its length.
LARGEST_BODY = 6 * 1024 * 1024

# One of uvicorn's several processes must not go on, holding the port, when the first was killed.
first_process = multiprocessing.parent_process()
if first_process is not None:
    die_with_parent(parent=first_process.pid)

django_application = WSGIMiddleware(get_wsgi_application(), workers=THREADS)


async def application(scope, receive, send) -> None:
    if scope["type"] == "http":
        names = {name for name, _ in scope["headers"]}
        if names & {b"transfer-encoding", b"content-length"}:
            received = await with_whole_body(scope, receive)
            if received is None:
                return
            scope, receive = received
        await django_application(scope, receive, send)
    elif scope["type"] == "lifespan":
        await lifespan(receive, send)


async def with_whole_body(scope, receive):
    """The request with its whole body and that body's length; None if the client went away.

    Read before a thread is taken: a few clients that send slowly would hold all of them. A body that is too
    large is not read, but Django sees its length and refuses it.
    """
    headers = [(name, value) for name, value in scope["headers"] if name != b"transfer-encoding"]
    length = next((int(value) for name, value in headers if name == b"content-length"), None)
    body, is_whole = bytearray(), length is not None and length > LARGEST_BODY
    while not is_whole and len(body) <= LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        is_whole = not message.get("more_body", False)
    if length is None:
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
