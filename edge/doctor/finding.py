"""What the doctor says of one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["fine", "doubt", "broken", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it."""

    name: str  # short, as a heading: "camera yard"
    state: State  # "unknown": it could not be looked at, which is no fault
    words: str  # what was seen, one sentence without a full stop; never a secret
    todo: str = ""  # what to do; empty where there is nothing to do
    group: str = ""  # what it belongs to: "Cameras"


def fine(name: str, words: str, todo: str = "") -> Finding:
    """It works."""
    return Finding(name, "fine", words, todo)


def doubt(name: str, words: str, todo: str) -> Finding:
    """The alarm works, but not as well or not as surely as it should."""
    return Finding(name, "doubt", words, todo)


def broken(name: str, words: str, todo: str) -> Finding:
    """The alarm cannot work so, or somebody would not be told."""
    return Finding(name, "broken", words, todo)


def unknown(name: str, words: str, todo: str = "") -> Finding:
    """It could not be looked at, or this machine has no such thing."""
    return Finding(name, "unknown", words, todo)


def verdict(findings: Sequence[Finding]) -> str:
    """The last line: how many are broken or in doubt and which; "All is well." where none is."""
    wrong = [each for each in findings if each.state == "broken"]
    doubted = [each for each in findings if each.state == "doubt"]
    if not wrong and not doubted:
        unseen = sum(each.state == "unknown" and bool(each.todo) for each in findings)
        things = "one thing" if unseen == 1 else f"{unseen} things"
        return f"Nothing is wrong; {things} could not be looked at." if unseen else "All is well."
    counts = [f"{len(each)} {word}" for each, word in ((wrong, "broken"), (doubted, "in doubt")) if each]
    named = list(dict.fromkeys(each.name for each in (*wrong, *doubted)))
    return f"{', '.join(counts)}: {', '.join(named)}."
