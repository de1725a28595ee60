"""Output of commands: progress in a log, where no bar can be, and one sentence where the disk is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.cli import output
from edge.cli.output import track

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


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what is logged, on a clock on which every look takes a second and none is a terminal."""
    now = iter(range(10_000))
    monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    monkeypatch.setattr(output, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: False)))
    caplog.set_level("INFO", logger="edge.cli.output")
    return caplog


def some(count: int) -> Iterator[int]:
    """Nobody knows how many."""
    yield from range(count)


def test_lines_come_ever_more_seldom_and_every_item_goes_through(printed: pytest.LogCaptureFixture) -> None:
    assert list(track(list(range(1500)), "reading")) == list(range(1500))
    at = [30, 60, 120, 240, 480, 960]
    assert printed.messages == [f"reading: {seconds - 1:,} of 1,500 after {seconds} s" for seconds in at]


def test_without_an_end_there_is_no_of_and_one_that_is_given_counts(printed: pytest.LogCaptureFixture) -> None:
    list(track(some(40), "listening"))
    list(track(some(40), "listening", 40))
    assert printed.messages == ["listening: 29 after 30 s", "listening: 29 of 40 after 30 s"]


def test_what_is_short_shows_nothing(printed: pytest.LogCaptureFixture) -> None:
    list(track(range(20), "reading"))
    assert printed.messages == []


def test_what_was_done_before_counts_as_done_and_not_in_the_rate(printed: pytest.LogCaptureFixture) -> None:
    with output.progress_bar("looking", 100_000, 40_000) as show:
        for second in range(1, 70):
            show(10 * second)
    assert printed.messages == [
        "looking: 40,310 of 100,000, 10.0 a second, 99 min left after 31 s",
        "looking: 40,630 of 100,000, 10.0 a second, 99 min left after 63 s",
    ]
