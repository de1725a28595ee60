"""What commands write: JSON, text no wider than the terminal, and files that must not replace others."""

from __future__ import annotations

import json
import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import OptionError

MIN_COLUMNS, MAX_COLUMNS = 60, 100

JsonOpt = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


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
        text,
        width,
        initial_indent=indent,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def check_new_file(file: Path, example: str, *, option: str = "", force: bool = False) -> None:
    """Check that a file may be written. Raises OptionError for a folder, and for a file that exists without --force."""
    name = f"{option} {file}".strip()
    if file.is_dir():
        raise OptionError(f"{name}: is a folder; name a file, such as {file / example}")
    if file.exists() and not force:
        raise OptionError(f"{name}: is there already; name another file, or replace it with --force")
