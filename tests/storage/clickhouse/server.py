"""ClickHouse over HTTP for tests: the engine chDB behind the part of the interface that the portal uses.

Run it with `python -m tests.storage.clickhouse.server PORT FOLDER`. It runs one statement at a time.
"""

import sys
import tempfile
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

import chdb

LINE_END = b"\n"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    engine: Any
    lock = Lock()

    def do_GET(self) -> None:
        self.answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        fields = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get_content_type() == "multipart/form-data":
            head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
            for part in message_from_bytes(head + body).get_payload():
                name = part.get_param("name", header="Content-Disposition")
                fields[name] = part.get_payload(decode=True).decode()
            body = b""
        try:
            self.answer(200, self.run(fields, body))
        except RuntimeError as error:
            self.answer(500, str(error).encode())

    def run(self, fields: dict[str, str], body: bytes) -> bytes:
        statement = fields.pop("query", "").encode() or body
        parameters = {name[6:]: value for name, value in fields.items() if name.startswith("param_")}
        with self.lock:
            self.engine.query(f"USE {fields.get('database', 'default')}")
            self.engine.query(f"SET max_execution_time = {fields.get('max_execution_time', 0)}")
            if statement.startswith(b"INSERT"):
                return self.insert(statement, fields)
            return self.engine.query(statement.decode(), "TabSeparated", params=parameters).bytes() or b""

    def insert(self, statement: bytes, fields: dict[str, str]) -> bytes:
        """Insert the rows that follow the statement's first line."""
        line, _, rows = statement.partition(LINE_END)
        into, _, format_name = line.decode().rpartition(" FORMAT ")
        names = ("insert_deduplication_token", "insert_deduplicate", "max_partitions_per_insert_block")
        settings = ", ".join(f"{name} = '{fields[name]}'" for name in names)
        with tempfile.NamedTemporaryFile() as file:
            file.write(rows)
            file.flush()
            self.engine.query(f"{into} FROM INFILE '{file.name}' SETTINGS {settings} FORMAT {format_name}")
        return b""

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status != 200:
            code = body.decode().partition("Code: ")[2].partition(".")[0]
            self.send_header("X-ClickHouse-Exception-Code", code or "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def main() -> None:
    port, folder = sys.argv[1:]
    Handler.engine = chdb.connect(str(Path(folder)))
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
