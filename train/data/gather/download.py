"""Download pictures and import them: in parallel, politely to each host, with a limit on the size."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from edge.cli.output import track
from edge.errors import PictureError, SourceError
from edge.pictures import picture_bytes
from edge.version import __version__
from train.data.gather.importer import PictureImporter
from train.data.gather.offers import THERE, Failed, ImportCounts, Offer, need
from train.data.table import Table, check_no_loose, plain_text

if TYPE_CHECKING:
    import httpx


T = TypeVar("T")

MAX_BYTES = 30 << 20
TRIES = 4
MAX_WAIT_S = 300.0  # a host that asks for a longer wait is skipped in this run
BACK_OFF_S = 1.0  # doubled with each try
TIMEOUT_S = 20.0
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth another try
GONE = frozenset({404, 410, 451})


@dataclass
class _Host:
    """One host: how many requests it gets at once, and when the next may start."""

    turns: threading.Semaphore
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_at: float = 0.0
    closed: str = ""  # why it gets no more requests


@dataclass
class Downloader:
    """Downloads addresses: at most ``per_host`` at once from one host, ``pause_s`` seconds apart.

    A busy host (429, 5xx) is asked again after the time in its Retry-After (RFC 9110), else after a growing pause. A
    host that asks for more than five minutes is skipped in this run.
    """

    client: httpx.Client
    workers: int = 4
    per_host: int = 2
    pause_s: float = 0.25
    max_bytes: int = MAX_BYTES
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = defaultdict(lambda: _Host(threading.Semaphore(self.per_host)))

    def all(self, wanted: Iterable[T], address: Callable[[T], str | Failed]) -> Iterator[tuple[T, bytes | Failed]]:
        """Yield each thing with the bytes of its address, or a failure, in order; a few are fetched ahead.

        A thing with a failure in place of an address comes with that. Downloads stop if the loop ends early.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="gather")
        pending: deque[tuple[T, Future[bytes | Failed]]] = deque()
        try:
            for thing in wanted:
                pending.append((thing, pool.submit(self.fetch, address(thing))))
                while len(pending) >= 2 * self.workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self._stop.clear()

    def fetch(self, url: str | Failed) -> bytes | Failed:
        """Return the bytes at an address, or a failure."""
        if isinstance(url, Failed):
            return url
        name = _host_of(url)
        no_address = Failed("no address", f"{url[:80]!r} is no web address", for_good=True)
        if not name:
            return no_address
        with self._lock:
            host = self._hosts[name]
        httpx = need("httpx")
        failed = Failed("no answer", f"{name} was not asked")
        with host.turns:
            for attempt in range(TRIES):
                if not self._wait_turn(host):
                    return Failed("stopped", "the run was stopped")
                if host.closed:
                    return Failed("host busy", host.closed)
                try:
                    answer = self._once(url)
                except (httpx.InvalidURL, UnicodeError, OverflowError):  # of a redirect: host or port
                    return no_address
                except (httpx.HTTPError, httpx.StreamError) as error:
                    failed = Failed("no answer", f"{name}: {str(error)[:80] or type(error).__name__}")
                    answer = None
                if isinstance(answer, bytes | Failed):
                    return answer
                if answer is not None:
                    failed = Failed("host busy", f"{name} answered {answer[0]}")
                self._hold_off(host, answer[1] if answer else None, attempt, name)
        return failed

    def _once(self, url: str) -> bytes | Failed | tuple[int, float | None]:
        """Return the bytes, a final failure, or a busy host's status and the seconds to wait."""
        with self.client.stream("GET", url) as answer:
            status = answer.status_code
            if status in BUSY:
                return status, retry_after(answer.headers.get("Retry-After"))
            if status in GONE:
                return Failed("gone", f"answered {status}", for_good=True)
            if status != 200:
                return Failed("refused", f"{urlsplit(url).netloc} answered {status}")
            too_big = Failed("too large", f"more than {self.max_bytes >> 20} MB", for_good=True)
            length = answer.headers.get("Content-Length", "")
            if length.isdecimal() and int(length) > self.max_bytes:
                return too_big
            data = bytearray()
            for piece in answer.iter_bytes():
                data += piece
                if len(data) > self.max_bytes:
                    return too_big
                if self._stop.is_set():
                    return Failed("stopped", "the run was stopped")
            return bytes(data)

    def _wait_turn(self, host: _Host) -> bool:
        """Wait until the host may get a request; return False if the run is stopped meanwhile."""
        while True:
            with host.lock:
                now = self.clock()
                if host.closed or now >= host.next_at:
                    host.next_at = now + self.pause_s
                    return not self._stop.is_set()
                left = host.next_at - now
            if self._stop.wait(min(left, 1.0)):
                return False

    def _hold_off(self, host: _Host, asked_s: float | None, attempt: int, name: str) -> None:
        with host.lock:
            wait_s = BACK_OFF_S * 2**attempt if asked_s is None else asked_s
            if wait_s > MAX_WAIT_S:
                host.closed = f"{name} asks for a pause of {wait_s / 60:.0f} minutes; run the command again after that"
            host.next_at = max(host.next_at, self.clock() + wait_s)


def _host_of(url: str) -> str:
    """Return host and port of an address; "" if it is no valid web address."""
    httpx = need("httpx")
    try:
        parts = urlsplit(url)
        asked = httpx.URL(url)  # checks the host's name (IDNA 2008)
        asked.raw_host.decode("ascii").encode("idna")  # checks the length of its parts
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except (httpx.InvalidURL, ValueError):  # UnicodeError is one
        return ""
    return parts.netloc if good else ""


def retry_after(words: str | None) -> float | None:
    """Return the seconds of a Retry-After header (seconds or a date: RFC 9110, 10.2.3); None if it has none."""
    if not words:
        return None
    if words.strip().isdecimal():
        return float(words)
    try:
        until = parsedate_to_datetime(words)
        return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):  # a day, or an offset from UTC, that does not exist
        return None


def user_agent(contact: str = "") -> str:
    """Return the User-Agent, as the services ask for it."""
    return f"bear-alarm/{__version__} (gathers training pictures for a person{'; ' + contact if contact else ''})"


@contextmanager
def web_client(contact: str = "") -> Iterator[httpx.Client]:
    """Yield a client that names itself and follows redirects."""
    httpx = need("httpx")
    headers = {"User-Agent": user_agent(contact)}
    with httpx.Client(headers=headers, follow_redirects=True, timeout=TIMEOUT_S, max_redirects=5) as client:
        yield client


log = logging.getLogger(__name__)

Bytes = tuple[Offer, bytes | Failed]


def import_pictures(
    found: Iterable[Offer], out: Path, downloader: Downloader | None = None, *, most: int | None = None
) -> ImportCounts:
    """Import a source's pictures into the folder ``out`` and its table; log the counts.

    ``downloader`` fetches addresses. Raises SourceError if a source fails, OptionError if the folder cannot be written,
    CatalogError if the table is damaged; pictures that were imported before stay.
    """
    offered = iter(found)
    first = next(offered, None)  # a source that fails at once makes no folder
    if not (first and first.file and first.file.resolve().is_relative_to(out.resolve())):
        check_no_loose(out, "--out")
    with Table(out) as table:
        importer = PictureImporter(table, track)
        wanted = (each for each in chain((first,) if first else (), offered) if importer.wants(each))
        fetched = downloader.all(wanted, lambda each: each.failed or each.url) if downloader else _read(wanted)
        try:
            for each, data in track(fetched, "gathering", most):
                importer.take(each, data)
        finally:
            importer.write()
            for line in importer.counts.lines(out, len(table.rows)):
                log.info("%s", line)
    counts = importer.counts
    unreached = counts.by_kind["no answer"] + counts.by_kind["host busy"]
    if unreached and unreached == sum(counts.by_kind.values()) - counts.by_kind[THERE]:
        why = counts.examples.get("no answer") or counts.examples.get("host busy", "")
        raise SourceError(f"no picture could be fetched ({why}); check the network and run the same command again")
    return counts


def _read(wanted: Iterable[Offer]) -> Iterator[Bytes]:
    for each in wanted:
        if each.failed:
            yield each, each.failed
        elif each.data:
            yield each, each.data()
        else:
            yield each, _file_bytes(each.file or Path())


def _file_bytes(file: Path) -> bytes | Failed:
    if plain_text(str(file)) != str(file):
        return Failed("odd names", "the name of it or of its folder is not UTF-8 text on one line; rename it")
    try:
        return picture_bytes(file)
    except PictureError as error:
        return Failed("unreadable", str(error))
