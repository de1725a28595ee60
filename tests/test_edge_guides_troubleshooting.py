"""docs/troubleshooting.md and the sentences of the device: each of the one is in the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sayings import EDGE, ROOT, fixed, is_said, sayings

PAGE = ROOT / "docs" / "troubleshooting.md"
# Every sentence that one of these says is on the page: what is told while it watches, and what a user meets first.
ROOMS = (
    "alarm/*", "board/effort", "board/health", "camera/*", "classifier", "commands/reload", "commands/watch_names",
    "commands/watch_options", "config/__init__", "config/checks*", "config/filling", "config/known", "config/reading",
    "config/signs", "config/yaml_words", "evidence/store", "evidence/writer", "health", "journal/__init__",
    "journal/ballast", "journal/disk", "journal/opening", "lens", "models/__init__", "outbox/deliver",
    "outbox/web_address", "service/*", "sinks/command", "sinks/gpio", "sinks/in_doubt", "sinks/jsonl",
    "sinks/mqtt/connection", "sinks/mqtt/problems", "sinks/players", "sinks/sound", "sinks/worker", "state",
    "telemetry/*", "trouble", "watch", "watchdog/*",
)  # fmt: skip
# These hold files for the system, steps that went well, and what figures mean.
NO_TROUBLE = ("service/elsewhere", "service/steps", "service/unit", "telemetry/metrics")
# Not said: code, patterns of other programs' words, and steps that went well.
UNSAID = (
    "import cv2, numpy", "import sys, winsound", "alias bg break", "(?i)(user", "unicam|rp1", "rtsp_transport",
    "no step", "for path; do", "test -r", "test -w", "/usr/sbin:", "/etc/systemd/system/", "mapping values are",
    "could not find", "cannot start any", "text/plain", "crops must be uint8",
)  # fmt: skip
OPEN = re.compile(r"…|\b(?:CAMERA|FILE|FOLDER|WHY|N s|N)\b")  # what is filled in


def rooms() -> list[Path]:
    """The files of ROOMS."""
    found = {path for room in ROOMS for path in EDGE.glob(f"{room}.py")}
    return sorted(found - {EDGE / f"{each}.py" for each in NO_TROUBLE})


def quoted() -> list[str]:
    """The sentences on the page: its third headings and its quotes."""
    found = re.findall(r"^(?:###|> -) (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [line.removeprefix("`` ").removesuffix(" ``").strip() for line in found]


def test_whoever_finds_trouble_is_among_the_rooms():
    """A camera's troubles are told wherever they are found."""
    finders = {path for path in EDGE.rglob("*.py") if re.search(r"\bTrouble\(\"", path.read_text(encoding="utf-8"))}
    assert len(finders) >= 3
    assert finders <= set(rooms())


def test_the_rooms_are_there():
    for room in (*ROOMS, *NO_TROUBLE):
        assert list(EDGE.glob(f"{room}.py")), room


@pytest.mark.parametrize("sentence", quoted())
def test_a_quoted_sentence_is_one_of_ours(sentence: str):
    words = fixed(sentence, OPEN)
    assert words, "nothing of it could be looked for"
    missing = [phrase for phrase in words if not is_said(phrase)]
    assert not missing, f"edge/ says nothing like {missing}"


@pytest.mark.parametrize("path", rooms(), ids=lambda path: str(path.relative_to(EDGE)))
def test_every_sentence_of_a_room_is_on_the_page(path: Path):
    page = "\n".join(" ".join(sentence.split()) for sentence in quoted())
    missing = []
    for each in sayings(path):
        if any(word in " ".join(each.pieces) for word in UNSAID):
            continue
        if lacking := [phrase for phrase in each.phrases if phrase not in page]:
            missing.append(f"{each}\n    lacks: {lacking}")
    assert not missing, "docs/troubleshooting.md does not say what to do about\n" + "\n".join(missing)


def test_each_entry_says_what_to_do():
    """A heading is followed by words of its own before the next, or by quotes that say what to do themselves."""
    text = PAGE.read_text(encoding="utf-8")
    for entry in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        head, *rest = entry.split("\n## ")[0].splitlines()
        own = [line for line in rest if line.strip() and not line.startswith(">")]
        assert own or ";" in head, head


def test_a_sentence_that_somebody_adds_is_noticed(tmp_path: Path):
    """Whatever shape it has; what is only for debugging is not."""
    source = tmp_path / "room.py"
    source.write_text(
        '''"""A room with four new sentences."""

NAME = "bear-alarm"

def words(name, seconds, log):
    """Not said to anybody, however long it is."""
    if seconds > 5:
        raise OptionError(f"{name}: brand new")
    log.warning("%s: the kettle boils", name)
    log.debug("%s: nobody reads this sentence here", name)
    trouble = Trouble("gone", f"{name}: no {'picture' if seconds else 'frame'} came"
        f" for {seconds:.0f} s")
    return f"the {NAME} has had enough of {name}"
'''
    )
    found = ["…".join(each.pieces) for each in sorted(sayings(source), key=lambda each: each.line)]
    assert found == [
        "…: brand new", "…: the kettle boils", "…: no … came for … s", "the bear-alarm has had enough of …",
    ]  # fmt: skip
