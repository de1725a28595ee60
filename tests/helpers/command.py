"""Run ``bear-alarm WORDS``, and hand back what it printed and its exit code.

``bear_alarm`` runs it inside the test's own process: a process of its own costs seconds of imports. ``in_a_process``
is for what only a process can show: encodings, pipes, other import paths, what happens when the interpreter ends.
"""

from __future__ import annotations

import faulthandler
import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from edge.cli.main import main

ROOT = Path(__file__).parents[2]
LIMIT_S = 600  # a command that hangs ends the worker, and every thread says where it was


@dataclass(frozen=True)
class Ran:
    """The result of a command, with the attribute names of ``subprocess.CompletedProcess``."""

    returncode: int
    stdout: str
    stderr: str


def bear_alarm(*words: object, cwd: Path | None = None, stdin: str = "", **environment: str) -> Ran:
    """Run the command as typed in ``cwd``; the caller's own BEAR_ALARM_ variables are left out."""
    env = _clean_environment()
    encoding, _, errors = environment.get("PYTHONIOENCODING", "utf-8").partition(":")
    out, err = (
        io.TextIOWrapper(io.BytesIO(), encoding, how, write_through=True)
        for how in (errors or "strict", "backslashreplace")
    )
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, env | {"COLUMNS": "100"} | environment, clear=True))
        stack.enter_context(mock.patch.object(sys, "argv", ["bear-alarm", *map(str, words)]))
        stack.enter_context(mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")))
        stack.enter_context(_working_in(cwd))
        stack.enter_context(own_logging())
        stack.enter_context(_own_signals())
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        faulthandler.dump_traceback_later(LIMIT_S, exit=True, file=2)
        stack.callback(faulthandler.cancel_dump_traceback_later)
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        else:
            code = 0
    return Ran(code, *(stream.buffer.getvalue().decode(encoding, "backslashreplace") for stream in (out, err)))


def in_a_process(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the same in a new process."""
    env = _clean_environment() | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"} | environment
    command = [sys.executable, "-m", "edge", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=env, text=True, capture_output=True, timeout=LIMIT_S, check=False)


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM")}


@contextmanager
def _working_in(folder: Path | None) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder or before)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def own_logging() -> Iterator[None]:
    """Keep pytest's own handlers and the rooms' levels out of the command's reach."""
    root = logging.getLogger()
    rooms = [logging.getLogger(name) for name in ("edge", "train", "export")]
    handlers, levels = root.handlers, [each.level for each in (root, *rooms)]
    root.handlers = []
    try:
        yield
    finally:
        root.handlers = handlers
        for each, level in zip((root, *rooms), levels, strict=True):
            each.setLevel(level)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Put back what the command sets for signals."""
    names = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in names}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
