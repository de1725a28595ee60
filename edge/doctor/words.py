"""Findings for people: a mark and words, what to do in the line below."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from edge.doctor.finding import Finding, State

NAME_WIDTH = 16
MARKS: Mapping[State, str] = {"fine": "✓", "doubt": "?", "broken": "✗", "unknown": "·"}
PLAIN_MARKS: Mapping[State, str] = {"fine": "+", "doubt": "?", "broken": "X", "unknown": "-"}
SAID: Mapping[State, str] = {"fine": "", "doubt": "in doubt: ", "broken": "BROKEN: ", "unknown": ""}
COLOURS: Mapping[State, str] = {"fine": "32", "doubt": "33", "broken": "1;31", "unknown": "2"}  # ANSI
ARROWS = "→", ">"  # before what to do


def lines_of(finding: Finding, width: int, *, encoding: str, colour: bool) -> list[str]:
    """The lines of one finding, at most ``width`` characters wide where words allow it."""
    signs = can_be_written("".join(MARKS.values()) + ARROWS[0], encoding)
    mark = (MARKS if signs else PLAIN_MARKS)[finding.state]
    if colour:
        mark = f"\033[{COLOURS[finding.state]}m{mark}\033[0m"
    beside = max(NAME_WIDTH, len(finding.name) + 2)
    indent = " " * (4 + NAME_WIDTH)
    words = f"{finding.name:<{beside}}{SAID[finding.state]}{finding.words}"
    first, *more = wrapped(words, max(width - 4, 40), "", " " * NAME_WIDTH)
    lines = [f"  {mark} {first}", *(f"    {line}" for line in more)]
    if finding.todo:
        arrow = ARROWS[0] if signs else ARROWS[1]
        lines += wrapped(f"{arrow} {finding.todo}", max(width, 44), indent, f"{indent}  ")
    if not signs:
        lines = [line.encode(encoding, "replace").decode(encoding) for line in lines]
    return lines


def wrapped(words: str, width: int, indent: str, further: str) -> list[str]:
    """Lines of words that are never cut: a path or a command is copied as it stands."""
    return textwrap.wrap(
        words,
        width,
        initial_indent=indent,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def can_be_written(signs: str, encoding: str) -> bool:
    """Whether the terminal's encoding has these signs."""
    try:
        signs.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
