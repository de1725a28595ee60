"""Alerts on this device: sounds, relays, the deterrent, the bell and commands; at once, and never tried again.

To add one: write it in ``edge/alert/`` as a callable that takes an ``Event``, and make a ``SinkSpec`` of it in
``local_plans``.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from edge.background import Sink, Worker, call_in_thread, in_background, start_thread
from edge.errors import NOT_HERE, BearAlarmError

if TYPE_CHECKING:
    from edge.alert.deterrent import Span
    from edge.alert.gpio import Gpio
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

log = logging.getLogger(__name__)

SILENT_S = 0.5
AGAIN_S = 60.0  # how often what cannot work is tried again
COMMAND_S = 30.0  # what a command may take
DETERRENT = "deterrent"
BELL = "bell"

Made = TypeVar("Made")

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
        self._running: dict[Hashable, RunningSink] = {}

    @property
    def workers(self) -> list[Worker[Event]]:
        """In the order in which they are called."""
        return [each.worker for each in self._running.values()]

    @property
    def acting(self) -> list[Worker[Event]]:
        """Return those that make a noise or do something, in the order in which they are called: all but the bell."""
        return [each.worker for key, each in self._running.items() if key != BELL]

    @property
    def ringing(self) -> list[Worker[Event]]:
        """Return the terminal's bell, where it rings."""
        return [each.worker for key, each in self._running.items() if key == BELL]

    @property
    def running(self) -> dict[str, RunningSink]:
        """Return each sink with its worker, by name."""
        return {each.worker.name: each for each in self._running.values()}

    @property
    def parts(self) -> dict[str, Ask]:
        """Return what health asks, by name."""
        parts = self.missing.parts
        for each in self._running.values():
            parts[each.worker.name] = each.problem
        return parts

    @property
    def problems(self) -> dict[str, str]:
        """Return the sinks that do not work now, with the reason."""
        return {name: why for name, ask in self.parts.items() if (why := ask())}

    @property
    def lasting(self) -> set[str]:
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
                start_thread(each.local.try_again, f"try {each.worker.name}")
        made = self._made([plan for key, plan in self._plans.items() if key not in self._running], again=True)
        self._take(made)
        return bool(made)

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        calls = []
        for each in self._running.values():
            if silence := each.local.silence:
                try:
                    calls.append(call_in_thread(silence, f"silence {each.worker.name}"))
                except RuntimeError:  # no thread is to be had: one after the other then
                    silence()
        for call in concurrent.futures.wait(calls, SILENT_S).done:
            if error := call.exception():
                log.warning("a noise could not be ended (%s)", error or type(error).__name__)

    def _take(self, made: dict[Hashable, RunningSink]) -> None:
        self._running = {key: sink for key in self._plans if (sink := made.get(key) or self._running.get(key))}

    def _made(self, plans: Sequence[SinkSpec], *, again: bool = False) -> dict[Hashable, RunningSink]:
        """Return each that can be made, ready and with its worker; none is made where one can never work."""
        made: dict[Hashable, RunningSink] = {}
        try:
            for plan in plans:
                local = self.missing.make(plan.name, plan.make, again=again)
                if local:
                    worker = in_background(
                        local.sink,
                        plan.name,
                        deadline_s=local.deadline_s,
                        wanted=local.wanted,
                        at_end=local.silence,
                        answered=partial(self._answered, plan.name),
                    )
                    made[plan.key] = RunningSink(local, worker)
                    start_thread(local.try_again, f"try {plan.name}")
        except BaseException:
            for each in made.values():
                each.worker.close(0.0)
            raise
        return made


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

    Plans with the same ``key`` are the same sink.
    """

    key: Hashable
    name: str
    make: Callable[[], Local]


def local_plans(settings: AlertSettings, spent: deque[Span] | None = None) -> list[SinkSpec]:
    """Return each of them; ``make`` raises OptionError for what can never work.

    ``spent``: when the deterrent was loud before, and is from now on.
    """
    plans = [_relay(words) for words in settings.relays]
    plans += [_sound(what, settings) for what in settings.sounds]
    if settings.deterrent:
        plans.append(_deterrent(settings, spent))
    if settings.bell:
        bell = TerminalBell()
        plans.append(SinkSpec(BELL, "the bell", lambda: Local(bell, 5.0, bell.wanted)))
    if settings.on_alarm:
        plans.append(_command("--on-alarm", Command(settings.on_alarm)))
    if settings.on_trouble:
        wanted = {"camera", "health", "test", "notice"}
        plans.append(_command("--on-trouble", Command(settings.on_trouble, lambda event: event.kind in wanted)))
    return plans


def _relay(words: str) -> SinkSpec:
    def make() -> Local:
        pin = _pin(words, "--relay")
        return Local(pin, 5.0, pin.wanted, pin.close)

    return SinkSpec(("relay", words), f"relay {words}", make)


def _sound(what: str, settings: AlertSettings) -> SinkSpec:
    def make() -> Local:
        from edge.alert.sound import Sound

        sound = Sound(what, seconds=settings.sound_s, device=settings.sound_device)
        # A loudspeaker that is not there is better known now than when a bear comes.
        return Local(sound, 15.0, sound.wanted, sound.close, lambda: sound.problem, sound.check)

    return SinkSpec(("sound", what, settings.sound_s, settings.sound_device), f"sound {what}", make)


def _deterrent(settings: AlertSettings, spent: deque[Span] | None) -> SinkSpec:
    programme, hours, device = settings.deterrent or "", settings.deterrent_hours, settings.sound_device

    def make() -> Local:
        from edge.alert.deterrent import open_deterrent

        deterrent = open_deterrent(programme, hours, device=device, spent=spent)
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

    key = "deterrent", programme, settings.deterrent_lamps, hours.words if hours else None, device
    return SinkSpec(key, DETERRENT, make)


def _command(option: str, command: Command) -> SinkSpec:
    def make() -> Local:
        return Local(command, COMMAND_S + 5.0, command.wanted, problem=lambda: command_in_doubt(command.line, option))

    return SinkSpec((option, command.line), option, make)


def _pin(words: str, option: str) -> Gpio:
    from edge.alert.gpio import Gpio, parse_pin

    pin = parse_pin(words, option)
    return Gpio(pin.number, seconds=pin.seconds, active_high=pin.active_high, pulse=pin.pulse)


@dataclass(frozen=True, eq=False)
class RunningSink:
    """A sink, and the worker that calls it."""

    local: Local
    worker: Worker[Event]

    def problem(self) -> str | None:
        """Return why it does not work; None while all is well."""
        return self.worker.problem() or self.local.problem()


class Unavailable:
    """Collect what cannot work now, by name, with the reason.

    ``why`` is never cleared ahead of a try: what fails again stays in it.
    """

    def __init__(self) -> None:
        self.why: dict[str, str] = {}
        self._tried = time.monotonic()

    @property
    def parts(self) -> dict[str, Ask]:
        """Return what health asks, by name."""
        return {name: partial(str, f"{name}: {why}") for name, why in self.why.items()}

    def due(self, now: float) -> bool:
        """Return True when a retry is due: once a minute; ``now``: time.monotonic()."""
        if now - self._tried < AGAIN_S:
            return False
        self._tried = now
        return True

    def make(self, name: str, make: Callable[[], Made], *, again: bool = False) -> Made | None:
        """Return the result of ``make``, or None and note it as missing. Raises OptionError for a mistake.

        ``again``: these settings are in use. Whatever goes wrong with them by now, such as a file that has become
        damaged, is missing too: it ends nothing that works.
        """
        try:
            made = make()
        except NOT_HERE as error:
            self.why[name] = str(error)
            return None
        except Exception as error:
            if not again:
                raise
            self.why[name] = str(error) if isinstance(error, BearAlarmError) else f"{type(error).__name__} in making it"
            log.debug("%s cannot be made", name, exc_info=error)
            return None
        self.why.pop(name, None)
        return made


# ``--on-alarm CMD`` and ``--on-trouble CMD``: any command, with the event on its standard input; and the bell.

# Builtins and reserved words of POSIX shells, and characters that make a word more than a name.
_WORDS = """
! . : [ [[ { alias bg break builtin case cd command continue echo eval exec exit export false fg for function getopts
hash if jobs kill local printf pwd read readonly return select set shift source test time times trap true type ulimit
umask unalias unset until wait while
"""
SHELL_WORDS = frozenset(_WORDS.split())
SHELL_SIGNS = frozenset("$`=;&|<>(){}*?[]#\n")


class CommandError(RuntimeError):
    """The command did not do what it was called for."""


class Command:
    """Runs a shell command line for ``wanted`` events, by default alarms; the event's JSON is its standard input.

    What a short script needs is in its environment too (``variables``). It may take 30 seconds; then it and
    what it started are ended. What it leaves in the background goes on. Raises CommandError for a time limit reached
    and for any exit code but 0. What it prints goes to standard error, for standard output is the machine's.
    """

    def __init__(self, line: str, wanted: Callable[[Event], bool] = lambda event: event.alarms) -> None:
        self.line = line
        self.wanted = wanted

    @property
    def shown(self) -> str:
        """Return the command for people: its first word alone, for any other may be a password or a PIN."""
        first, *more = self.line.split() or [""]
        words = ["…" if "=" in first else first, *(["…"] if more and "=" not in first else [])]
        return f"`{' '.join(words)}`"

    def __call__(self, event: Event) -> None:
        """Run it, if this event is wanted, and wait for it."""
        if not self.wanted(event):
            return
        if code := self.run(event.to_json(), variables(event), COMMAND_S):
            raise CommandError(f"{self.shown} ended with exit code {code}")

    def run(self, line: str, variables: Mapping[str, str], limit_s: float) -> int:
        """Run it with one line of input, and return its exit code. Raises CommandError for the time limit."""
        # Its own session: Ctrl-C at the terminal is for us, and a time limit ends the whole group.
        with subprocess.Popen(
            self.line,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=2,
            env=os.environ | variables,
            start_new_session=os.name == "posix",
        ) as process:
            try:
                process.communicate(line.encode() + b"\n", timeout=limit_s)
            except subprocess.TimeoutExpired:
                if os.name == "posix":
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                raise CommandError(f"{self.shown} took longer than {limit_s:.2g} s and was ended") from None
        return process.returncode


def variables(event: Event) -> dict[str, str]:
    """Return what a command finds in its environment: BEAR_KIND, BEAR_CAMERA and so on, "" where the event has none."""
    found = {
        "KIND": event.kind,
        "TYPE": event.type,
        "ID": event.id,
        "CAMERA": event.camera,
        "TIME": event.captured_at,
        "LABEL": event.label,
        "SCORE": None if event.score is None else f"{event.score:.2f}",
        "ZONES": " ".join(event.zones),
        "ESCALATED": event.escalated,
        "DETAIL": event.detail,
        "EVIDENCE": event.evidence,
    }
    return {f"BEAR_{name}": (value or "").replace("\0", "") for name, value in found.items()}


def command_in_doubt(line: str, option: str) -> str | None:
    """Return a sentence if the shell cannot run the first word of an option's command line, else None.

    Only plain words are judged: no assignments, expansions or other constructs of the shell, and not on Windows.
    """
    if os.name != "posix":
        return None
    try:
        first = shlex.split(line)[0]
    except (ValueError, IndexError):
        return None
    if first in SHELL_WORDS or SHELL_SIGNS & set(first) or shutil.which(os.path.expanduser(first)):  # noqa: PTH111
        return None
    return (
        f"{option}: `{first}` is no program on the PATH and no executable file, so it may do nothing when needed; "
        "check its name, and that it may be executed"
    )


class TerminalBell:
    """Rings for a bear, and where a camera or the alarm itself fails; nothing but a terminal gets the character."""

    def wanted(self, event: Event) -> bool:
        """Return whether this is an alarm or the start of a fault."""
        return event.alarms or (event.kind in {"camera", "health", "notice"} and event.type == "new")

    def __call__(self, event: Event) -> None:
        """Ring, if this event is wanted."""
        stream = sys.__stderr__
        if self.wanted(event) and stream is not None and stream.isatty():
            stream.write("\a")
            stream.flush()
