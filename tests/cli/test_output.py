"""Standard output that cannot be written, as on a full disk: one sentence and exit code 2, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", ["--version", "schema event", "watch --help", ""])
def test_a_full_disk_is_one_sentence(words):
    env = {name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM")}
    with FULL.open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "edge", *words.split()], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            env=env | {"PYTHONPATH": str(ROOT)}, timeout=120,
        )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr == (
        "bear-alarm: standard output cannot be written (No space left on device); write it somewhere else\n"
    )
