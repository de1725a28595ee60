"""The entry point of ``bear-alarm``, its table of commands, and how the process ends."""

from __future__ import annotations

import codecs
import contextlib
import gc
import os
import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

from edge.version import __version__

WATCH, MAKE, LOOK = "Watch for bears", "Make a model", "Look inside"  # sections of the help page
# name -> (section, one line of help, where it lives). None: an entry point of bear_alarm.commands.
COMMANDS: dict[str, tuple[str, str, str | None]] = {
    "watch": (
        WATCH,
        "Watch a camera, a stream, a clip or a folder, and raise the alarm.",
        "edge.cli.watch.command:watch",
    ),
    "snapshot": (
        WATCH,
        "Save one frame with what the alarm sees in it, to aim a camera.",
        "edge.cli.snapshot:snapshot",
    ),
    "classify": (WATCH, "Look for bears in pictures, clips, folders and SD cards.", "edge.cli.classify:classify"),
    "tune": (WATCH, "Set how much evidence an alarm needs, from footage without bears.", "edge.cli.tune:tune"),
    "alert": (WATCH, "Send a test alarm through every channel: `alert test`.", "edge.cli.alert:app"),
    "why": (WATCH, "Explain an alarm or a quiet moment, and what held the alarm back.", "edge.cli.why:why"),
    "stage": (WATCH, "Show or set a camera's stage: whom its alarms reach.", "edge.cli.stage:stage"),
    "events": (WATCH, "List what happened; lock, review or export its pictures.", "edge.cli.events.command:app"),
    "service": (WATCH, "Start at boot and restart after any failure.", "edge.cli.service:app"),
    "page": (WATCH, "Become the owner of the alarm's page in a browser.", "edge.cli.page:app"),
    "fleet": (WATCH, "See many devices in one view, and hear when one falls silent.", "edge.cli.fleet:fleet"),
    "phone": (WATCH, "Write the alarm as a web app for phones, or serve it.", "edge.cli.phone:phone"),
    "doctor": (WATCH, "Check this device: what is fine or broken, and what to do.", "edge.cli.doctor.command:doctor"),
    "gather": (MAKE, "Bring pictures in, with their table and licences.", None),
    "train": (MAKE, "Train a model on your own pictures.", None),
    "clean": (MAKE, "Find wrong labels with the model's help, decide them, train again.", None),
    "export": (MAKE, "Turn a trained run into the one file the alarm needs.", None),
    "evaluate": (MAKE, "Measure a model on pictures and clips it has not seen.", None),
    "report": (MAKE, "Write one page on how good a run's model is, and where it fails.", None),
    "compare": (MAKE, "Say whether a new model is shown to be better than the old one.", None),
    "notebooks": (MAKE, "Copy the notebooks: clean labels, try a model, go the whole way.", None),
    "feedback": (MAKE, "Learn from the alarm's own pictures that people have reviewed.", None),
    "bench": (
        LOOK,
        "Measure how many cameras this machine can watch.",
        "edge.cli.bench:bench",
    ),
    "model": (LOOK, "Show, check, choose, sign and update models.", "edge.cli.model:app"),
    "config": (LOOK, "Write a config file, or check one: `config check`.", "edge.cli.config:app"),
    "schema": (LOOK, "Print the JSON Schema of events, the model card or the config.", "edge.cli.schema:schema"),
}

INTRO = "An alarm that sees bears, on the device, with no network."
OUTRO = """\
Try it now:        bear-alarm watch demo
Aim a camera:      bear-alarm snapshot 0
Your camera:       bear-alarm watch 0
One command:       bear-alarm watch --help

It is an aid, not a life-safety device."""

M_ARENA_MAX = -8  # of malloc.h
INTERRUPTED = 130  # 128 + SIGINT, as shells count
NOBODY_READS = 141  # 128 + SIGPIPE
NOT_WRITTEN = 2  # the user can make room on a full disk


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
        if words[:1] == ["watch"]:
            start_small()
        from edge.cli.app import run

        run(words)
    except KeyboardInterrupt:
        leave(INTERRUPTED)
    except BrokenPipeError:
        nobody_reads()
    finally:
        gc.enable()
        gc.unfreeze()


def start_small() -> None:
    """Keep start and memory of a command that runs for months small; before numpy is imported.

    The garbage collector finds nothing while modules are imported, and waits for ``edge.cli.watch``. pydantic would
    ask all installed packages for plugins. numpy and OpenCV would each start a thread for every processor, for products
    of matrices that are not made here. And each thread would have an arena of glibc's, whose free memory no other can
    use (mallopt(3)).
    """
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError):  # another libc, which has no arenas
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


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


def help_text() -> str:
    """Return what ``bear-alarm --help`` prints."""
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
