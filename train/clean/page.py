"""The page to decide labels on: one self-contained HTML file, opened from the disk or served on this machine."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edge.errors import BearAlarmError, OptionError, PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE
from train.clean.embeddings import largest_box
from train.clean.suspects import REASONS, Suspect
from train.data.decisions import Decision, append_decisions, as_row, from_row, read_decisions
from train.data.pictures import TRAINING_LABELS, Picture, name_inside
from train.pages import data_uri, render, resized

THUMB_PX = 288  # longer side of a thumbnail: some 12 kB, so that 300 of them make a page of 5 MB
QUALITY = 72


def page_rows(suspects: Sequence[Suspect], root: Path) -> list[dict[str, Any]]:
    """Collect the page's data of each picture, ready for JSON; thumbnails are data URIs."""
    return [row for suspect in suspects if (row := _row(suspect, root))]


def page(rows: Sequence[dict[str, Any]], run: str, *, served: bool = False, decisions: Iterable[Decision] = ()) -> str:
    """Write the page's HTML. ``run`` names the run and its pictures: a browser stores decisions under that name."""
    data = {
        "rows": rows,
        "labels": TRAINING_LABELS,
        "reasons": REASONS,
        "by": run,
        "key": hashlib.sha256(run.encode()).hexdigest()[:16],
        "served": served,
        "decisions": [as_row(decision) for decision in decisions],
    }
    return render(Path(__file__).with_name("page.html"), data=data)


def thumbnail(file: Path) -> str:
    """Make a JPEG data URI of a picture, ``THUMB_PX`` on its longer side. Raises PictureError when it is broken."""
    return data_uri(resized(read_picture(file), THUMB_PX), QUALITY)


def _row(suspect: Suspect, root: Path) -> dict[str, Any] | None:
    picture = suspect.picture
    box = largest_box(picture)
    try:
        return {
            "file": _name(picture, root),
            "sha256": suspect.sha256,
            "bytes": picture.file.stat().st_size,
            "label": picture.label,
            "suggested": suspect.suggested,
            "own": round(suspect.own, 4),
            "bear": round(suspect.bear, 4),
            "why": suspect.why,
            "source": picture.source,
            "thumb": thumbnail(picture.file),
            "box": None if box == WHOLE else box,
            "twin": suspect.duplicate
            and {
                "file": _name(suspect.duplicate, root),
                "label": suspect.duplicate.label,
                "thumb": thumbnail(suspect.duplicate.file),
            },
        }
    except (PictureError, OSError):  # gone since it was read
        return None


def _name(picture: Picture, root: Path) -> str:
    return name_inside(picture.file, root) or str(picture.file)


LOOPBACK = "127.0.0.1"
MAX_BYTES = 64 * 1024  # of one decision
PLAIN = "text/plain; charset=utf-8"
QUIET_S = 30.0  # until a silent connection is closed


class Review:
    """The page's rows, and the table of their decisions."""

    def __init__(self, rows: Sequence[dict[str, Any]], root: Path, run: str):
        self.rows, self.root, self.run = rows, root, run
        self._about = {(row["file"], row["sha256"]): row for row in rows}

    def html(self) -> str:
        """Write the page with the present decisions."""
        shown = [row for row in read_decisions(self.root) if row.key in self._about]
        return page(self.rows, self.run, served=True, decisions=shown)

    def take(self, given: object) -> None:
        """Write one decision of the page.

        Raises ValueError or KeyError if it is invalid, BearAlarmError if it cannot be written now.
        """
        if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
            raise ValueError("a decision is an object of strings")
        decision: Decision = from_row(given)
        row = self._about.get(decision.key)
        if row is None:
            raise ValueError(f"{decision.file!r} is not on this page")
        if decision.size != row["bytes"] or decision.before != row["label"]:
            raise ValueError(f"{decision.file!r} is not as this page shows it")
        append_decisions(self.root, [decision])


def open_server(review: Review, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """Open a server on the loopback address; return it and the page's URL, which has a secret token.

    Raises OptionError if the port is taken.
    """
    token = secrets.token_urlsafe(16)
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), _handler(review, token))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OptionError(f"port {port} cannot be used ({reason}); choose another --port, or none") from None
    server.daemon_threads = True
    return server, f"http://{LOOPBACK}:{server.server_address[1]}/{token}/"


def _handler(review: Review, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Serve the page (GET) and take decisions (POST), only for a browser on this machine with the token."""

        timeout = QUIET_S

        def do_GET(self) -> None:
            """Send the page."""
            if self._mine(f"/{token}/"):
                self._answer(review.html, "text/html; charset=utf-8", HTTPStatus.INTERNAL_SERVER_ERROR)

        def do_POST(self) -> None:
            """Take one decision."""
            if not self._mine(f"/{token}/decide"):
                return
            length = self.headers.get("Content-Length", "")
            own = {f"http://{host}" for host in self._hosts()}
            if self.headers.get("Origin") not in own or self.headers.get_content_type() != "application/json":
                self._send(HTTPStatus.FORBIDDEN, "decisions come from this page only")
            elif not length.isdecimal() or int(length) > MAX_BYTES:
                self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a decision has at most {MAX_BYTES} bytes")
            else:
                self._answer(lambda: self._take(self.rfile.read(int(length))))

        def log_message(self, format: str, *args: Any) -> None:
            """Log no requests: the table has the decisions."""

        def _take(self, body: bytes) -> str:
            review.take(json.loads(body))
            return "written"

        def _mine(self, path: str) -> bool:
            """Return True if the request has the token and this server's own address as its host."""
            if self.headers.get("Host") in self._hosts() and secrets.compare_digest(
                self.path.partition("?")[0].encode(), path.encode()
            ):
                return True
            self._send(HTTPStatus.NOT_FOUND, "not here")
            return False

        def _hosts(self) -> set[str]:
            port = self.connection.getsockname()[1]
            return {f"{LOOPBACK}:{port}", f"localhost:{port}"}

        def _answer(
            self, work: Callable[[], str], kind: str = PLAIN, failed: HTTPStatus = HTTPStatus.INSUFFICIENT_STORAGE
        ) -> None:
            """Send the result of ``work``; ``failed`` if the table cannot be used now, 400 for an invalid decision."""
            try:
                status, text = HTTPStatus.OK, work()
            except BearAlarmError as error:
                status, text, kind = failed, str(error), PLAIN
            except (ValueError, KeyError, RecursionError) as error:
                status, text, kind = HTTPStatus.BAD_REQUEST, str(error), PLAIN
            self._send(status, text, kind)

        def _send(self, status: HTTPStatus, text: str, kind: str = PLAIN) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Referrer-Policy", "no-referrer")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.end_headers()
            self.wfile.write(data)

    return Handler
