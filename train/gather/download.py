"""Fetching pictures: in parallel, polite to each host, bounded in size; what breaks off leaves nothing behind."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from edge import __version__
from train.gather.extra import need

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

MOST_BYTES = 30 << 20
TRIES = 4
LONGEST_WAIT_S = 300.0  # a host that asks for more is left for another day
BACK_OFF_S = 1.0  # doubled with each try
TIMEOUT_S = 20.0
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})  # worth another try
GONE = frozenset({404, 410, 451})


@dataclass(frozen=True)
class Failed:
    """Why a picture could not be fetched. ``for_good``: another try would bring the same."""

    kind: str
    words: str
    for_good: bool = False


@dataclass
class _Host:
    """One host: how many may ask it at once, and when it may be asked next."""

    turns: threading.Semaphore
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_at: float = 0.0
    closed: str = ""  # why it is asked no more


@dataclass
class Downloader:
    """Fetches addresses. At most ``per_host`` at once of one host, begun ``pause_s`` seconds apart.

    A host that is busy (429, 5xx) is asked again after the time it names in Retry-After (RFC 9110), else after a
    growing pause; one that asks for more than five minutes is asked no more in this run.
    """

    client: httpx.Client
    workers: int = 4
    per_host: int = 2
    pause_s: float = 0.25
    most_bytes: int = MOST_BYTES
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = defaultdict(lambda: _Host(threading.Semaphore(self.per_host)))

    def all(self, wanted: Iterable[T], address: Callable[[T], str]) -> Iterator[tuple[T, bytes | Failed]]:
        """Each thing with the bytes of its address, or why there are none, in order; a few are fetched ahead.

        Left early, or by Ctrl-C, it stops what is under way.
        """
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="gather")
        under_way: deque[tuple[T, Future[bytes | Failed]]] = deque()
        try:
            for thing in wanted:
                under_way.append((thing, pool.submit(self.fetch, address(thing))))
                while len(under_way) >= 2 * self.workers:
                    first, future = under_way.popleft()
                    yield first, future.result()
            while under_way:
                first, future = under_way.popleft()
                yield first, future.result()
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            self._stop.clear()

    def fetch(self, url: str) -> bytes | Failed:
        """The bytes at an address, or why there are none."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return Failed("no address", f"{url[:80]!r} is no web address", for_good=True)
        with self._lock:
            host = self._hosts[parts.netloc]
        httpx = need("httpx")
        said = Failed("no answer", f"{parts.netloc} was not asked")
        with host.turns:
            for attempt in range(TRIES):
                if not self._wait_turn(host):
                    return Failed("stopped", "the run was ended")
                if host.closed:
                    return Failed("host busy", host.closed)
                try:
                    answer = self._once(url)
                except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
                    said = Failed("no answer", f"{parts.netloc}: {str(error)[:80] or type(error).__name__}")
                    answer = None
                if isinstance(answer, bytes | Failed):
                    return answer
                if answer is not None:
                    said = Failed("host busy", f"{parts.netloc} answered {answer[0]}")
                self._hold_off(host, answer[1] if answer else None, attempt, parts.netloc)
        return said

    def _once(self, url: str) -> bytes | Failed | tuple[int, float | None]:
        """The bytes, a failure for good, or status and seconds to wait of a host that is busy."""
        with self.client.stream("GET", url) as answer:
            status = answer.status_code
            if status in BUSY:
                return status, retry_after(answer.headers.get("Retry-After"))
            if status in GONE:
                return Failed("gone", f"answered {status}", for_good=True)
            if status != 200:
                return Failed("refused", f"{urlsplit(url).netloc} answered {status}")
            too_big = Failed("too large", f"more than {self.most_bytes >> 20} MB", for_good=True)
            told = answer.headers.get("Content-Length", "")
            if told.isdecimal() and int(told) > self.most_bytes:
                return too_big
            data = bytearray()
            for piece in answer.iter_bytes():
                data += piece
                if len(data) > self.most_bytes:
                    return too_big
                if self._stop.is_set():
                    return Failed("stopped", "the run was ended")
            return bytes(data)

    def _wait_turn(self, host: _Host) -> bool:
        """Wait until the host may be asked; False where the run is ended meanwhile."""
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
            if wait_s > LONGEST_WAIT_S:
                host.closed = f"{name} asks to be left alone for {wait_s / 60:.0f} minutes; run the command again then"
            host.next_at = max(host.next_at, self.clock() + wait_s)


def retry_after(words: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3); None where it says nothing."""
    if not words:
        return None
    if words.strip().isdecimal():
        return float(words)
    try:
        until = parsedate_to_datetime(words)
    except ValueError:
        return None
    return max(0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def user_agent(contact: str = "") -> str:
    """Who asks, as the services want to know it."""
    return f"bear-alarm/{__version__} (gathers training pictures for a person{'; ' + contact if contact else ''})"


@contextmanager
def web_client(contact: str = "") -> Iterator[httpx.Client]:
    """A client that names itself and follows redirects."""
    httpx = need("httpx")
    headers = {"User-Agent": user_agent(contact)}
    with httpx.Client(headers=headers, follow_redirects=True, timeout=TIMEOUT_S, max_redirects=5) as client:
        yield client
