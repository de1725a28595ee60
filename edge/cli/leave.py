"""End the process: exit codes, and what to do when standard output cannot be written."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

INTERRUPTED = 130  # 128 + SIGINT, as shells count
NOBODY_READS = 141  # 128 + SIGPIPE
NOT_WRITTEN = 2  # the user can make room on a full disk


def leave(code: int, words: str | None = None) -> NoReturn:
    """End the process with this exit code, after some last words on standard output.

    With 141, and no words, where the pipe is broken; with 2 where it cannot be written.
    """
    try:
        if words is not None:
            print(words)
    except OSError as error:
        not_written(error)
    if fault := unwritable():
        not_written(fault)
    sys.exit(code)


def unwritable(*, lost: bool = False) -> OSError | None:
    """Return what keeps standard output from taking what was printed; None where nothing does.

    ``lost``: a write has failed somewhere, which may have been this one; writing an empty line shows it.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        if lost:
            os.write(1, b"\n")
    except OSError as error:
        return error
    return None


def not_written(fault: OSError) -> NoReturn:
    """End the process where its output cannot be written: with a sentence, but for a pipe whose reader has left."""
    if isinstance(fault, BrokenPipeError):
        nobody_reads()
    _write_nowhere()
    why = fault.strerror or type(fault).__name__
    print(f"bear-alarm: standard output cannot be written ({why}); write it somewhere else", file=sys.stderr)
    sys.exit(NOT_WRITTEN)


def nobody_reads() -> NoReturn:
    """End the process whose reader has left, as ``| head`` does: no fault, and no words."""
    _write_nowhere()
    sys.exit(NOBODY_READS)


def _write_nowhere() -> None:
    """Send what is still to be written nowhere; the interpreter would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
