"""Results of the doctor's checks, written for a person: a mark, words, and below what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edge.cli.output import wrapped

State = Literal["fine", "doubt", "broken", "unknown"]

NAME_WIDTH = 16
MARKS: Mapping[State, str] = {"fine": "✓", "doubt": "?", "broken": "✗", "unknown": "·"}
PLAIN_MARKS: Mapping[State, str] = {"fine": "+", "doubt": "?", "broken": "X", "unknown": "-"}
SAID: Mapping[State, str] = {"fine": "", "doubt": "in doubt: ", "broken": "BROKEN: ", "unknown": ""}
COLOURS: Mapping[State, str] = {"fine": "32", "doubt": "33", "broken": "1;31", "unknown": "2"}  # ANSI
ARROWS = "→", ">"  # before what to do


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str  # short, as a heading: "camera yard"
    state: State  # "unknown": it could not be looked at, which is no fault
    words: str  # what was seen, one sentence without a full stop; never a secret
    todo: str = ""  # what to do; empty where there is nothing to do
    group: str = ""  # what it belongs to: "Cameras"


def fine(name: str, words: str, todo: str = "") -> CheckResult:
    """Report what works."""
    return CheckResult(name, "fine", words, todo)


def doubt(name: str, words: str, todo: str) -> CheckResult:
    """Report that the alarm works, but not as well or not as surely as it should."""
    return CheckResult(name, "doubt", words, todo)


def broken(name: str, words: str, todo: str) -> CheckResult:
    """Report that the alarm cannot work so, or cannot notify."""
    return CheckResult(name, "broken", words, todo)


def unknown(name: str, words: str, todo: str = "") -> CheckResult:
    """Report what could not be looked at, or what this machine has not."""
    return CheckResult(name, "unknown", words, todo)


def split_todo(sentence: str, otherwise: str) -> tuple[str, str]:
    """Split what is wrong from what to do, which our errors have in one sentence with a semicolon."""
    what, _, todo = sentence.partition("; ")
    return what, todo or otherwise


def verdict(findings: Sequence[CheckResult]) -> str:
    """Return the result in one line: how many are broken or in doubt and which; "All is well." where none is."""
    wrong = [each for each in findings if each.state == "broken"]
    doubted = [each for each in findings if each.state == "doubt"]
    if not wrong and not doubted:
        unseen = sum(each.state == "unknown" and bool(each.todo) for each in findings)
        things = "one thing" if unseen == 1 else f"{unseen} things"
        return f"Nothing is wrong; {things} could not be looked at." if unseen else "All is well."
    counts = [f"{len(each)} {word}" for each, word in ((wrong, "broken"), (doubted, "in doubt")) if each]
    named = list(dict.fromkeys(each.name for each in (*wrong, *doubted)))
    return f"{', '.join(counts)}: {', '.join(named)}."


def lines_of(finding: CheckResult, width: int, *, encoding: str, colour: bool) -> list[str]:
    """Write the lines of one finding, at most ``width`` characters wide where words allow it."""
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


def can_be_written(signs: str, encoding: str) -> bool:
    """Return whether the terminal's encoding has these signs."""
    try:
        signs.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
