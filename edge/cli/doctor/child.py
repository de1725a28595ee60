"""Run something in a process of its own, so that what kills it or hangs is a finding and not the doctor's end."""

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]  # the folder of ``edge``
LINE_MAX_CHARS = 400  # kept of a last line
SPARE_S = 5.0  # that a child may go on for where the doctor was killed
KILLED = {
    "SIGILL": "by an illegal instruction: it is made for another processor",
    "SIGSEGV": "by a memory fault",
    "SIGBUS": "by a memory fault",
    "SIGABRT": "by giving up",
    "SIGKILL": "by the system, perhaps for want of memory",
}

_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True, slots=True)
class Ended:
    """End of a child process."""

    code: int | None  # exit code, negative for a signal; None: it took too long
    out: bytes
    last: str  # the last line of its standard error
    within_s: float

    @property
    def answer(self) -> Any:
        """Return the JSON it printed last; None where it printed none."""
        lines = self.out.decode(errors="replace").strip().splitlines()
        try:
            return json.loads(lines[-1]) if lines and self.code == 0 else None
        except ValueError:
            return None

    @property
    def signal(self) -> str | None:
        """Return the name of the signal that killed it, "SIGILL"; None: it ended by itself, or took too long."""
        if self.code is None or self.code >= 0:
            return None
        try:
            return signal.Signals(-self.code).name
        except ValueError:
            return f"signal {-self.code}"

    @property
    def why(self) -> str:
        """Return how it ended: "was killed by …", "took longer than 20 s", or "fails (its last words)"."""
        if self.code is None:
            return f"took longer than {self.within_s:g} s"
        if self.signal:
            return f"was killed {KILLED.get(self.signal, 'by a signal')} ({self.signal})"
        return f"fails ({self.last or f'exit code {self.code}'})"


def call(function: str, asks: object, within_s: float, more: Mapping[str, str] | None = None) -> Ended:
    """Call a function in a child, which prints its answer as JSON: "package.module:function".

    ``asks`` goes in by standard input, for every user of the machine may read a command line. ``more``: variables
    for its environment.
    """
    module, name = function.split(":")
    # It ends by itself where the doctor was killed, for it may hold a camera.
    ends = f"import signal; signal.alarm({math.ceil(within_s + SPARE_S)}); " if os.name == "posix" else ""
    code = (
        f"{ends}import json, os, sys; sys.path.append({str(ROOT)!r}); from {module} import {name}; "
        f"answer = {name}(json.load(sys.stdin)); print(); print(json.dumps(answer), flush=True); "
        "os._exit(0)"  # whatever threads a library left behind
    )
    return run([sys.executable, "-P", "-c", code], within_s, json.dumps(asks).encode(), more)


def run(words: Sequence[str], within_s: float, asks: bytes = b"", more: Mapping[str, str] | None = None) -> Ended:
    """Run a program, and end it with all it started once it takes too long. Raises OSError where it cannot start."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=os.name == "posix",
        env={**os.environ, **(more or {})},
    )
    _running.add(process)
    code: int | None = None
    out, err = b"", b""
    try:
        out, err = process.communicate(asks, timeout=within_s)
        code = process.returncode
    except subprocess.TimeoutExpired:
        pass
    finally:
        _end(process)
        _running.discard(process)
    lines = err.decode(errors="replace").strip().splitlines()
    return Ended(code, out, lines[-1].strip()[:LINE_MAX_CHARS] if lines else "", within_s)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all it started: a camera's program would go on holding the camera."""
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
