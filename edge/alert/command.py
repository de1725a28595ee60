"""``--on-alarm CMD`` and ``--on-trouble CMD``: any command, with the event on its standard input; and the bell."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TextIO

from edge.schema import Event

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

    What a short script needs is in its environment too (``variables``). It may take ``limit_s`` seconds; then it and
    what it started are ended. What it leaves in the background goes on. Raises CommandError for a time limit reached
    and for any exit code but 0. What it prints goes to standard error, for standard output is the machine's.
    """

    def __init__(
        self, line: str, wanted: Callable[[Event], bool] = lambda event: event.alarms, *, limit_s: float = 30.0
    ) -> None:
        self.line = line
        self.wanted = wanted
        self.limit_s = limit_s

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
        # Its own session: Ctrl-C at the terminal is for us, and a time limit ends the whole group.
        with subprocess.Popen(
            self.line,
            shell=True,
            stdin=subprocess.PIPE,
            stdout=_stderr(),
            env=os.environ | variables(event),
            start_new_session=os.name == "posix",
        ) as process:
            try:
                process.communicate(event.to_json().encode() + b"\n", timeout=self.limit_s)
            except subprocess.TimeoutExpired:
                if os.name == "posix":
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                raise CommandError(f"{self.shown} took longer than {self.limit_s:g} s and was ended") from None
        if process.returncode != 0:
            raise CommandError(f"{self.shown} ended with exit code {process.returncode}")


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


def _stderr() -> int:
    """Our standard error, or nowhere when we have none (a service may be started so)."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


def command_in_doubt(line: str, option: str = "--on-alarm") -> str | None:
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

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def wanted(self, event: Event) -> bool:
        """Return whether this is an alarm or the start of a fault."""
        return event.alarms or (event.kind in {"camera", "health"} and event.type == "new")

    def __call__(self, event: Event) -> None:
        """Ring, if this event is wanted."""
        stream = self._stream or sys.__stderr__
        if self.wanted(event) and stream is not None and stream.isatty():
            stream.write("\a")
            stream.flush()
