"""Write docs/commands.md from the commands themselves: `python tests/helpers/make_commands_page.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from edge.cli.app import load
from edge.cli.help_page import argument_name, help_of, names_of
from edge.cli.main import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
INTRO = """\
# Every command

Written from the program by `python tests/helpers/make_commands_page.py`; a test compares the two.
`bear-alarm COMMAND --help` prints the same for one command.

Alarms and messages go to standard error, JSON to standard output. Exit codes: 0 success, 2 your input or setup,
1 internal error, 130 Ctrl-C (`watch` ends with 0), 141 broken pipe; a command with other codes lists them. An option
that may be given again takes one value each time: `--zone A --zone B`. `BEAR_ALARM_DEBUG=1` before a command shows
where an internal error comes from.
"""


def tree(name: str) -> Iterator[tuple[str, Any]]:
    """Yield ``alert test`` and its command, for each command and sub-command of one row of the table."""
    command = load(name)
    inner = getattr(command, "commands", None) or {}
    if not inner or command.invoke_without_command:
        yield name, command
    for each, found in inner.items():
        yield f"{name} {each}", found


def section(full: str, command: Any) -> str:
    """Return a command's heading, what it does, and its arguments and options."""
    ctx = typer.Context(command, info_name=f"bear-alarm {full}")
    paragraphs = [" ".join(each.split()) for each in (command.help or "").split("\n\n")]
    rows = []
    for param in command.get_params(ctx):
        if getattr(param, "hidden", False) or param.name in {"help", "install_completion", "show_completion"}:
            continue
        name = argument_name(param) if param.param_type_name == "argument" else names_of(param, ctx)
        rows.append(f"| `{name}` | {help_of(param)} |".replace("|`", "| `").replace("*", "\\*"))
    table = ["| | |", "|---|---|", *(_cells(row) for row in rows)] if rows else []
    return "\n".join([f"### {full}", "", "\n\n".join(paragraphs), *(["", *table] if table else [])]) + "\n"


def _cells(row: str) -> str:
    """Return a table's row in which only the cells' own bars are bars."""
    name, _, what = row.removeprefix("| ").removesuffix(" |").partition("` | ")
    return f"| {name.replace('|', ' or ')}` | {what.replace('|', '&#124;')} |"


def page() -> str:
    """Return the whole page."""
    lines, group = [INTRO], ""
    for name, (title, _, _) in COMMANDS.items():
        if title != group:
            group = title
            lines.append(f"## {title}\n")
        lines += [section(full, command) for full, command in tree(name)]
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
