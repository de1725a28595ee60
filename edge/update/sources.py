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
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event

from edge.alert.redact import address_of
from edge.background import DeadlineError, DeadlineExecutor, call_in_thread
from edge.errors import ModelError
from edge.minisign import ENDING
from edge.settings import MQTT, UpdateSettings
from edge.update.child import run_child

PEEK_S = 60.0  # how often a folder is looked into
AGAIN_S = 10.0  # and after a change, until it is whole, or a refusal: somebody may stand there
PEEK_WITHIN_S = 10.0  # a disk that takes longer hangs
FIRST_S = 60.0  # after the start, until a URL is asked
DAY_S = 86400.0
RETRY_S = 3600.0  # after a refusal: a full disk or a lost network may be well by then
OFFER_S = 600.0  # an offer of the broker is looked at once in so long
STDIN = "-"  # as SOURCE: the message of a broker is the standard input
CHILD_S = 3600.0  # a download over a bad network takes long

Seen = Sequence[tuple[str, int, int]]  # names, bytes and times of the signatures in a folder, and of what they sign


@dataclass(frozen=True, slots=True)
class Answer:
    """Result of one update."""

    kind: str  # as ``edge.update.install.Outcome``; "refused": nothing was changed
    words: str  # one sentence without a full stop
    then: str = ""  # after a refusal: when it is looked at again, one sentence
    changed: bool = False  # after a refusal: what was there has changed; for the same words once a day at most


@dataclass(eq=False)
class _Source:
    source: str
    due: float = 0.0  # time.monotonic()
    asked: object = None  # what was there when the child last looked, and the keys that were trusted
    asked_at: float | None = None
    seen: Seen | None = None  # in a folder at the last look
    changed: bool = False
    answer: Answer | None = None  # the last one; None also after a stick with a refused model was taken out
    problem: str | None = None
    disk: DeadlineExecutor = field(default_factory=DeadlineExecutor)

    @property
    def remote(self) -> bool:
        return not is_folder(self.source)

    @property
    def refused(self) -> bool:
        return self.answer is not None and self.answer.kind == "refused"

    @property
    def then(self) -> str:
        return f"It is looked at again in an hour{'' if self.remote else ', or when the files there change'}"


@dataclass(frozen=True, slots=True)
class Looked:
    """A source of new models, for people."""

    source: str  # without secrets
    asked_at: float | None  # time.monotonic(); None: never
    answer: Answer | None  # the last one, that still holds


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
        self._changed: dict[str, float] = {}  # refusals that were ``changed`` in the last day, and when

    def look(self, now: float, keys: Sequence[str] = ()) -> Answer | None:
        """Have what is due looked at; return the answer that came since the last look. It waits 10 s at most.

        ``keys``: those that are trusted; with others a folder is looked at again.
        """
        answer = self._answer(now)
        for each in self._sources:
            if now < each.due or (self._running and (each.remote or not self._running[0].remote)):
                continue
            before = each.asked
            if words := self._wanted(each, now, keys):
                if self._running:  # somebody stands there with a stick; a slow server can wait
                    self._stop.set()
                    each.asked, each.due = before, now
                    break
                each.asked_at = now
                self._running = each, call_in_thread(partial(self._run, *words), "model update")
        return answer

    def problem(self) -> str | None:
        """Return why a source cannot be looked at, in one sentence."""
        return next((each.problem for each in self._sources if each.problem), None)

    def refusal(self) -> str | None:
        """Return why no model was taken from a source, in one sentence; None where that is over."""
        return next((each.answer.words for each in self._sources if each.answer and each.refused), None)

    @property
    def standing(self) -> list[Looked]:
        """Return each source, and what came of it."""
        return [Looked(shown(each.source), each.asked_at, each.answer) for each in self._sources]

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
        if answer.kind == "refused":
            self._changed = {words: at for words, at in self._changed.items() if now - at < DAY_S}
            changed = source.changed and answer.words not in self._changed
            if changed:
                self._changed[answer.words] = now
            answer = replace(answer, then=source.then, changed=changed)
            source.due = min(source.due, now + AGAIN_S)
        source.answer = answer
        if source.source.startswith("https:"):
            every_s = self.settings.every_h * 3600.0
            source.due = now + (min(every_s, RETRY_S) if source.refused else every_s)
        return answer

    def _wanted(self, source: _Source, now: float, keys: Sequence[str]) -> tuple[str, str] | None:
        """Return what the child is to be called with; None where nothing is new."""
        again = source.refused and source.asked_at is not None and now - source.asked_at >= RETRY_S
        if source.source == MQTT:
            return self._offered(source, now, again=again)
        if "://" in source.source:
            if source.due == 0.0:
                source.due = now + FIRST_S
                return None
            return STDIN, json.dumps({"url": source.source})  # every user may read a command line
        before, seen = source.seen, self._peek(source)
        source.seen = seen
        still_copied = bool(seen) and seen != before
        source.due = now + (AGAIN_S if source.refused or still_copied else PEEK_S)
        if seen is None or still_copied:
            return None
        asked = (seen, keys) if seen else ()
        if asked == source.asked and not again:
            return None
        source.changed = source.asked not in (None, asked)
        source.asked = asked
        if seen:
            return source.source, ""
        source.answer = None if source.refused else source.answer
        return None

    def _offered(self, source: _Source, now: float, *, again: bool) -> tuple[str, str] | None:
        if not self.offers or (source.asked_at is not None and now - source.asked_at < OFFER_S):
            return None
        payload = self.offers[-1]  # a broker offers it again after each connect
        if payload == source.asked and not again:
            return None
        source.changed = source.asked not in (None, payload)
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


def is_folder(source: str) -> bool:
    """Return True if a source of the config is a folder."""
    return source != MQTT and "://" not in source


def shown(source: str) -> str:
    """Return a source of the config for people, without secrets."""
    if source == MQTT:
        return "the MQTT broker"
    return address_of(source) if "://" in source else source


def _signatures(folder: Path) -> Seen:
    with suppress(FileNotFoundError):  # a stick that is not plugged in
        with os.scandir(folder) as found:
            files = {each.name: each for each in found}
        signed = [each for name, each in files.items() if name.endswith(ENDING) or name + ENDING in files]
        return sorted((each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in signed)
    return ()
