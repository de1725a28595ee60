"""What is wrong with a text that is no YAML, in words for people who never heard of YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

QUOTES = "put text that holds ': ' or begins with one of @ ` % * & ! in quotes"
FLOW_QUOTES = "put text that holds one of , ? [ ] { } in quotes"


def explain(error: yaml.YAMLError, text: str) -> tuple[int, int, str]:
    """Line and column, from 1, and a sentence that quotes nothing of the text."""
    from yaml import MarkedYAMLError

    mark = (error.problem_mark or error.context_mark) if isinstance(error, MarkedYAMLError) else None
    if not isinstance(error, MarkedYAMLError) or mark is None:
        return 0, 0, "this is no YAML"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    indent = line[: len(line) - len(line.lstrip())]
    problem, context = error.problem or "", error.context or ""
    if "\t" in indent or "'\\t'" in problem:
        return mark.line + 1, (line.find("\t") + 1) or 1, "a tab; YAML wants spaces"
    if "quoted scalar" in context and "end of stream" in problem:
        begun = error.context_mark or mark
        return begun.line + 1, begun.column + 1, "a quote begins here that never ends"
    if "flow" in context and error.context_mark is not None:
        begun = error.context_mark
        return (
            begun.line + 1,
            begun.column + 1,
            f"a [ or {{ begins here that is not closed as it should be; {FLOW_QUOTES}",
        )
    return mark.line + 1, mark.column + 1, _words(problem, context)


def _words(problem: str, context: str) -> str:
    if "mapping values are not allowed" in problem:
        return f"a colon where none can stand: mind the indentation, and {QUOTES}"
    if "could not find expected ':'" in problem:
        return "this is no 'key: value': a colon is missing, with a space behind it"
    if "cannot start any token" in problem:
        return f"a sign with which no value can begin; {QUOTES}"
    if "duplicate anchor" in problem:
        return "two anchors (&) have the same name"
    if "escape" in problem or "escape" in context:
        return r"a \ in double quotes begins an escape; write \\, or use single quotes"
    if "block" in context:
        return "the indentation does not fit the lines above; what belongs together begins in the same column"
    if "document start" in problem:
        return "this does not belong to what stands above; mind the indentation"
    return f"this is no YAML here; {QUOTES}"
