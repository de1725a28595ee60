"""What the doctor says of one thing, and a child process in which it tries what may kill or hang."""

from __future__ import annotations

import atexit
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# Something done in a Python of its own, so that what kills it or hangs is a finding and no end of ours.


ROOT = Path(__file__).parents[3]  # where ``edge`` lies
LINE_CHARS = 400  # characters kept of a last line
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
    return Ended(code, out, lines[-1].strip()[:LINE_CHARS] if lines else "", within_s)


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
class CheckResult:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str  # short, as a heading: "camera yard"
    state: State  # "unknown": it could not be looked at, which is no fault
    words: str  # what was seen, one sentence without a full stop; never a secret
    todo: str = ""  # what to do; empty where there is nothing to do
    group: str = ""  # what it belongs to: "Cameras"


def fine(name: str, words: str, todo: str = "") -> CheckResult:
    """It works."""
    return CheckResult(name, "fine", words, todo)


def doubt(name: str, words: str, todo: str) -> CheckResult:
    """The alarm works, but not as well or not as surely as it should."""
    return CheckResult(name, "doubt", words, todo)


def broken(name: str, words: str, todo: str) -> CheckResult:
    """The alarm cannot work so, or somebody would not be told."""
    return CheckResult(name, "broken", words, todo)


def unknown(name: str, words: str, todo: str = "") -> CheckResult:
    """It could not be looked at, or this machine has no such thing."""
    return CheckResult(name, "unknown", words, todo)


def verdict(findings: Sequence[CheckResult]) -> str:
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


NAME_WIDTH = 16
MARKS: Mapping[State, str] = {"fine": "✓", "doubt": "?", "broken": "✗", "unknown": "·"}
PLAIN_MARKS: Mapping[State, str] = {"fine": "+", "doubt": "?", "broken": "X", "unknown": "-"}
SAID: Mapping[State, str] = {"fine": "", "doubt": "in doubt: ", "broken": "BROKEN: ", "unknown": ""}
COLOURS: Mapping[State, str] = {"fine": "32", "doubt": "33", "broken": "1;31", "unknown": "2"}  # ANSI
ARROWS = "→", ">"  # before what to do


def lines_of(finding: CheckResult, width: int, *, encoding: str, colour: bool) -> list[str]:
    """The lines of one finding, at most ``width`` characters wide where words allow it."""
    signs = can_be_written("".join(MARKS.values()) + ARROWS[0], encoding)
    mark = (MARKS if signs else PLAIN_MARKS)[finding.state]
    if colour:
        mark = f"\033[{COLOURS[finding.state]}m{mark}\033[0m"
    beside = max(NAME_WIDTH, len(finding.name) + 2)
    indent = " " * (4 + NAME_WIDTH)
    words = f"{finding.name:<{beside}}{SAID[finding.state]}{finding.words}"
    first, *more = wrapped(words, max(width - 4, 40), "", " " * NAME_WIDTH)
    lines = [f"  {mark} {first}", *(f"    {line}" for line in more)]
    if finding.todo:
        arrow = ARROWS[0] if signs else ARROWS[1]
        lines += wrapped(f"{arrow} {finding.todo}", max(width, 44), indent, f"{indent}  ")
    if not signs:
        lines = [line.encode(encoding, "replace").decode(encoding) for line in lines]
    return lines


def wrapped(words: str, width: int, indent: str, further: str) -> list[str]:
    """Lines of words that are never cut: a path or a command is copied as it stands."""
    return textwrap.wrap(
        words,
        width,
        initial_indent=indent,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def can_be_written(signs: str, encoding: str) -> bool:
    """Whether the terminal's encoding has these signs."""
    try:
        signs.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
