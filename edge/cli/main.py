"""The entry point of ``bear-alarm``: answer `--help` and `--version`, and leave all else to ``edge.cli.app``."""

from __future__ import annotations

import codecs
import os
import signal
import sys
from io import TextIOWrapper
from types import FrameType

from edge.cli.commands import help_text
from edge.cli.leave import INTERRUPTED, leave, nobody_reads
from edge.version import __version__


def main() -> None:
    """Run ``bear-alarm`` with the words of the command line."""
    codecs.register_error("escape", escaped)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="escape")
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell has us ignore it
            signal.signal(signal.SIGINT, interrupt)
        words = sys.argv[1:]
        completing = any(name.startswith("_BEAR_ALARM_COMPLETE") for name in os.environ)
        if not completing and words in ([], ["--help"], ["-h"]):
            leave(0 if words else 2, help_text())
        if not completing and words == ["--version"]:
            leave(0, f"bear-alarm {__version__}")
        from edge.cli.app import run

        run(words)
    except KeyboardInterrupt:
        leave(INTERRUPTED)
    except BrokenPipeError:
        nobody_reads()


def escaped(error: UnicodeError) -> tuple[str, int]:
    """Return what standard output has no letters for, as the escapes of JSON: a name, or a sign in a sentence."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt at Ctrl-C; in the middle of an import, where it could get lost, end the process.

    An exception that is raised in one of the import system's callbacks is printed and forgotten.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
