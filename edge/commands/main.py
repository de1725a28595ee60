"""The front door: names and one-line help are static, so that ``--help`` imports nothing heavy.

A command's module is imported when the command is called. ``train``, ``evaluate`` and ``export`` live in
their own rooms and are found through the entry points of group ``bear_alarm.commands``.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from edge import __version__

INTERRUPTED = 130  # 128 + SIGINT, as shells count
NOBODY_READS = 141  # 128 + SIGPIPE

# name -> (section, one line of help, where it lives). None: an entry point of bear_alarm.commands.
COMMANDS: dict[str, tuple[str, str, str | None]] = {
    "watch": (
        "Watch for bears",
        "Watch a camera, a stream, a clip or a folder, and raise the alarm.",
        "edge.commands.watch:watch",
    ),
    "snapshot": (
        "Watch for bears",
        "Save one frame with what the alarm sees drawn on it: aim a camera with it.",
        "edge.commands.snapshot:snapshot",
    ),
    "classify": (
        "Watch for bears",
        "Look for bears in pictures, folders and SD cards.",
        "edge.commands.classify:classify",
    ),
    "tune": (
        "Watch for bears",
        "Set how much evidence an alarm needs, from footage without bears.",
        "edge.commands.tune:tune",
    ),
    "why": (
        "Watch for bears",
        "Explain an alarm or a quiet moment: what was seen, what held it back.",
        "edge.commands.why:why",
    ),
    "train": ("Make a model", "Train a model on your own pictures.", None),
    "export": ("Make a model", "Turn a trained run into the one file the alarm needs.", None),
    "evaluate": ("Make a model", "Measure a model on pictures and clips it has not seen.", None),
    "model": ("Look inside", "Show, check or choose the model file.", "edge.commands.model:app"),
    "schema": ("Look inside", "Print the JSON Schema of events or of the model card.", "edge.commands.schema:schema"),
}

INTRO = "An alarm that sees bears, on the device, with no network."
OUTRO = """\
Try it now:        bear-alarm watch demo
Aim a camera:      bear-alarm snapshot 0
Your camera:       bear-alarm watch 0
One command:       bear-alarm watch --help

It is an aid, not a life-safety device."""


def help_text() -> str:
    """What ``bear-alarm --help`` prints."""
    lines = ["Usage: bear-alarm COMMAND [OPTIONS] …", "", INTRO]
    section = ""
    for name, (where, line, _) in COMMANDS.items():
        if where != section:
            section = where
            lines += ["", f"{section}:"]
        lines.append(f"  {name:<12}{line}")
    lines += [
        "",
        "Options:",
        "  --version               Print the version.",
        "  --install-completion    Teach your shell to complete these commands.",
        "  --help                  Print this page; after a command, that command's page.",
        "",
        OUTRO,
    ]
    return "\n".join(lines)


def main() -> None:
    """Entry point of ``bear-alarm``."""
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell has us ignore it
            signal.signal(signal.SIGINT, interrupt)
        words = sys.argv[1:]
        completing = any(name.startswith("_BEAR_ALARM_COMPLETE") for name in os.environ)
        if not completing and words in ([], ["--help"], ["-h"]):
            print(help_text())
            leave(0 if words else 2)
        if not completing and words == ["--version"]:
            print(f"bear-alarm {__version__}")
            leave(0)
        from edge.commands.app import run

        run(words)
    except KeyboardInterrupt:
        leave(INTERRUPTED)
    except BrokenPipeError:
        nobody_reads()


def leave(code: int) -> NoReturn:
    """End the process with this exit code; with 141, and no words, where nobody reads its output any more."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads()
    sys.exit(code)


def nobody_reads() -> NoReturn:
    """End the process where whoever read its output has left, as ``| head`` does: no fault, and no words."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what is still to be written goes there; the interpreter's end would complain of it
    sys.exit(NOBODY_READS)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C: KeyboardInterrupt as ever, but the end at once in the middle of an import, where it could get lost.

    An exception that is raised in one of the import system's callbacks is printed and forgotten.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt
