"""``--on-alarm CMD`` and ``--on-trouble CMD``: any command, with the event on its standard input."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

from edge.schema import Event


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
        """The command for people: its first word alone, for any other may be a password or a PIN."""
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
    """What a command finds in its environment: BEAR_KIND, BEAR_CAMERA and so on, "" where the event has none."""
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
