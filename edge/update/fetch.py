"""Fetch what an update names: a file over HTTPS, and the message that an MQTT topic retains."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from edge.alert.mqtt_settings import PREFIX, settings_from_url
from edge.alert.redact import address_of, error_words, scrub, secrets_of, web_address
from edge.background import DeadlineError, call_with_deadline
from edge.errors import ModelError, OptionError, SignatureError, UnavailableError
from edge.minisign import MAX_BYTES as SMALL
from edge.version import __version__

TIMEOUT_S = 30.0  # for a connection, and for each piece of an answer
TEXT_S = 60.0  # for a signature, all in all
TRIES, PAUSE_S = 20, 2.0  # of a download that breaks off and goes on where it was
PIECE = 1 << 16  # bytes
LARGEST = 500_000_000  # bytes of a model
SPARE = 20_000_000  # bytes of the disk that stay free for the journal and pictures
RETAINED_S = 10.0  # for the broker and its retained message


class Part:
    """A file that is being written and is not whole yet. Its methods raise OptionError for the disk."""

    def __init__(self, path: Path, where: str, most: int) -> None:
        self.path = path
        self._most = most  # bytes
        self._where = where  # what is copied, for the words
        try:
            self._file = path.open("xb", buffering=0)  # never through a link
        except OSError as error:
            raise self._unwritable(error) from None

    def expect(self, size: int) -> None:
        """Check before it is written that it may have so many bytes. Raises ModelError for too many."""
        if size > self._most:
            raise ModelError(
                f"{self._where}: more than {self._most:,} bytes are too many for such a file; name the right one"
            )
        if size > shutil.disk_usage(self.path.parent).free - SPARE + self.size:
            raise OptionError(
                f"{self.path.parent}: too little room on the disk, of which {SPARE / 1e6:g} MB stay free; "
                "remove old events or other files"
            )

    def write(self, piece: bytes) -> None:
        """Append bytes. Raises ModelError for too many."""
        self.expect(self.size + len(piece))
        left = memoryview(piece)
        try:
            while left:  # the last bytes of a disk take a part of it
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._unwritable(error) from None

    def restart(self) -> None:
        """Begin again with nothing."""
        self._file.seek(0)
        self._file.truncate()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def size(self) -> int:
        """Return how many bytes are written."""
        return self._file.tell()

    def _unwritable(self, error: OSError) -> OptionError:
        todo = "use sudo" if isinstance(error, PermissionError) else "make room, or mend the disk"
        return OptionError(f"{self.path.parent}: cannot be written ({error.strerror}); {todo}")


class _HttpsAlone(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise OptionError(
                f"{address_of(req.full_url)}: leads to {address_of(newurl)}, and new models come over https alone; "
                "give the https address of the file itself"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def text_at(url: str) -> str:
    """Return the text of a signature. Raises OptionError for a bad URL, UnavailableError, and SignatureError."""

    def read() -> bytes:
        with _answer(url, "the signature") as answer:
            return answer.read(SMALL + 1)

    try:
        data = call_with_deadline(read, TEXT_S, "the server")
    except DeadlineError:
        raise UnavailableError(
            f"the signature at {address_of(url)}: not there after {TEXT_S:g} s; check the network"
        ) from None
    if len(data) > SMALL:
        raise SignatureError(f"the signature at {address_of(url)}: too long for one of minisign; check the address")
    return data.decode(errors="replace")


def download(url: str, part: Part) -> None:
    """Write the file at a URL; one that breaks off goes on where it was, as long as each try brings something.

    Raises OptionError for a bad URL or disk, ModelError for a file too large, and UnavailableError.
    """
    for left in reversed(range(TRIES)):
        at = part.size
        try:
            with _answer(url, "the file", at) as answer:
                if at and answer.status != HTTPStatus.PARTIAL_CONTENT:
                    part.restart()
                part.expect(part.size + (answer.length or 0))
                while piece := answer.read(PIECE):
                    part.write(piece)
                if not answer.length:
                    return
                raise UnavailableError(f"the file at {address_of(url)}: the connection ended before its end; try again")
        except UnavailableError:
            if part.size <= at or not left:
                raise
        time.sleep(PAUSE_S)


@contextmanager
def _answer(url: str, what: str, start: int = 0) -> Iterator[HTTPResponse]:
    """Yield the answer to a GET, of what lies from byte ``start`` on. Raises OptionError and UnavailableError."""
    if not url.lower().startswith("https://"):
        raise OptionError(f"{address_of(url)}: new models come over https alone; write https://, or use a stick")
    to, where = web_address(url, "the new model"), f"{what} at {address_of(url)}"
    request = Request(to.url, headers={"User-Agent": f"bear-alarm/{__version__}"})
    if to.login:
        request.add_unredirected_header("Authorization", to.login)
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        with build_opener(_HttpsAlone).open(request, timeout=TIMEOUT_S) as answer:
            yield answer
    except HTTPError as error:
        error.close()
        raise UnavailableError(f"{where}: the server answers HTTP {error.code}; check the address") from None
    except (OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) and isinstance(error.reason, OSError) else error
        words = scrub(error_words(cause), secrets_of(url))
        raise UnavailableError(f"{where}: {words}; check the address, the network and this device's clock") from None


def retained(url: str) -> str:
    """Return the text of the message that a topic retains; ``url``: ``mqtt[s]://USER:PASSWORD@HOST:PORT/TOPIC``.

    Raises OptionError for a URL that cannot be used, and UnavailableError where there is no broker or message.
    """
    from edge.alert.mqtt_connection import BrokerConnection  # it takes 80 ms, as all else together

    settings = settings_from_url(url)
    if not urlsplit(url).path.strip("/"):
        raise OptionError(f"{address_of(url)}: name the topic too, such as mqtt://{settings.where}/{PREFIX}/model")
    came, topic = threading.Event(), settings.prefix
    # With an id of its own: the broker would end the alarm's connection for the same one.
    name = f"{PREFIX}-update-{secrets.token_hex(4)}"
    connection = BrokerConnection(settings, name, came.set, subscriptions=((topic, 1),), quiet=True)
    until = time.monotonic() + RETAINED_S
    try:
        while not connection.received and time.monotonic() < until:
            connection.tend()
            came.wait(0.5)
            came.clear()
    finally:
        connection.close(2.0)
    if not connection.received:
        words = f"the topic {topic} retains no message; publish one with `retain`"
        raise UnavailableError(connection.problem or f"{settings.where}: {words}")
    return connection.received[0][1].decode(errors="replace")
