"""docs/commands.md is what the commands say of themselves."""

from __future__ import annotations

import re

import pytest

from edge.cli.main import COMMANDS
from edge.errors import MissingExtraError
from tests.helpers.make_commands_page import PAGE, section, tree


def sections() -> dict[str, str]:
    """The page's sections by heading."""
    parts = re.split(r"^### (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: text.split("\n## ")[0].strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_each_command_as_it_is_and_no_other(name: str):
    try:
        found = {full: section(full, command) for full, command in tree(name)}
    except MissingExtraError as error:
        pytest.skip(str(error))
    page = {full: f"### {full}\n\n{text}\n" for full, text in sections().items() if full.split()[0] == name}
    assert page == found, "run: python tests/helpers/make_commands_page.py"


def test_the_page_has_no_section_but_for_commands():
    assert {each.split()[0] for each in sections()} == set(COMMANDS)
