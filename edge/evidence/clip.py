"""The alarm's side of the clip maker: starts its program, feeds it, and ends it when it takes too long."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import edge
from edge.detect.zones import Polygon
from edge.evidence.encode import CANNOT, half_written, packed
from edge.evidence.ring import Shot

log = logging.getLogger(__name__)

LIMIT_S = 300.0  # a minute of 720p may take a third of it on a small board
PROGRAM = (sys.executable, "-m", "edge.evidence.encode")


class ClipError(RuntimeError):
    """A clip was not made."""


class ClipMaker:
    """Makes one clip at a time in a child process. Call it from one thread; ``stop`` from any.

    Where this machine cannot encode, that is said once and nothing is tried any more.
    """

    def __init__(self, *, limit_s: float = LIMIT_S, program: Sequence[str] = PROGRAM) -> None:
        self.limit_s = limit_s
        self.program = tuple(program)
        self.cannot: str | None = None  # why there are no clips on this machine
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._path = Path()  # what the child makes
        self._stopped = False

    def __call__(self, shots: Sequence[Shot], path: Path, masks: Sequence[Polygon] = ()) -> bool:
        """Write the clip, whole or not at all; False where this machine cannot. Raises ClipError or OSError."""
        if self.cannot:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if self._stopped:
                raise ClipError("no time is left")
            child = self._child = self._start(path)
            self._path = path
        overdue = threading.Event()

        def end() -> None:
            overdue.set()
            child.kill()

        timer = threading.Timer(self.limit_s, end)
        timer.daemon = True
        timer.start()
        try:
            said = _feed(child, shots, masks)
        finally:
            timer.cancel()
            with self._lock:
                self._child = None
            child.kill()  # whatever went wrong here, no child is left behind
            child.wait()
            half_written(path).unlink(missing_ok=True)
        if child.returncode == CANNOT:
            self.cannot = said
            log.warning("there will be no clips, pictures only: %s", said)
            return False
        if child.returncode != 0:
            why = f"it took longer than {self.limit_s:g} s" if overdue.is_set() else said
            raise ClipError(why or f"exit code {child.returncode}")
        return True

    def stop(self) -> None:
        """End the one that is being made, for good: nothing of it stays."""
        with self._lock:
            self._stopped = True
            if self._child:
                self._child.kill()
                self._child.wait()
                half_written(self._path).unlink(missing_ok=True)

    def _start(self, path: Path) -> subprocess.Popen[bytes]:
        # The same edge as this one, wherever the alarm was started.
        home = str(Path(edge.__file__).parents[1])
        known = os.environ.get("PYTHONPATH")
        env = os.environ | {"PYTHONPATH": os.pathsep.join([home, known] if known else [home])}
        return subprocess.Popen(
            [*self.program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,  # Ctrl-C is for the alarm, which finishes what it has begun
        )


def _feed(child: subprocess.Popen[bytes], shots: Sequence[Shot], masks: Sequence[Polygon]) -> str:
    """Give the child its frames and wait for it: the last line it said, which is why it failed."""
    assert child.stdin is not None
    assert child.stderr is not None
    # A child that has ended says why on its standard error.
    with contextlib.suppress(OSError), child.stdin as pipe:
        for piece in packed(shots, masks):
            pipe.write(piece)
    with child.stderr as pipe:
        lines = pipe.read().decode(errors="replace").strip().splitlines()
    child.wait()
    return lines[-1] if lines else ""
