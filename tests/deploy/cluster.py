"""A stand-in of Kubernetes' API, which knows secrets of one namespace and records what it is asked."""

import base64
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAMESPACE, TOKEN = "plumbline", "the-token-of-the-account"
PATH = f"/api/v1/namespaces/{NAMESPACE}/secrets"


@dataclass
class StandIn:
    """`port` and `account` are what a pod would have. `meanwhile`: created just before the next POST."""

    port: int
    account: Path
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    forbidden: bool = False
    meanwhile: dict[str, dict[str, str]] = field(default_factory=dict)

    def answer(self, method: str, path: str, token: str | None, body: Any) -> tuple[int, dict[str, Any]]:
        self.asked.append((method, path))
        if token != f"Bearer {TOKEN}":
            return 401, {"message": "Unauthorized"}
        if self.forbidden:
            return 403, {"message": "secrets is forbidden"}
        if method == "POST":
            return self.create(body)
        name = path.removeprefix(f"{PATH}/")
        if name not in self.secrets:
            return 404, {"message": f'secrets "{name}" not found'}
        return 200, self.shown(name)

    def create(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.secrets |= self.meanwhile
        self.meanwhile = {}
        assert (body["apiVersion"], body["kind"], body["type"]) == ("v1", "Secret", "Opaque")
        name = body["metadata"]["name"]
        if name in self.secrets:
            return 409, {"message": f'secrets "{name}" already exists', "reason": "AlreadyExists"}
        self.secrets[name] = body["stringData"]
        return 201, self.shown(name)

    def shown(self, name: str) -> dict[str, Any]:
        data = {key: base64.b64encode(text.encode()).decode() for key, text in self.secrets[name].items()}
        return {"kind": "Secret", "metadata": {"name": name}, "data": data}


def handler(api: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = api.answer(self.command, self.path, self.headers.get("Authorization"), body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


@contextmanager
def api_stand_in(folder: Path) -> Iterator[StandIn]:
    """Serve HTTPS with a certificate of its own, and write the files of a service account to `folder`."""
    key, certificate = folder / "key.pem", folder / "ca.crt"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        capture_output=True,
        check=True,
    )
    (folder / "namespace").write_text(NAMESPACE)
    (folder / "token").write_text(TOKEN)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    api = StandIn(server.server_port, folder)
    server.RequestHandlerClass = handler(api)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield api
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
