"""What a person said of an event: written whole, read back, never lost, and refused where it makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import BearAlarmError, OptionError
from edge.record.review import VERDICTS, Review, parse_review, read_review, review_path, write_review
from tests.helpers.command import bear_alarm
from tests.helpers.state_folder import StateFolder, events_of

AT = "2026-11-24T08:12:07.000Z"
A, B = "a1" * 16, "b2" * 16


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "state")


def visit(tmp_path: Path) -> Path:
    """An event's folder."""
    folder = tmp_path / "2026-11-24" / "031207-yard-1f0c9a3b"
    folder.mkdir(parents=True)
    (folder / "event.json").write_text("{}")
    return folder


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_review_is_read_as_it_was_written(tmp_path: Path, verdict: Any) -> None:
    label = "fox" if verdict == "relabelled" else None
    review = Review(verdict, AT, label, "anna", "ein Fuchs, größer", (0.1, 0.2, 0.3, 0.4))
    folder = visit(tmp_path)
    assert read_review(folder) is None
    assert write_review(folder, review) == folder / "review.json"
    assert read_review(folder) == review
    assert {path.name for path in folder.iterdir()} == {"event.json", "review.json"}


def test_what_was_decided_before_stays_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    folder = visit(tmp_path)
    write_review(folder, Review("confirmed", AT, by="anna"))
    path = write_review(folder, Review("wrong", "2026-11-25T08:00:00.000Z", by="ben", note="a stump"))
    before = path.read_bytes()
    write_review(folder, Review("wrong", "2026-11-26T08:00:00.000Z", by="ben", note="a stump"))
    assert path.read_bytes() == before
    found = json.loads(before)
    assert (found["verdict"], found["schema_version"]) == ("wrong", 1)
    assert [(one["verdict"], one["by"]) for one in found["earlier"]] == [("confirmed", "anna")]


def test_a_negative_is_reviewed_beside_its_file(tmp_path: Path) -> None:
    sample = tmp_path / "negatives" / "2026-11-24" / "101500-yard-77aa.jpg"
    sample.parent.mkdir(parents=True)
    sample.write_bytes(b"x")
    assert write_review(sample, Review("wrong", AT)) == sample.with_name("101500-yard-77aa.review.json")
    assert read_review(sample) == Review("wrong", AT)
    assert review_path(sample).parent == sample.parent


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"verdict": "right"}, "none of confirmed, wrong"),
        ({"verdict": "relabelled"}, "a label goes with relabelled"),
        ({"verdict": "wrong", "label": "fox"}, "a label goes with relabelled"),
        ({"verdict": "relabelled", "label": "Red Fox"}, "small letters"),
        ({"verdict": "relabelled", "label": 3}, "small letters"),
        ({"verdict": "confirmed", "box_xywh": (0.5, 0.5, 0.6, 0.1)}, "fractions"),
        ({"verdict": "confirmed", "box_xywh": (0.5, 0.5, float("nan"), 0.1)}, "fractions"),
        ({"verdict": "confirmed", "box_xywh": "0.5"}, "fractions"),
        ({"verdict": "confirmed", "note": "x" * 3000}, "3000 characters"),
        ({"verdict": "confirmed", "by": 7}, "no text"),
    ],
)
def test_a_review_that_makes_no_sense_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Review(at=AT, **given)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"schema_version": 2}',
        b'{"schema_version": 1}',
        b"\xff\xfe",
        b"[" * 100000,
        b'{"schema_version": 1, "verdict": "wrong", "at": "x", "earlier": [3]}',
    ],
)
def test_a_damaged_review_is_one_sentence_and_is_not_written_over(tmp_path: Path, data: bytes) -> None:
    folder = visit(tmp_path)
    (folder / "review.json").write_bytes(data)
    for work in (lambda: read_review(folder), lambda: write_review(folder, Review("wrong", AT))):
        with pytest.raises(OptionError, match="mend it, or delete it") as error:
            work()
        assert "\n" not in str(error.value)
    assert (folder / "review.json").read_bytes() == data


def test_what_a_later_version_adds_is_passed_over() -> None:
    data = json.dumps({"schema_version": 1, "verdict": "unsure", "at": AT, "mood": "fine"}).encode()
    assert parse_review(data, "it") == Review("unsure", AT)


def test_nothing_is_reviewed_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="its evidence is gone"):
        write_review(tmp_path / "away", Review("wrong", AT))


def test_an_event_is_reviewed_by_its_id(state: StateFolder, capsys: Any) -> None:
    path = state.evidence(A)
    state.bear(A, evidence=path)
    assert "reviewed: a bear" in events_of(
        state, capsys, "review", "a1", "--confirmed", "--note", "big", "--by", "anna"
    )
    folder = (state.folder / path).parent
    review = read_review(folder)
    assert review is not None
    assert (review.verdict, review.note, review.by) == ("confirmed", "big", "anna")
    assert "reviewed: brown bear" in events_of(state, capsys, "review", "last", "--label", "Brown Bear")
    assert "review.json" in events_of(state, capsys, "show", "last")


def test_a_review_needs_one_verdict_and_evidence(state: StateFolder, capsys: Any) -> None:
    state.bear(A, evidence=state.evidence(A))
    state.bear(B, 3600.0)
    for words, said in (
        (("review", "a1"), "give one of --confirmed"),
        (("review", "a1", "--wrong", "--confirmed"), "give one of --confirmed"),
        (("review", "a1", "--label", "???"), "small letters"),
        (("review", "a1", "--confirmed", "--box", "1,2,3"), "--box '1,2,3'"),
        (("review", "a1", "--confirmed", "--box", "1,2,3,4"), "fractions"),
        (("review", "b2", "--wrong"), "has no evidence"),
        (("review", "./nowhere", "--wrong"), "no evidence there"),
    ):
        with pytest.raises(BearAlarmError) as error:
            events_of(state, capsys, *words)
        assert said in str(error.value), words
        assert "\n" not in str(error.value)


def test_evidence_on_a_card_is_reviewed_by_its_path_with_no_journal(tmp_path: Path) -> None:
    folder = visit(tmp_path)
    done = bear_alarm("events", "review", folder / "event.json", "--wrong", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "reviewed: no bear" in done.stdout
    assert (read_review(folder) or Review("unsure", AT)).verdict == "wrong"
