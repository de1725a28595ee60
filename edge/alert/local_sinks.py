"""Alerts on this device: sounds, relays, the deterrent, the bell and commands; at once, and never tried again.

To add one: write it in ``edge/alert/`` as a callable that takes an ``Event``, and make a ``SinkSpec`` of it in
``local_plans``.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge.alert.command import command_in_doubt
from edge.alert.unavailable import Unavailable, either
from edge.background import Sink, Worker, call_in_thread, in_background, start_thread
from edge.errors import NOT_HERE

if TYPE_CHECKING:
    from edge.alert.deterrent import Span
    from edge.alert.gpio import Gpio
    from edge.alert.sound import Sound
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

log = logging.getLogger(__name__)

SILENT_S = 0.5

Answered = Callable[[str, "Event", str | None, float], None]  # who, the event, what went wrong, milliseconds


class LocalSinks:
    """Sounds, relays, the deterrent, the bell and commands; one that cannot work is ``missing``, and tried again.

    ``answered`` hears from each sink what became of an event.
    """

    def __init__(self, answered: Answered = lambda *_: None, before: LocalSinks | None = None) -> None:
        self.missing = Unavailable()
        self._answered = answered
        self._spent: deque[Span] = before._spent if before else deque()  # by the deterrent, of what it may be loud
        self._plans: dict[Hashable, SinkSpec] = {}  # all sinks of the settings, in the order of notification
        self._running: dict[Hashable, _RunningSink] = {}

    @property
    def workers(self) -> list[Worker[Event]]:
        """In the order in which they are called."""
        return [each.worker for each in self._running.values()]

    @property
    def parts(self) -> dict[str, Ask]:
        """Return what health asks, by name."""
        parts = self.missing.parts
        for each in self._running.values():
            parts[each.worker.name] = partial(either, each.worker.problem, each.local.problem)
        return parts

    @property
    def problems(self) -> dict[str, str]:
        """Return the sinks that do not work now, with the reason."""
        return {name: why for name, ask in self.parts.items() if (why := ask())}

    @property
    def sure(self) -> set[str]:
        """Parts whose problem does not pass within a moment."""
        return {*self.missing.why, *(each.worker.name for each in self._running.values() if each.local.problem())}

    def make(self, settings: AlertSettings) -> None:
        """Make the sinks that these settings name. Raises OptionError for what can never work."""
        self._plans = {plan.key: plan for plan in local_plans(settings, self._spent)}
        self._take(self._made(list(self._plans.values())))

    def try_again(self, now: float) -> bool:
        """Once a minute, what does not work is tried again; whether ``workers`` are others by that."""
        if not self.missing.due(now):
            return False
        for each in self._running.values():
            if each.local.problem():
                _beside(each.plan.name, each.local.try_again)
        made = self._made([plan for key, plan in self._plans.items() if key not in self._running], again=True)
        self._take(made)
        return bool(made)

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        calls = []
        for each in self._running.values():
            if silence := each.local.silence:
                try:
                    calls.append(call_in_thread(silence, f"silence {each.plan.name}"))
                except RuntimeError:  # no thread is to be had: one after the other then
                    silence()
        for call in concurrent.futures.wait(calls, SILENT_S).done:
            if error := call.exception():
                log.warning("a noise could not be ended (%s)", error or type(error).__name__)

    def _take(self, made: dict[Hashable, _RunningSink]) -> None:
        """Alert by these too."""
        self._running = {key: sink for key in self._plans if (sink := made.get(key) or self._running.get(key))}

    def _made(self, plans: Sequence[SinkSpec], *, again: bool = False) -> dict[Hashable, _RunningSink]:
        """Return each that can be made, ready and with its worker; none is made where one can never work."""
        made: dict[Hashable, _RunningSink] = {}
        try:
            for plan in plans:
                local = self.missing.make(plan.name, plan.make, again=again)
                if local:
                    made[plan.key] = _RunningSink(plan, local, self._worker(plan, local))
                    _beside(plan.name, local.try_again)
        except BaseException:
            _close(list(made.values()), 0.0)
            raise
        return made

    def _worker(self, plan: SinkSpec, local: Local) -> Worker[Event]:
        return in_background(
            local.sink,
            plan.name,
            deadline_s=local.deadline_s,
            wanted=local.wanted,
            at_end=local.silence,
            answered=partial(self._answered, plan.name),
        )


@dataclass(frozen=True)
class Local:
    """A sink, and how its worker is to treat it."""

    sink: Sink
    deadline_s: float  # what takes longer hangs
    wanted: Callable[[Event], bool]
    silence: Callable[[], object] | None = None  # off, for good; within a second, from any thread
    problem: Callable[[], str | None] = lambda: None  # what is known to be wrong before it is needed
    try_again: Callable[[], object] = lambda: None  # whether it works; called at the start and while it has a problem


@dataclass(frozen=True)
class SinkSpec:
    """A sink that is to be: ``make`` gives it ready, and raises one of ``NOT_HERE`` where it cannot work now.

    Plans with the same ``key`` are the same sink. ``pins``: what only one can have at a time.
    """

    key: Hashable
    name: str
    make: Callable[[], Local]
    pins: frozenset[int] = frozenset()


def local_plans(settings: AlertSettings, spent: deque[Span] | None = None) -> list[SinkSpec]:
    """Return each of them; ``make`` raises OptionError for what can never work.

    ``spent``: when the deterrent was loud before, and is from now on.
    """
    plans = [_relay(words) for words in settings.relays]
    plans += [_sound(what, settings) for what in settings.sounds]
    if settings.deterrent:
        plans.append(_deterrent(settings, spent))
    if settings.bell:
        plans.append(SinkSpec("bell", "the bell", _bell))
    if settings.on_alarm:
        plans.append(SinkSpec(("on alarm", settings.on_alarm), "--on-alarm", partial(_on_alarm, settings.on_alarm)))
    if settings.on_trouble:
        make = partial(_on_trouble, settings.on_trouble)
        plans.append(SinkSpec(("on trouble", settings.on_trouble), "--on-trouble", make))
    return plans


def _relay(words: str) -> SinkSpec:
    from edge.alert.gpio import parse_pin

    def make() -> Local:
        pin = _pin(words, "--relay")
        return Local(pin, 5.0, pin.wanted, pin.close)

    pins = frozenset({parse_pin(words, "--relay").number})
    return SinkSpec(("relay", words), f"relay {words}", make, pins)


def _sound(what: str, settings: AlertSettings) -> SinkSpec:
    def make() -> Local:
        from edge.alert.sound import Sound

        sound = Sound(what, seconds=settings.sound_s, device=settings.sound_device)
        # A loudspeaker that is not there is better known now than when a bear comes.
        return Local(sound, 15.0, sound.wanted, sound.close, partial(_problem_of, sound), sound.check)

    return SinkSpec(("sound", what, settings.sound_s, settings.sound_device), f"sound {what}", make)


def _deterrent(settings: AlertSettings, spent: deque[Span] | None) -> SinkSpec:
    from edge.alert.gpio import parse_pin

    programme, hours, device = settings.deterrent or "", settings.deterrent_hours, settings.sound_device

    def make() -> Local:
        from edge.alert.deterrent import Limits, open_deterrent

        deterrent = open_deterrent(programme, [], Limits(hours=hours), device=device, spent=spent)
        dark = dict.fromkeys(settings.deterrent_lamps, "")  # lamps that cannot be had now, and why
        lighting, closed = threading.Lock(), threading.Event()

        def light() -> None:
            with lighting:  # one thread at a time: two would open the same pin
                for words in tuple(dark):
                    if closed.is_set():
                        return
                    try:
                        lamp = _pin(words, "--deterrent-lamp")
                    except NOT_HERE as error:
                        dark[words] = f"lamp {words} stays dark: {error}"
                        continue
                    dark.pop(words)
                    deterrent.lamps.append(lamp)
                    if closed.is_set():  # meanwhile, perhaps without this lamp
                        lamp.close()

        def close() -> None:
            closed.set()  # without the lock: silence waits for no pin
            deterrent.close()

        def problem() -> str | None:
            return deterrent.problem or "; ".join(tuple(dark.values())) or None

        light()
        return Local(deterrent, 15.0, deterrent.wanted, close, problem, light)

    lamps = frozenset(parse_pin(words, "--deterrent-lamp").number for words in settings.deterrent_lamps)
    key = "deterrent", programme, settings.deterrent_lamps, hours.words if hours else None, device
    return SinkSpec(key, "deterrent", make, lamps)


def _bell() -> Local:
    from edge.alert.command import TerminalBell

    bell = TerminalBell()
    return Local(bell, 5.0, bell.wanted)


def _on_alarm(line: str) -> Local:
    from edge.alert.command import Command

    command = Command(line)
    return Local(command, command.limit_s + 5.0, command.wanted, problem=partial(command_in_doubt, line, "--on-alarm"))


def _on_trouble(line: str) -> Local:
    from edge.alert.command import Command

    command = Command(line, lambda event: event.kind in {"camera", "health", "test"})
    doubt = partial(command_in_doubt, line, "--on-trouble")
    return Local(command, command.limit_s + 5.0, command.wanted, problem=doubt)


def _problem_of(sink: Sound) -> str | None:
    return sink.problem


def _pin(words: str, option: str) -> Gpio:
    """Make the output of one pin option, switched off."""
    from edge.alert.gpio import Gpio, parse_pin

    pin = parse_pin(words, option)
    return Gpio(pin.number, seconds=pin.seconds, active_high=pin.active_high, pulse=pin.pulse)


@dataclass(frozen=True, eq=False)
class _RunningSink:
    """One of them."""

    plan: SinkSpec
    local: Local
    worker: Worker[Event]


def _close(sinks: Sequence[_RunningSink], within_s: float) -> None:
    """Have them finish what they have in hand, and be silent."""
    until = time.monotonic() + within_s
    for each in sinks:
        if each.plan.pins and each.local.silence:  # a pin is given back at once
            each.local.silence()
        each.worker.close(until - time.monotonic())


def _beside(name: str, call: Callable[[], object]) -> None:
    """Run slow work in a thread of its own."""

    def run() -> None:
        try:
            call()
        except Exception as error:
            log.warning("%s cannot be tried (%s)", name, str(error) or type(error).__name__)

    start_thread(run, f"try {name}")
