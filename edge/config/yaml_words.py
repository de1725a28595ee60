"""What is wrong with a text that is no YAML, in words for people who never heard of YAML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edge.config.signs import invisible

if TYPE_CHECKING:
    import yaml

QUOTES = "put text that holds ': ' or begins with one of @ ` % * & ! in quotes"
FLOW_QUOTES = "put text that holds one of , ? [ ] { } in quotes"
NO_COLON = "this is no 'key: value': a colon is missing, or the space behind it"

Found = tuple[int, int, str]  # line and column, from 1, and a sentence


def explain(error: yaml.YAMLError, text: str) -> Found:
    """Where it is wrong, and a sentence that quotes nothing of the text."""
    from yaml import MarkedYAMLError

    mark = (error.problem_mark or error.context_mark) if isinstance(error, MarkedYAMLError) else None
    if not isinstance(error, MarkedYAMLError) or mark is None:
        return 0, 0, "this is no YAML"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    problem, context = error.problem or "", error.context or ""
    begun = error.context_mark or mark
    if "\t" in _indent(line) or "'\\t'" in problem:
        return mark.line + 1, (line.find("\t") + 1) or 1, "a tab; YAML wants spaces"
    if "mapping values are not allowed" in problem:
        return _stray_colon(lines, mark.line, mark.column)
    if "could not find expected ':'" in problem:
        return begun.line + 1, begun.column + 1, _no_colon(lines[begun.line])
    if "quoted scalar" in context and "end of stream" in problem:
        return begun.line + 1, begun.column + 1, "a quote begins here that never ends"
    if "flow" in context and error.context_mark is not None:
        words = f"a [ or {{ begins here that is not closed as it should be; {FLOW_QUOTES}"
        return begun.line + 1, begun.column + 1, words
    if "found '<scalar>'" in problem and line[: mark.column].strip():
        return mark.line + 1, mark.column + 1, "text goes on behind a quote that is closed; put all of it in quotes"
    return mark.line + 1, mark.column + 1, _words(problem, context)


def _stray_colon(lines: list[str], at: int, column: int) -> Found:
    """A colon where none can stand. Where it is that of a key, what is wrong is mostly the line above."""
    if not re.fullmatch(r"\s*[\w.-]+", lines[at][:column]):
        return at + 1, column + 1, f"a colon where none can stand: mind the indentation, and {QUOTES}"
    # Text goes on over lines, so the one above was taken for the beginning of this.
    above = next((number for number in range(at - 1, -1, -1) if lines[number].strip()), at)
    if ": " in lines[above] or above == at:
        return at + 1, len(_indent(lines[at])) + 1, "this is indented further than the line above, which has a value"
    return above + 1, len(_indent(lines[above])) + 1, _no_colon(lines[above])


def _no_colon(line: str) -> str:
    """What to say of a line that should be a key and its value."""
    if doubt := invisible(line):
        return doubt
    return "a space is missing behind the -" if re.match(r"\s*-[^\s-]", line) else NO_COLON


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _words(problem: str, context: str) -> str:
    if "cannot start any token" in problem:
        return f"a sign with which no value can begin; {QUOTES}"
    if "duplicate anchor" in problem:
        return "two anchors (&) have the same name"
    if "escape" in problem or "escape" in context:
        return r"a \ in double quotes begins an escape; write \\, or use single quotes"
    if "block scalar" in context:
        return "text that begins with | or > must stand in quotes"
    if "block" in context:
        return "the indentation does not fit the lines above; what belongs together begins in the same column"
    if "document start" in problem:
        return "this does not belong to what stands above; mind the indentation"
    return f"this is no YAML here; {QUOTES}"
