"""What the doctor is to look at: this device, its config and what was named on the command line."""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge.config import SYSTEM
from edge.device.systemd import NAME
from edge.errors import BearAlarmError, OptionError
from edge.files import ENVIRONMENT, JOURNAL, SERVICE, state_folder
from edge.settings import Camera, Settings

# Something done in a Python of its own, so that what kills it or hangs is a finding and no end of ours.


ROOT = Path(__file__).parents[3]  # where ``edge`` lies
SAID = 400  # characters kept of a last line
LEFT_S = 5.0  # that a child may go on for where nobody ends it in time
KILLED = {
    "SIGILL": "by an illegal instruction: it is made for another processor",
    "SIGSEGV": "by a memory fault",
    "SIGBUS": "by a memory fault",
    "SIGABRT": "by giving up",
    "SIGKILL": "by the system, perhaps for want of memory",
}
ILLEGAL, FAULT = 0xC000001D, 0xC0000005  # Windows: illegal instruction, access violation

_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int | None  # exit code, negative for a signal; None: it took too long
    out: bytes
    last: str  # of what it said on standard error, the last line
    within_s: float

    @property
    def answer(self) -> Any:
        """The JSON it printed last; None where it printed none."""
        lines = self.out.decode(errors="replace").strip().splitlines()
        try:
            return json.loads(lines[-1]) if lines and self.code == 0 else None
        except ValueError:
            return None

    @property
    def signal(self) -> str | None:
        """The name of the signal that killed it, "SIGILL"; None: it ended by itself, or took too long."""
        if self.code is None or (self.code >= 0 and self.code not in (ILLEGAL, FAULT)):
            return None
        if self.code in (ILLEGAL, FAULT):
            return "SIGILL" if self.code == ILLEGAL else "SIGSEGV"
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"

    @property
    def why(self) -> str:
        """How it ended, in words: "was killed by …", "took longer than 20 s", or its last words."""
        if self.code is None:
            return f"took longer than {self.within_s:g} s"
        if self.signal:
            return f"was killed {KILLED.get(self.signal, 'by a signal')} ({self.signal})"
        return self.last or f"ended with code {self.code}"


def python(module: str, asks: object, within_s: float, more: Mapping[str, str] | None = None) -> Ended:
    """Run ``main(asks)`` of a module in a child, which prints its JSON answer. ``asks`` goes in by standard input.

    Not by the command line, which every user of the machine may read. ``more``: what its environment has beside ours.
    """
    # Where the doctor itself is killed nobody is left to end a child that hangs, and holds a camera.
    ends = f"import signal; signal.alarm({math.ceil(within_s + LEFT_S)}); " if os.name == "posix" else ""
    code = (
        f"{ends}import json, sys; sys.path.append({str(ROOT)!r}); from {module} import main; "
        "answer = main(json.load(sys.stdin)); print(); print(json.dumps(answer), flush=True)"
    )
    # -P: a numpy.py in the working folder is none of ours. It ends at once where a library left threads behind.
    words = [sys.executable, "-P", "-c", f"{code}; import os; os._exit(0)"]
    return run(words, within_s, json.dumps(asks).encode(), more)


def run(words: list[str], within_s: float, asks: bytes = b"", more: Mapping[str, str] | None = None) -> Ended:
    """Run a program, and end it with all it started once it takes too long. Raises OSError where it cannot start."""
    posix = os.name == "posix"
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=posix,
        env={**os.environ, **more} if more else None,
    )
    _running.add(process)
    try:
        out, err = process.communicate(asks, timeout=within_s)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        _end(process)
        code, out, err = None, b"", b""
    finally:
        _end(process)
        _running.discard(process)
    lines = err.decode(errors="replace").strip().splitlines()
    return Ended(code, out, lines[-1].strip()[:SAID] if lines else "", within_s)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all it started: a camera's program would go on holding the camera."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1.0)  # one that hangs in the kernel cannot be waited for
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()


@atexit.register
def end_all() -> None:
    """End those that still run, where the doctor was interrupted."""
    for process in list(_running):
        _end(process)


# What the doctor says of one thing.


State = Literal["fine", "doubt", "broken", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str  # short, as a heading: "camera yard"
    state: State  # "unknown": it could not be looked at, which is no fault
    words: str  # what was seen, one sentence without a full stop; never a secret
    todo: str = ""  # what to do; empty where there is nothing to do
    group: str = ""  # what it belongs to: "Cameras"


def fine(name: str, words: str, todo: str = "") -> Finding:
    """It works."""
    return Finding(name, "fine", words, todo)


def doubt(name: str, words: str, todo: str) -> Finding:
    """The alarm works, but not as well or not as surely as it should."""
    return Finding(name, "doubt", words, todo)


def broken(name: str, words: str, todo: str) -> Finding:
    """The alarm cannot work so, or somebody would not be told."""
    return Finding(name, "broken", words, todo)


def unknown(name: str, words: str, todo: str = "") -> Finding:
    """It could not be looked at, or this machine has no such thing."""
    return Finding(name, "unknown", words, todo)


def verdict(findings: Sequence[Finding]) -> str:
    """The last line: how many are broken or in doubt and which; "All is well." where none is."""
    wrong = [each for each in findings if each.state == "broken"]
    doubted = [each for each in findings if each.state == "doubt"]
    if not wrong and not doubted:
        unseen = sum(each.state == "unknown" and bool(each.todo) for each in findings)
        things = "one thing" if unseen == 1 else f"{unseen} things"
        return f"Nothing is wrong; {things} could not be looked at." if unseen else "All is well."
    counts = [f"{len(each)} {word}" for each, word in ((wrong, "broken"), (doubted, "in doubt")) if each]
    named = list(dict.fromkeys(each.name for each in (*wrong, *doubted)))
    return f"{', '.join(counts)}: {', '.join(named)}."


ASK_S = 5.0  # for systemctl
UNIT = Path("etc/systemd/system/bear-alarm.service")  # below the root


@dataclass(frozen=True)
class Patient:
    """One device. ``root`` is where its /sys, /proc, /etc and /dev are looked for, which tests have of their own."""

    settings: Settings = field(default_factory=Settings)
    config: Path | None = None  # the file the settings are from
    mistakes: tuple[str, ...] = ()  # what is wrong in that file, a sentence each; the settings are the defaults then
    sources: tuple[Camera, ...] = ()  # named on the command line: tried instead of the configured cameras
    try_cameras: bool = True
    given_state: Path | None = None
    root: Path = Path("/")

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """Those to try."""
        return self.sources or self.settings.cameras

    @property
    def has_service(self) -> bool:
        """Whether the systemd unit is installed here."""
        return (self.root / UNIT).is_file()

    @property
    def state(self) -> Path:
        """The state folder of the alarm that is looked at: the one named, the config's, the service's, or one's own.

        Raises OptionError where there is none.
        """
        if self.given_state or self.settings.state:
            return state_folder(self.given_state or self.settings.state)
        asked = any(os.environ.get(name) for name in (ENVIRONMENT, "STATE_DIRECTORY"))
        service = self.root / SERVICE.relative_to("/")
        try:
            own = state_folder()
        except OptionError:
            if not self.has_service:
                raise
            return service
        return service if self.has_service and not asked and not (own / JOURNAL).exists() else own

    @property
    def evidence(self) -> Path:
        """The folder of evidence, whether it is there or not. Raises OptionError where there is no state folder."""
        kept = self.settings.evidence
        if kept.folder:
            return kept.folder.expanduser().absolute()
        return self.state / "evidence" if self.has_service else Path("evidence").absolute()

    @property
    def environment(self) -> dict[str, str]:
        """What the service's environment has and ours has not: there its chosen model lies."""
        served = self.has_service and self.config in (None, SYSTEM)
        return {"XDG_CONFIG_HOME": str(self.root / "etc")} if served else {}

    @property
    def alarm_runs(self) -> bool:
        """Whether an alarm is at work here now: on that state folder, as its lock says, or as the service."""
        from edge.record.database import Alive

        try:
            if Alive(self.state, "").others():
                return True
        except BearAlarmError:
            pass
        # Its folder, and so its lock, is closed to other users.
        try:
            return self.has_service and run(["systemctl", "is-active", "--quiet", NAME], ASK_S).code == 0
        except OSError:
            return False
