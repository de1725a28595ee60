"""A web server on this machine that plays iNaturalist, GBIF, Wikimedia Commons, and whoever keeps their pictures."""

from __future__ import annotations

import io
import json
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass
class Asked:
    """One request."""

    path: str
    query: dict[str, list[str]]
    agent: str
    at: float = field(default_factory=time.monotonic)


@dataclass
class FarSide:
    """Use it in a ``with``; ``base`` is its address. ``files``: path → what is answered, a status may stand before it.

    ``answers``: path → answers that are used up first, each (status, headers, body).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = field(default_factory=lambda: defaultdict(list))
    observations: list[dict[str, Any]] = field(default_factory=list)
    occurrences: list[dict[str, Any]] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    no_progress: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        side = self
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                with lock:
                    side.asked.append(Asked(parts.path, query, self.headers.get("User-Agent", "")))
                    side.no_progress += 1
                    side.most_at_once = max(side.most_at_once, side.no_progress)
                    waiting = side.answers[parts.path]
                    status, headers, body = waiting.pop(0) if waiting else side.answer(parts.path, query)
                try:
                    self.send_response(status)
                    for name, value in {"Content-Length": str(len(body)), **headers}.items():
                        if value:
                            self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body[:-1])
                except (BrokenPipeError, ConnectionResetError):
                    body = b""
                with lock:
                    side.no_progress -= 1  # before the last byte: a client that has it may ask again at once
                with suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(body[-1:])

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
        """Return what stands at an address."""
        if path == "/v1/observations":
            return _json(self._observations(query))
        if path == "/v1/occurrence/search":
            return _json(self._occurrences(query))
        if path == "/w/api.php":
            return _json(self._commons(query))
        if path in self.files:
            return 200, {"Content-Type": "image/jpeg"}, self.files[path]
        return 404, {}, b"<html>not here</html>"

    def paths(self, beginning: str) -> list[str]:
        """The paths asked for that begin so, in order."""
        return [each.path for each in self.asked if each.path.startswith(beginning)]

    def _observations(self, query: dict[str, list[str]]) -> dict[str, Any]:
        below = int(query.get("id_below", ["999999999"])[0])
        found = [each for each in self.observations if each["id"] < below]
        per_page = int(query.get("per_page", ["30"])[0])
        page = sorted(found, key=lambda each: -int(each["id"]))[: min(per_page, 2)]  # small pages, to have several
        return {"total_results": len(found), "page": 1, "per_page": per_page, "results": page}

    def _occurrences(self, query: dict[str, list[str]]) -> dict[str, Any]:
        offset = int(query.get("offset", ["0"])[0])
        page = self.occurrences[offset : offset + 2]
        last = offset + len(page) >= len(self.occurrences)
        return {"offset": offset, "limit": 2, "endOfRecords": last, "count": len(self.occurrences), "results": page}

    def _commons(self, query: dict[str, list[str]]) -> dict[str, Any]:
        offset = int(query.get("gsroffset", ["0"])[0])
        page = self.pages[offset : offset + 2]
        answer: dict[str, Any] = {"batchcomplete": True, "query": {"pages": list(reversed(page))}}
        if offset + 2 < len(self.pages):
            answer["continue"] = {"gsroffset": offset + 2, "continue": "gsroffset||"}
        return answer


def _json(content: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def picture(seed: int, size_wh: tuple[int, int] = (160, 120)) -> NDArray[np.uint8]:
    """A picture of soft blots, uint8 (H, W, 3) BGR; those of two seeds look nothing like each other."""
    blots = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return np.asarray(cv2.resize(blots, size_wh, interpolation=cv2.INTER_CUBIC), np.uint8)


def jpeg(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """A picture as JPEG."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def photo(seed: int, size_wh: tuple[int, int] = (160, 120)) -> bytes:
    """A JPEG of ``picture``."""
    return jpeg(picture(seed, size_wh))


def shot(seed: int, taken: str = "", make: str = "", model: str = "", serial: str = "") -> bytes:
    """A JPEG with what a camera writes into it; ``taken`` as Exif has it: 2024:05:01 03:12:07."""
    from PIL import Image

    exif = Image.Exif()
    inner = exif.get_ifd(0x8769)
    for tag, value in ((0x010F, make), (0x0110, model)):
        if value:
            exif[tag] = value
    for tag, value in ((0x9003, taken), (0xA431, serial)):
        if value:
            inner[tag] = value
    out = io.BytesIO()
    Image.fromarray(cv2.cvtColor(picture(seed), cv2.COLOR_BGR2RGB)).save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()
