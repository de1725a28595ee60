"""Signed and installed models, a device that takes them, and an HTTPS server of this machine that has them too."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from edge.detect.card import Card
from edge.minisign import ENDING, SecretKey
from edge.model_store import LOCK, UPDATING, Entry, Installed, ModelStore
from edge.phone.authority import LOOPBACK, identity
from edge.update.comments import comment_of_key, comment_of_model
from tests.helpers.tiny import model_bytes, tiny_card

SERIAL = 5  # the highest that the device has accepted, of models and of keys


def tiny_named(name: str) -> Card:
    """Return the tiny model's card with another name: another file for each."""
    return replace(tiny_card(), name=name)


def tiny_entry(name: str = "tiny", **more: Any) -> tuple[bytes, Entry]:
    """Return the bytes of a tiny model, and its entry."""
    data = model_bytes(tiny_named(name))
    digest = hashlib.sha256(data).hexdigest()
    return data, Entry(digest, f"{name}@{digest[:12]}", **more)


def put(
    store: ModelStore, data: bytes, change: Callable[[Installed], Installed], entry: Entry, signature: str | None = None
) -> Installed:
    """Bring a model's bytes into a store as an update does; return the list."""
    with store.updating():
        part = store.folder / "new.part"
        part.write_bytes(data)
        return store.put(part, entry, signature, change)


def current(store: ModelStore, name: str = "tiny", **more: Any) -> Entry:
    """Have a tiny model in use for long."""
    data, entry = tiny_entry(name, **more)
    put(store, data, lambda held: replace(held.used(entry), proven=True), entry)
    return entry


def waiting(store: ModelStore, name: str = "new", **more: Any) -> Entry:
    """Have a tiny model wait."""
    data, entry = tiny_entry(name, **more)
    put(store, data, lambda held: replace(held, waiting=entry), entry)
    return entry


def trusting(store: ModelStore, key: SecretKey) -> None:
    """Have a key trusted."""
    store.change(lambda held: replace(held, keys=(key.public.line,)))


def beside(file: Path) -> Path:
    """Return where a file's signature lies."""
    return file.with_name(file.name + ENDING)


def signed(file: Path, comment: str, key: SecretKey) -> Path:
    """Write a file's signature beside it."""
    beside(file).write_text(key.sign(file, comment).text)
    return file


def signed_model(
    file: Path, key: SecretKey, serial: int, card: Card, data: bytes | None = None, comment: str | None = None
) -> str:
    """Write a tiny model with a card, or other ``data``, and its signature; return its name as events have it."""
    file.write_bytes(model_bytes(card) if data is None else data)
    name = f"{card.name}@{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
    digest = hashlib.sha256(card.to_json().encode()).hexdigest()
    signed(file, comment or comment_of_model(name, serial, digest), key)
    return name


def offer(folder: Path, key: SecretKey) -> str:
    """Write a signed tiny model, ``new``, with the serial 1 into a folder; return its name as events have it."""
    folder.mkdir(exist_ok=True)
    return signed_model(folder / "new.onnx", key, 1, tiny_named("new"))


def signed_key(file: Path, new: SecretKey, key: SecretKey, serial: int) -> Path:
    """Write a public key and its signature by another key."""
    file.write_text(new.public.text)
    return signed(file, comment_of_key(new.public.name, serial), key)


class SignedModels:
    """A device that trusts one key, and a folder for what is brought to it."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.store = ModelStore(self.state / "models")
        self.key = SecretKey.new()
        self.stick = folder / "stick"
        self.stick.mkdir(parents=True)
        self.store.change(lambda held: replace(held, keys=(self.key.public.line,), serial=SERIAL, key_serial=SERIAL))
        with self.store.updating():
            pass

    def model(
        self,
        serial: int = SERIAL + 1,
        *,
        name: str = "bear.onnx",
        card: Card | None = None,
        data: bytes | None = None,
        comment: str | None = None,
        key: SecretKey | None = None,
    ) -> Path:
        """Write a signed model to the stick; its card says the serial, so that each one is another file."""
        file = self.stick / name
        signed_model(
            file, key or self.key, serial, card or replace(tiny_card(), licence=f"CC0 {serial}"), data, comment
        )
        return file

    def public(self, new: SecretKey, serial: int, *, name: str = "next.pub", key: SecretKey | None = None) -> Path:
        """Write a signed public key to the stick."""
        return signed_key(self.stick / name, new, key or self.key, serial)

    beside = staticmethod(beside)

    @property
    def contents(self) -> dict[str, bytes]:
        """Return every file of the store but its locks, which are empty."""
        files = [each for each in self.store.folder.iterdir() if each.name not in (LOCK, UPDATING)]
        return {each.name: each.read_bytes() for each in files}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that went away."""


class HttpsFiles:
    """A server of 127.0.0.1 that gives what ``files`` has, or does what ``does`` has for a path. Use it in a ``with``.

    ``ca`` is the file of its own authority; ``asked`` has path and Range of each request.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, bytes] = {}
        self.does: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.logins: list[str | None] = []
        self.ended = threading.Event()
        mine = identity(folder, [LOOPBACK], None)
        self.ca = folder / "ca.pem"
        self.ca.write_text(ssl.DER_cert_to_PEM_cert(mine.authority))
        files = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                files.asked.append((self.path, self.headers["Range"]))
                files.logins.append(self.headers["Authorization"])
                if self.path in files.does:
                    files.does[self.path](self)
                elif self.path in files.files:
                    files.send(self, files.files[self.path])
                else:
                    self.send_error(404)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.socket = mine.context().wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @staticmethod
    def send(handler: BaseHTTPRequestHandler, data: bytes, *, start: int = 0, stop: int | None = None) -> None:
        """Answer with a file from a byte on; ``stop``: the connection ends after so many bytes of it."""
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        handler.wfile.write(data[start:stop])

    @staticmethod
    def leads_to(url: str) -> Callable[[BaseHTTPRequestHandler], None]:
        """Answer with a redirect."""

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", url)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return redirect

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
