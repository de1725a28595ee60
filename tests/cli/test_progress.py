"""How far something long is, said in a log, where no bar can be."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from edge.cli import output
from edge.cli.output import track


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Return what is logged, on a clock on which every look takes a second and none is a terminal."""
    now = iter(range(10_000))
    monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    monkeypatch.setattr(output, "sys", SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: False)))
    caplog.set_level("INFO", logger="edge.cli.output")
    return caplog


def some(count: int) -> Iterator[int]:
    """Nobody knows how many."""
    yield from range(count)


def test_lines_come_ever_more_seldom_and_every_item_goes_through(said: pytest.LogCaptureFixture) -> None:
    assert list(track(list(range(1500)), "reading")) == list(range(1500))
    at = [30, 60, 120, 240, 480, 960]
    assert said.messages == [f"reading: {seconds - 1:,} of 1,500 after {seconds} s" for seconds in at]


def test_without_an_end_there_is_no_of_and_one_that_is_given_counts(said: pytest.LogCaptureFixture) -> None:
    list(track(some(40), "listening"))
    list(track(some(40), "listening", 40))
    assert said.messages == ["listening: 29 after 30 s", "listening: 29 of 40 after 30 s"]


def test_what_is_short_says_nothing(said: pytest.LogCaptureFixture) -> None:
    list(track(range(20), "reading"))
    assert said.messages == []
