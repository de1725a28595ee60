"""A real web server on this machine that keeps what is posted to it, and answers as it is told."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


@dataclass
class Posted:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class PostBox:
    """``answers`` are used up in turn: a status, or status and headers; without one it is 200. Use it in a ``with``."""

    def __init__(self, *answers: Any, certificate: tuple[Path, Path] | None = None) -> None:
        self.answers = list(answers)
        self.posted: list[Posted] = []
        box = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                answer = box.answers.pop(0) if box.answers else 200
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                if status == "silence":
                    box.silent.wait(20)
                    return
                if status != 413:  # too big: it does not even read it
                    box.posted.append(Posted("POST", self.path, dict(self.headers), self.rfile.read(length)))
                self.send_response(status)
                for name, value in {"Content-Length": "0", "Connection": "close", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.silent = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
