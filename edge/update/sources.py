"""The sources of new models: folders that are looked into, URLs that are asked, and what a broker offers.

A child process does all that is slow or may hang or crash: ``bear-alarm model update SOURCE --unattended``. Here is
only decided when one is due.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event

from edge.background import DeadlineError, DeadlineExecutor, call_in_thread
from edge.errors import ModelError
from edge.minisign import ENDING
from edge.settings import MQTT, UpdateSettings
from edge.update.child import run_child

PEEK_S = 60.0  # how often a folder is looked into
PEEK_WITHIN_S = 10.0  # a disk that takes longer hangs
FIRST_S = 60.0  # after the start, until a URL is asked
RETRY_S = 3600.0  # after a refusal: a full disk or a lost network may be well by then
OFFER_S = 600.0  # an offer of the broker is looked at once in so long
STDIN = "-"  # as SOURCE: the message of a broker is the standard input
CHILD_S = 3600.0  # a download over a bad network takes long

Seen = Sequence[tuple[str, int, int]]  # names, bytes and times of the signatures in a folder


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one update."""

    kind: str  # as ``edge.update.install.Outcome``; "refused": nothing was changed
    words: str  # one sentence without a full stop


@dataclass(eq=False)
class _Source:
    source: str
    due: float = 0.0  # time.monotonic()
    asked: object = None  # what was there when the child last looked
    asked_at: float | None = None
    refused: bool = False
    problem: str | None = None
    disk: DeadlineExecutor = field(default_factory=DeadlineExecutor)

    @property
    def remote(self) -> bool:
        return self.source == MQTT or "://" in self.source


class Sources:
    """All sources of one alarm, which a reload with the same settings hands on. Not for two threads.

    ``state``: the state folder. ``run``: calls the child with SOURCE and its standard input, and returns its answer;
    in a thread of its own.
    """

    def __init__(
        self,
        settings: UpdateSettings,
        state: Path,
        run: Callable[[str, str], Answer] | None = None,
    ) -> None:
        self.settings = settings
        self.state = state
        self.offers: deque[bytes] = deque(maxlen=1)  # the newest message of the broker
        self._stop = Event()  # of the update at work
        self._run = run or self._update
        self._sources = [_Source(each) for each in settings.sources]
        self._running: tuple[_Source, Future[Answer]] | None = None

    def look(self, now: float) -> Answer | None:
        """Have what is due looked at; return the answer that came since the last look. It waits 10 s at most."""
        answer = self._answer(now)
        for each in self._sources:
            if now < each.due or (self._running and (each.remote or not self._running[0].remote)):
                continue
            if words := self._wanted(each, now):
                if self._running:  # somebody stands there with a stick; a slow server can wait
                    self._stop.set()
                    each.asked, each.due = None, now
                    break
                each.asked_at = now
                self._running = each, call_in_thread(partial(self._run, *words), "model update")
        return answer

    def problem(self) -> str | None:
        """Return why a source cannot be looked at, in one sentence."""
        return next((each.problem for each in self._sources if each.problem), None)

    def close(self) -> None:
        """End an update that is at work, with nothing changed."""
        self._stop.set()

    def _answer(self, now: float) -> Answer | None:
        if self._running is None or not self._running[1].done():
            return None
        (source, future), self._running = self._running, None
        answer = future.result()
        if self._stop.is_set() and answer.kind == "refused":
            source.asked, source.due = None, now + FIRST_S
            return None
        source.refused = answer.kind == "refused"
        if source.source.startswith("https:"):
            every_s = self.settings.every_h * 3600.0
            source.due = now + (min(every_s, RETRY_S) if source.refused else every_s)
        return answer

    def _wanted(self, source: _Source, now: float) -> tuple[str, str] | None:
        """Return what the child is to be called with; None where nothing is new."""
        again = source.refused and source.asked_at is not None and now - source.asked_at >= RETRY_S
        if source.source == MQTT:
            return self._offered(source, now, again=again)
        if "://" in source.source:
            if source.due == 0.0:
                source.due = now + FIRST_S
                return None
            return STDIN, json.dumps({"url": source.source})  # every user may read a command line
        source.due = now + PEEK_S
        seen = self._peek(source)
        if seen is None or (seen == source.asked and not again):
            return None
        source.asked = seen
        return (source.source, "") if seen else None

    def _offered(self, source: _Source, now: float, *, again: bool) -> tuple[str, str] | None:
        if not self.offers or (source.asked_at is not None and now - source.asked_at < OFFER_S):
            return None
        payload = self.offers[-1]  # a broker offers it again after each connect
        if payload == source.asked and not again:
            return None
        source.asked = payload
        return STDIN, payload.decode(errors="replace")

    def _peek(self, source: _Source) -> Seen | None:
        """Return the signatures in a folder, none where it is not there; None where that cannot be seen."""
        source.problem = None
        try:
            return source.disk(partial(_signatures, Path(source.source)), PEEK_WITHIN_S)
        except DeadlineError:
            source.problem = f"{source.source}: it does not answer, so no new model is looked for there; unplug it"
        except OSError as error:
            source.problem = f"{source.source}: no new model can be looked for there ({error.strerror})"
        return None

    def _update(self, source: str, given: str) -> Answer:
        """Return what became of ``bear-alarm model update SOURCE`` with this standard input."""
        self._stop = Event()
        words = ["model", "update", source, "--unattended", "--json", "--state", str(self.state)]
        try:
            held = json.loads(run_child("edge", words, CHILD_S, self._stop, given).strip().splitlines()[-1])
            return Answer(held["kind"], held["words"])
        except (ModelError, OSError) as error:
            return Answer("refused", str(error).rstrip("."))
        except (ValueError, LookupError, TypeError):
            return Answer("refused", "`bear-alarm model update` gave no answer that can be read; the log says more")


def _signatures(folder: Path) -> Seen:
    with suppress(FileNotFoundError):  # a stick that is not plugged in
        with os.scandir(folder) as found:
            files = [(each.name, each.stat()) for each in found if each.name.endswith(ENDING)]
        return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)
    return ()
