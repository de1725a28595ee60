"""``--help`` of every command on a terminal of 80 columns: whole words, nothing cut off, flags that are flags."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edge.cli.app import load
from edge.cli.main import COMMANDS, help_text
from edge.errors import MissingExtraError
from tests.helpers.make_commands_page import PAGE, section, tree

ROOMS = sorted(COMMANDS)


def pages(name: str, capsys: Any) -> dict[str, tuple[Any, str]]:
    """The command and its page with all options, for one row of the table and each of its sub-commands."""
    try:
        command = load(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    found = {}
    for inner, each in [("", command), *getattr(command, "commands", {}).items()]:
        every = any("--help-all" in param.opts for param in each.params)
        asked = "--help-all" if every else "--help"
        command.main(args=[*inner.split(), asked], prog_name=f"bear-alarm {name}", standalone_mode=False)
        found[f"{name} {inner}".strip()] = each, capsys.readouterr().out
    return found


@pytest.mark.parametrize("name", ROOMS)
def test_each_page_fits_80_columns_and_names_each_option_whole(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    for full, (command, text) in pages(name, capsys).items():
        assert f"bear-alarm {full}" in text
        assert [line for line in text.splitlines() if len(line) > 80] == [], full
        assert not re.search(r"<\w*bool\w*>|[╭│╰]", text), full
        shown = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))
        own = [param for param in command.params if not getattr(param, "hidden", False)]  # what a person is to see
        options = [param for param in own if param.param_type_name == "option"]
        assert {word for param in options for word in (*param.opts, *param.secondary_opts)} <= shown, full
        flags = {param.opts[0] for param in options if param.is_flag}
        assert not [flag for flag in flags if re.search(rf"{flag} (TEXT|PATH|NUMBER|BOOL)", text)], full
        # Every word of an explanation is there as it was written.
        printed = {word for param in own for word in (param.help or "").split()}
        assert printed - set(text.split()) - {word.strip("[]") for word in text.split()} == set(), full


def test_a_page_shows_what_an_option_takes_its_limits_default_and_variable(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    found = pages("watch", capsys)["watch"][1]
    assert re.search(r"^  --follow +[A-Z]", found, re.MULTILINE)
    assert "--evidence, --record-path PATH" in found
    assert re.search(r"^  --bell / --no-bell +[A-Z]", found, re.MULTILINE)
    assert re.search(r"^  -q, --quiet ", found, re.MULTILINE)
    flat = " ".join(found.split())
    assert "--fps NUMBER" in flat
    assert "[0.25 to 60]" in flat
    assert "$BEAR_ALARM_MQTT" in flat
    assert "/etc/bear-alarm/config.yml" in found
    assert "Where and when:\n" in found
    assert "[default: snapshot.jpg]" in " ".join(pages("snapshot", capsys)["snapshot"][1].split())
    assert "[default: --resume]" in " ".join(pages("classify", capsys)["classify"][1].split())
    assert "[default: ]" not in " ".join(pages("gather", capsys)["gather inaturalist"][1].split())


def test_a_wide_terminal_is_not_filled_and_a_narrow_one_breaks_no_word(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "300")
    assert max(map(len, pages("watch", capsys)["watch"][1].splitlines())) <= 100
    monkeypatch.setenv("COLUMNS", "20")
    assert "/etc/bear-alarm/config.yml" in pages("watch", capsys)["watch"][1]


def test_the_page_of_watch_fits_on_a_screen_with_what_people_use_most(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    command = load("watch")
    command.main(args=["--help"], prog_name="bear-alarm watch", standalone_mode=False)
    lines = capsys.readouterr().out.splitlines()
    assert 24 <= len(lines) <= 40
    assert [line for line in lines if len(line) > 80] == []
    shown = [match[1] for line in lines if (match := re.match(r"  (--[a-z-]+)", line))]
    assert shown[0] == "--config"
    assert shown[-1] == "--help-all"
    assert 5 <= len(shown) <= 12
    assert {"--model", "--evidence", "--events", "--sound", "--on-alarm", "--follow", "--zone", "--fps"} <= set(shown)


def test_the_front_page_fits_80_columns():
    assert [line for line in help_text().splitlines() if len(line) > 80] == []


# docs/commands.md.


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
