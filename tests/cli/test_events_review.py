"""Two reviewers at once: one waits for the other, and what either decided stays."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge.errors import OptionError
from edge.files import replace_whole
from edge.record import review as room
from edge.record.review import Review, parse_review, read_review, write_review

AT = "2026-11-24T08:12:07.000Z"


@pytest.fixture(params=["event", "negative"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An event's folder, and a random negative."""
    if request.param == "event":
        (tmp_path / "031207-yard-1f0c9a3b").mkdir()
        (tmp_path / "031207-yard-1f0c9a3b" / "event.json").write_text("{}")
        return tmp_path / "031207-yard-1f0c9a3b"
    sample = tmp_path / "negatives" / "2026-11-24" / "101500-yard-77aa.jpg"
    sample.parent.mkdir(parents=True)
    sample.write_bytes(b"x")
    return sample


def test_no_review_is_lost_where_many_review_at_once(unit: Path) -> None:
    notes = [f"{person} notes {number}" for number in range(10) for person in "abcd"]
    with ThreadPoolExecutor(4) as people:
        [path] = set(people.map(lambda note: write_review(unit, Review("wrong", AT, note=note)), notes))
    found = json.loads(path.read_bytes())
    assert {found["note"], *(each["note"] for each in found["earlier"])} == set(notes)
    assert len(found["earlier"]) == len(notes) - 1
    there = {each.name for each in path.parent.iterdir()}
    assert there == {path.name, "event.json" if unit.is_dir() else unit.name}, "a lock leaves no file in evidence"


def test_who_holds_it_for_long_is_not_waited_for(unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WAIT_S", 0.0)
    written, run_for = threading.Event(), threading.Event()

    def slow(path: Path, data: bytes) -> None:
        written.set()
        assert run_for.wait(60)
        replace_whole(path, data)

    with ThreadPoolExecutor(1) as other:
        monkeypatch.setattr(room, "replace_whole", slow)
        first = other.submit(write_review, unit, Review("confirmed", AT))
        assert written.wait(60)
        with pytest.raises(OptionError, match="another program has been reviewing it"):
            write_review(unit, Review("wrong", AT))
        run_for.set()
        first.result()
    assert (read_review(unit) or Review("unsure", AT)).verdict == "confirmed"


@pytest.mark.skipif(sys.platform == "win32", reason="there the lock is another")
def test_where_the_disk_takes_no_lock_it_goes_on_without(unit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", none)
    write_review(unit, Review("wrong", AT))
    assert (read_review(unit) or Review("unsure", AT)).verdict == "wrong"


def test_a_box_beyond_all_numbers_is_a_sentence() -> None:
    data = f'{{"schema_version": 1, "verdict": "wrong", "at": "x", "box_xywh": [0, 0, {10**400}, 1]}}'.encode()
    with pytest.raises(OptionError, match="no review this program can read"):
        parse_review(data, "it")
