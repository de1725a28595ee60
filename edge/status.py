"""Health: ask every part, report what does not work once and when it is over; and the alarm's status at one moment.

The watchdog, a heartbeat, ``/healthz`` and ``/metrics`` look at the status.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.record.run import EventFactory
    from edge.schema import Event, EventType, Stage

log = logging.getLogger(__name__)

GRACE_S = 60.0  # a broker that restarts is no problem yet
CLEAR_S = 30.0  # without a problem for so long it is over
CLEAR_AT_ONCE = frozenset({"config"})  # what is well here stays so: over with the first answer

Ask = Callable[[], str | None]  # one sentence for people while something is wrong, None while all is well


@dataclass(eq=False)
class _Case:
    """One part and what is known of it."""

    problem: str | None = None
    since: float = 0.0  # when the problem began
    seen_at: float = 0.0  # when it was last there
    event_id: str | None = None  # the event's id while it is published and not over


class Health:
    """Asks each part how it is; a problem that lasts is an event of kind ``health``, and so is its end.

    ``parts``: a short name (it becomes the event's label) -> who to ask. ``at_once`` names parts whose problem needs no
    grace. Call it every few seconds with a clock that only goes forward; the events it makes are returned.
    """

    def __init__(self, run: EventFactory, parts: Mapping[str, Ask], *, at_once: Sequence[str] = ()) -> None:
        self.run = run
        self.parts = parts  # others from the next call on, if you like; what is asked no more is over
        self.at_once = frozenset(at_once)
        self._cases: dict[str, _Case] = {}

    def __call__(self, now: float) -> list[Event]:
        """Return the events to publish now (seconds)."""
        left = {name: self._cases.pop(name) for name in self._cases.keys() - self.parts.keys()}
        over = [
            self._event("end", case.event_id, name, f"{name}: not in use any more")
            for name, case in left.items()
            if case.event_id
        ]
        found = (self._ask(name, ask, self._cases.setdefault(name, _Case()), now) for name, ask in self.parts.items())
        return over + [event for event in found if event]

    @property
    def problems(self) -> dict[str, str]:
        """Return the problems that were published and last, by part."""
        return {name: case.problem or "" for name, case in tuple(self._cases.items()) if case.event_id}

    def _ask(self, name: str, ask: Ask, case: _Case, now: float) -> Event | None:
        try:
            problem = ask()
        except Exception as error:  # the others are asked all the same
            problem = f"{name}: its state is unknown: internal error ({type(error).__name__})"
            log.debug("%s", problem, exc_info=error)
        if problem:
            if case.problem is None:
                case.since = now
            case.problem, case.seen_at = problem, now
            if case.event_id or now - case.since < (0.0 if name in self.at_once else GRACE_S):
                return None
            case.event_id = uuid.uuid4().hex
            return self._event("new", case.event_id, name, problem)
        if case.event_id and (name in CLEAR_AT_ONCE or now - case.seen_at >= CLEAR_S):
            id_, lasted_s = case.event_id, case.seen_at - case.since
            case.event_id = case.problem = None
            return self._event("end", id_, name, f"{name}: all is well again after {_span(lasted_s)}")
        if not case.event_id:
            case.problem = None
        return None

    def _event(self, type_: EventType, id_: str, name: str, detail: str) -> Event:
        return self.run.event("health", type_, id_, "alarm", label=name, detail=detail)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120.0 else f"{seconds / 60.0:.0f} min"


NOT_LOOKED = "no frame is being looked at"
# Published, and no reason to mistrust the alarm: a memory chip that is nearly worn out stays so for years, and what
# keeps a new model away does not touch the one in use.
WEAR = frozenset({"storage", "updates"})


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera. Ages are seconds of the monotonic clock."""

    name: str
    live: bool
    fresh: bool  # a frame was looked at within edge.watch.FRESH_S
    frame_age_s: float | None  # since the last frame was handed over; None: there was none yet
    alive_age_s: float  # since its loop or its reconnecting last went on: grows only where a thread hangs
    frames: int  # looked at since the start
    fps: float  # frames a second that are asked of it now
    trouble: str | None  # what is reported as wrong, in one sentence
    reopened: int  # how often it was opened again
    blind: bool = False  # what comes shows no bear: frozen, black, white or covered
    stage: Stage | None = None  # None: no stages


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """One sink that is called at once."""

    name: str
    failures: int
    dropped: int
    hung: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """One place over a network."""

    key: str  # names it without secrets
    waiting: int
    dead_letters: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The whole alarm."""

    version: str
    model: str
    uptime_s: float
    cameras: tuple[CameraStatus, ...] = ()
    sinks: tuple[SinkStatus, ...] = ()
    channels: tuple[ChannelStatus, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)  # published and not over, by part: edge.status
    alarms: int = 0  # bears published since the start
    crop_ms: float | None = None  # what scoring one crop takes, lately
    inference_age_s: float | None = None  # since a heartbeat inference finished
    fps_share: float = 1.0  # of the frame rates that are set, kept up in heat and at low voltage
    temperature_c: float | None = None
    undervolted: bool | None = None  # now; None: not known on this board
    disk_free_mb: float | None = None  # where the state folder is
    durable: bool | None = None  # whether events are on the disk when they count as published; None: no journal

    @property
    def ill(self) -> list[str]:
        """Return why the alarm cannot be relied on now, a sentence each: a camera that sees nothing, and every problem.

        What only asks for a new card one day is in ``problems`` alone.
        """
        blind = [_named(each.name, each.trouble or NOT_LOOKED) for each in self.cameras if each.blind or not each.fresh]
        return blind + [_named(name, words) for name, words in self.problems.items() if name not in WEAR]


def _named(part: str, words: str) -> str:
    """Return the words with the part's name before them, which most problems have already."""
    return words if words.startswith(part) else f"{part}: {words}"
