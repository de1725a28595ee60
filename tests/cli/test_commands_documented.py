"""docs/commands.md and the command: every command, sub-command, argument and option of the one is in the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from edge.cli.app import load
from edge.cli.commands import COMMANDS
from edge.errors import MissingExtraError

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
TOLD = "Who is told"  # a section that several commands share
LEAST = 12  # characters of a meaning


def tree(name: str) -> Iterator[tuple[str, Any]]:
    """``alert test`` and its command, for each command and sub-command of one row of the table."""
    command = load(name)
    inner = getattr(command, "commands", None)
    if inner is None or own(command):
        yield name, command
    for each, found in (inner or {}).items():
        yield f"{name} {each}", found


def own(command: Any) -> list[Any]:
    """Its arguments and options, but for --help and the front door's own."""
    return [param for param in command.params if param.name not in {"help", "install_completion", "show_completion"}]


def spelled(command: Any) -> set[str]:
    """Its options as they are typed, short ones too; of arguments only how many there are."""
    options = [param for param in own(command) if param.param_type_name == "option"]
    return {word for param in options for word in (*param.opts, *param.secondary_opts)}


@cache
def sections() -> dict[str, str]:
    """The page's sections by heading."""
    parts = re.split(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name.strip(): text.split("\n## ")[0] for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def rows(section: str) -> list[tuple[str, str]]:
    """The first and second cell of each row in a section's table, without its head."""
    found = re.findall(r"^\| (.+?) \| (.*) \|$", sections()[section], re.MULTILINE)
    return [row for row in found if row[0] != "option"]


def written(section: str) -> set[str]:
    """The options that a section names, with those of the sections it refers to."""
    names = {word for cell, _ in rows(section) for word in re.findall(r"`(-[^`]*)`", cell)}
    return names | (written(TOLD) if f"[{TOLD}]" in sections()[section] and section != TOLD else set())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_on_the_page_and_no_other(name: str):
    try:
        found = dict(tree(name))
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert found
    for full, command in found.items():
        assert full in sections(), f"docs/commands.md has no section for `bear-alarm {full}`"
        assert written(full) == spelled(command), full
        arguments = [cell for cell, _ in rows(full) if not cell.startswith("`-")]
        assert len(arguments) == len([one for one in own(command) if one.param_type_name == "argument"]), full
    mine = {each for each in sections() if each.split()[0] == name}
    assert mine == set(found), "a section for a command that does not exist"


def test_the_page_has_no_section_but_for_commands():
    assert {each.split()[0] for each in sections()} - set(TOLD.split()) == set(COMMANDS)


@pytest.mark.parametrize("section", sections())
def test_every_option_has_a_meaning(section: str):
    for cell, meaning in rows(section):
        assert len(meaning) >= LEAST, f"{section} {cell}"


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_and_variables_are_named(name: str):
    """What an option is where it is left out, and the environment variable that stands for it, change the outcome."""
    try:
        found = dict(tree(name))
    except MissingExtraError as error:
        pytest.skip(str(error))
    for full, command in found.items():
        meaning = dict(rows(full)) | (dict(rows(TOLD)) if f"[{TOLD}]" in sections()[full] else {})
        for param in own(command):
            if param.param_type_name != "option":
                continue
            words = next(text for cell, text in meaning.items() if f"`{param.opts[0]}`" in cell)
            variables = [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or ())
            assert all(each in words for each in variables), f"{full} {param.opts[0]}"
            default = getattr(param.default, "value", param.default)
            if param.is_flag or not isinstance(default, str | int | float):
                continue
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert shown in words, f"{full} {param.opts[0]}: left out, it is {shown}"
