"""Recipes of the documentation work as people copy them."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from edge.alert.local_sinks import Command
from edge.schema import Event
from tests.record.test_trace import soon

WATCHING = Path(__file__).parents[2] / "docs" / "watching.md"
AT = "2026-11-24T02:12:07.000Z"


def script(page: Path) -> str:
    """The first shell script of a page, as a person copies it."""
    lines = page.read_text().splitlines()
    first = lines.index("    #!/bin/sh")
    last = next(index for index in range(first, len(lines)) if lines[index] and not lines[index].startswith("    "))
    return textwrap.dedent("\n".join(lines[first:last])).strip() + "\n"


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell's script")
def test_the_alarm_script_writes_down_every_alarm_and_sounds(tmp_path, monkeypatch):
    alarm = tmp_path / "alarm.sh"
    alarm.write_text(script(WATCHING))
    alarm.chmod(0o755)
    player = tmp_path / "bin" / "aplay"
    player.parent.mkdir()
    player.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/played.txt\n')
    player.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{player.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    run = Command(str(alarm))
    bear: dict[str, Any] = {"label": "brown_bear", "score": 0.948, "zones": ("hives",)}
    run(Event("bear", "new", "ab" * 16, 1, "run", "yard", AT, **bear))
    run(Event("test", "new", "cd" * 16, 2, "run", "alarm", AT))
    run(Event("bear", "end", "ab" * 16, 3, "run", "yard", AT, **bear))  # no alarm
    written = (tmp_path / "bears.txt").read_text().splitlines()
    assert len(written) == 2
    assert written[0].endswith(" brown bear 95 % at yard in hives")
    assert written[1].endswith(" test at alarm")
    played = tmp_path / "played.txt"
    soon(lambda: played.exists() and len(played.read_text().splitlines()) == 2)  # it plays in the background
    assert set(played.read_text().splitlines()) == {f"-q {tmp_path}/horn.wav"}
