"""Write output: JSON, text no wider than the terminal, progress bars, and files that must not replace others."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from edge.errors import OptionError
from edge.files import need_folder
from edge.local_time import lasting

if TYPE_CHECKING:
    from rich.progress import Progress

log = logging.getLogger(__name__)

MIN_COLUMNS, MAX_COLUMNS = 60, 100

JsonOpt = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

T = TypeVar("T")

PATIENCE_S = 2.0
LINE_S = 30.0  # until the first line where there is no terminal; each comes after twice the time of the one before


def json_text(document: object) -> str:
    """Return a document as JSON for people and programs."""
    return json.dumps(document, indent=2, ensure_ascii=False)


def print_json(document: object) -> None:
    """Print a document as JSON, for ``--json``."""
    print(json_text(document))


def line_width(most: int = MAX_COLUMNS) -> int:
    """Return the terminal's width in characters, at least 60 and at most so many: longer lines are hard to read."""
    return max(MIN_COLUMNS, min(most, shutil.get_terminal_size().columns))


def wrapped(text: str, width: int, indent: str = "", further: str = "") -> list[str]:
    """Wrap text between words. None is cut, so that a path or a command can be copied."""
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    ) or [""]


def check_new_file(file: Path, example: str, *, option: str = "", force: bool = False) -> None:
    """Check that a file may be written. Raises OptionError for a folder, and for a file that exists without --force."""
    name = f"{option} {file}".strip()
    if file.is_dir():
        raise OptionError(f"{name}: is a folder; name a file, such as {file / example}")
    if file.exists() and not force:
        raise OptionError(f"{name}: is there already; name another file, or replace it with --force")


def check_writable(file: Path, option: str) -> None:
    """Raise OptionError where a file cannot be written: before hours of work, not after."""
    need_folder(file)
    try:
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise OptionError(f"{file}: cannot be written ({error.strerror}); name another {option} file") from None


def track(iterable: Iterable[T], words: str, total: int | None = None) -> Iterator[T]:
    """Yield the items of ``iterable``, with a bar called ``words`` once they have taken over two seconds.

    ``total`` is how many are to come; by default the iterable's length, and where it has none the bar has no end.
    Where stderr is no terminal, lines show how far it is.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if not sys.stderr.isatty():
        yield from _in_lines(iterable, words, total)
        return
    started, bar = time.monotonic(), None
    try:
        for done, item in enumerate(iterable):
            if bar is None and time.monotonic() - started > PATIENCE_S:
                bar = _start(words, total)
            if bar is not None:
                bar.update(bar.task_ids[0], completed=done)
            yield item
        if bar is not None and total is not None:
            bar.update(bar.task_ids[0], completed=total)
    finally:
        if bar is not None:
            bar.stop()


def _in_lines(iterable: Iterable[T], words: str, total: int | None) -> Iterator[T]:
    started, due_s = time.monotonic(), LINE_S
    for done, item in enumerate(iterable):
        lasted_s = time.monotonic() - started
        if lasted_s >= due_s:
            far = f"{done:,}" if total is None else f"{done:,} of {total:,}"
            log.info("%s: %s after %.0f s", words, far, lasted_s)
            due_s = 2 * lasted_s
        yield item


@contextmanager
def progress_bar(words: str, total: int, before: int = 0) -> Iterator[Callable[[int], None]]:
    """Yield a function to call each second with how many of ``total`` items are done, by several workers.

    It shows the items a second and the time left, at the average rate so far. ``before`` more were done earlier: they
    count as done, and not in the rate. Where stderr is no terminal, it logs lines, ever more seldom.
    """
    started, due_s, bar = time.monotonic(), LINE_S, None
    if sys.stderr.isatty():
        bar = _start(words, total, before)

    def show(done: int) -> None:
        nonlocal due_s
        lasted_s = time.monotonic() - started
        rate = done / lasted_s if lasted_s > 0.0 else 0.0
        far = f"{before + done:,} of {total:,}"
        if rate > 0.0:
            far += f", {rate:.1f} a second, {lasting(round((total - before - done) / rate))} left"
        if bar is not None:
            bar.update(bar.task_ids[0], completed=before + done, description=f"{words}: {far}")
        elif lasted_s > due_s:
            log.info("%s: %s after %s", words, far, lasting(lasted_s))
            due_s = 2 * lasted_s

    try:
        yield show
    finally:
        if bar is not None:
            bar.stop()


def _start(words: str, total: int | None, before: int | None = None) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    # The rate of a bar with ``before`` is in its words.
    counts = (MofNCompleteColumn(), TimeRemainingColumn()) if before is None else ()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *counts,
        console=Console(stderr=True),
        transient=True,
        # Redirected lines come out on this console: what goes into a file or pipe must not.
        redirect_stdout=sys.stdout.isatty(),
    )
    bar.add_task(words, total=total, completed=before or 0)
    bar.start()
    return bar


# A number and its noun, as every command writes them.


def counted(number: int, what: str) -> str:
    """Return a number with its noun: ``1 alarm``, ``2,000 alarms``."""
    return f"{number} {what}" if number == 1 else f"{number:,} {what}s"


def qr_code(url: str) -> str:
    """Return an address as a QR code; empty where the terminal has no letters for it."""
    import segno

    drawn = io.StringIO()
    segno.make(url, micro=False).terminal(drawn, compact=True)
    text = drawn.getvalue()
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return ""
    if not sys.stdout.isatty():
        return text
    return "".join(f"\033[97;40m{line}\033[0m\n" for line in text.splitlines())  # white on black on any terminal
