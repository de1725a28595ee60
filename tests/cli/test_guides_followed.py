"""Somebody follows the pages of docs/ that are typed from top to bottom, each in a fresh home folder."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import pytest

import edge.demo
from tests.helpers.guide_pages import Reader, steps

DEMO = Path(edge.demo.__file__).with_name("demo.mp4")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="the pages are typed into a POSIX shell"),
    pytest.mark.needs_tool("bash", "aplay"),
]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """At a board whose camera shows a place into which a bear comes, with some footage of it without one."""
    pytest.importorskip("gpiozero")
    reader = Reader(tmp_path / "home")
    cut(tmp_path / "yard.mp4", 11.5, 17.0)  # the bear comes at 13.7 s
    (reader.home / "bees").mkdir()
    cut(reader.home / "bees" / "yard-1.mp4", 0.0, 4.0)
    reader.env["BEAR_ALARM_FAKE_CAMERA"] = f"clip={tmp_path / 'yard.mp4'}"
    return reader


def cut(path: Path, begin_s: float, end_s: float) -> None:
    """Write this part of the demo."""
    video = cv2.VideoCapture(str(DEMO))
    fps, size = video.get(cv2.CAP_PROP_FPS), tuple(int(video.get(n)) for n in (3, 4))
    out = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    for number in range(int(end_s * fps)):
        read, picture = video.read()
        assert read
        if number >= begin_s * fps:
            out.write(picture)
    out.release()
    video.release()
    assert path.stat().st_size > 0


@pytest.mark.parametrize(("page", "least"), [("raspberry-pi.md", 10), ("desktop.md", 9), ("updates.md", 9)])
def test_every_step_of_the_page_works_as_it_shows(reader: Reader, page: str, least: int):
    done = 0
    for step in steps(page):
        problem = reader.follow(step)
        assert not problem, f"docs/{page}, {problem}"
        done += bool(step.ours and not step.by_hand)
    assert done >= least, "the page has lost its commands, or they are no longer recognised"
