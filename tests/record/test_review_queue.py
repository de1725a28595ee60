"""The queue of reviews: its order, and the writing of a verdict and its undo."""

from __future__ import annotations

import errno
import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge.record import review as room
from edge.record.history import JournalReader
from edge.record.misses import MISSES, Miss, read_misses, write_miss
from edge.record.recorder import NEGATIVE_WIDTH
from edge.record.review import Review, read_review, review_path, write_review
from edge.record.review_queue import FRAMES, REFRESH_S, ReviewQueue
from edge.schema import Event, utc_text
from tests.helpers.review_units import alarm, frame, picture
from tests.helpers.state_folder import StateFolder

AT = utc_text(datetime.now(UTC) - timedelta(days=2))
WRONG, BEAR = Review("wrong", AT, by="anna"), Review("confirmed", AT, by="anna")
WHO, OTHER = "anna", "bert"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Desk(ReviewQueue):
    """A queue whose clock goes on by hand, for alarms only unless ``dice`` says otherwise."""

    def __init__(self, root: Path, dice: Any = lambda: 1.0) -> None:
        self.hand = Clock()
        super().__init__(root / "evidence", root, dice, self.hand)

    def order(self) -> list[Path]:
        """Return what would be shown, in order, without a verdict."""
        have: list[str] = []
        shown = []
        while found := self.next(WHO, have):
            have.append(found[0].key)
            shown.append(found[0].path)
        return shown

    def say(self, unit: Path, review: Review = WRONG, who: str = WHO) -> str:
        """Return what is said after a verdict of one unit."""
        self.counts()
        self.decide(who, [next(each.key for each in self._waiting.values() if each.path == unit)], review)
        return self.session(who).words


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


def test_alarms_come_newest_first_and_only_once_reviewed_no_more(tmp_path: Path, root: Path) -> None:
    old, middle, new = (alarm(root, number) for number in range(3))
    write_review(middle, WRONG)
    desk = Desk(tmp_path)
    assert desk.order() == [new, old]
    desk.say(new)
    assert desk.order() == [old]
    assert desk.counts() == (1, 1), "one left, one today; the other review is of another day"


def test_about_one_in_four_is_a_random_frame_while_both_wait(tmp_path: Path, root: Path) -> None:
    frames = {frame(root, number) for number in range(40)}
    for number in range(100):
        alarm(root, 100 + number)
    shown = Desk(tmp_path, random.Random(1).random).order()
    share = sum(path in frames for path in shown[:80]) / 80
    assert abs(share - FRAMES) < 0.1
    assert len(shown) == 140, "when one kind is used up, the other goes on"


def test_an_alarm_is_shown_without_marks_in_the_form_of_a_random_frame(tmp_path: Path, root: Path) -> None:
    folder = alarm(root, 1, picture(1, (1920, 1080)))
    (folder / "alarm.jpg").write_bytes(b"with boxes")
    shown = Desk(tmp_path).next(WHO)
    assert shown
    assert shown[0].picture.name == "plain.jpg"
    image = cv2.imread(str(shown[0].picture))
    assert image is not None
    assert image.shape == (720, NEGATIVE_WIDTH, 3)
    assert len(shown[0].key) == 16
    assert set(shown[0].key) <= set("0123456789abcdef")


def test_what_looks_the_same_at_one_spot_is_decided_together(tmp_path: Path, root: Path) -> None:
    stump = [alarm(root, number, picture(5)) for number in range(3)]
    elsewhere = alarm(root, 3, picture(5), box=(0.0, 0.0, 0.2, 0.3))
    other_camera = alarm(root, 4, picture(5), camera="gate")
    other_look = alarm(root, 5, picture(6))
    desk = Desk(tmp_path)
    assert desk.order() == [other_look, other_camera, elsewhere, stump[2]]
    found = desk.next(WHO, [unit.key for unit in desk._waiting.values() if unit.path not in stump])
    assert found
    assert [unit.path for unit in found[1]] == [stump[1], stump[0]]
    desk.decide(WHO, [found[0].key, *(unit.key for unit in found[1])], WRONG)
    assert all(read_review(unit) == WRONG for unit in stump)
    assert "(3 pictures)" in desk.session(WHO).words
    back = desk.undo(WHO)
    assert back
    assert [unit.path for unit in (back[0], *back[1])] == stump[::-1]
    assert all(read_review(unit) is None for unit in stump)


def test_they_may_be_taken_one_by_one(tmp_path: Path, root: Path) -> None:
    stump = [alarm(root, number, picture(5)) for number in range(3)]
    desk = Desk(tmp_path)
    found = desk.next(WHO)
    assert found
    desk.apart([found[0].key, *(unit.key for unit in found[1])])
    assert desk.order() == stump[::-1]


def test_random_frames_are_never_collapsed(tmp_path: Path, root: Path) -> None:
    first = frame(root, 1)
    second = first.with_name("040000-yard-00aa.jpg")
    second.write_bytes(first.read_bytes())
    assert len(Desk(tmp_path).order()) == 2


def test_undo_takes_back_one_decision_after_another_and_only_ones_own(tmp_path: Path, root: Path) -> None:
    old, new = alarm(root, 1), alarm(root, 2)
    desk = Desk(tmp_path)
    desk.say(new)
    desk.say(old, BEAR)
    assert desk.undo(OTHER) is None
    assert desk.session(OTHER).words == "There is nothing to take back."
    back = desk.undo(WHO)
    assert back
    assert back[0].path == old
    assert not review_path(old).exists()
    assert read_review(new) == WRONG
    desk.undo(WHO)
    assert desk.order() == [new, old]
    assert desk.counts() == (2, 0)


def test_undo_leaves_a_later_review_by_somebody_else(tmp_path: Path, root: Path) -> None:
    unit = alarm(root, 1)
    desk = Desk(tmp_path)
    desk.say(unit)
    later = Review("confirmed", "2026-11-25T09:00:00.000Z", by="bert")
    write_review(unit, later)
    assert desk.undo(WHO) is None
    assert desk.session(WHO).words == (
        f"Nothing was taken back. {unit.name}: somebody reviewed it again; that review stays."
    )
    assert read_review(unit) == later


def test_taking_back_restores_the_review_before(tmp_path: Path, root: Path) -> None:
    unit = alarm(root, 1)
    write_review(unit, BEAR)
    write_review(unit, WRONG)
    assert room.take_back(unit, WRONG) == BEAR
    assert read_review(unit) == BEAR
    assert json.loads(review_path(unit).read_bytes())["earlier"] == []


def test_the_journal_hears_of_it_and_of_its_undo(tmp_path: Path, root: Path) -> None:
    unit = alarm(root, 1)
    event = Event.from_json((unit / "event.json").read_text())
    state = StateFolder(tmp_path)
    state.event(event.id, "new", evidence=str(unit / "alarm.jpg"))

    def known() -> str | None:
        with JournalReader(state.path) as journal:
            review = journal.find(event.id).review
        return review.verdict if review else None

    desk = Desk(tmp_path)
    desk.say(unit)
    assert known() == "wrong"
    desk.undo(WHO)
    assert known() is None


def test_the_next_person_hears_that_somebody_was_faster(tmp_path: Path, root: Path) -> None:
    unit = alarm(root, 1)
    desk = Desk(tmp_path)
    key = desk.next(WHO)[0].key  # type: ignore[index]
    desk.decide(WHO, [key], WRONG)
    desk.decide(OTHER, [key], BEAR)
    assert desk.session(OTHER).words == (
        "Not saved: somebody else reviewed it meanwhile, or its pictures were deleted."
    )
    assert read_review(unit) == WRONG


def test_a_review_at_the_command_line_meanwhile_stays(tmp_path: Path, root: Path) -> None:
    unit = alarm(root, 1)
    desk = Desk(tmp_path)
    assert desk.order() == [unit]
    write_review(unit, BEAR)
    assert desk.say(unit) == "Not saved: somebody else reviewed it meanwhile: a bear."
    assert read_review(unit) == BEAR


def test_evidence_that_was_deleted_is_one_sentence_and_the_next_comes(tmp_path: Path, root: Path) -> None:
    old, new = alarm(root, 1), alarm(root, 2)
    desk = Desk(tmp_path)
    assert desk.order() == [new, old]
    for each in [*new.iterdir(), new]:
        each.rmdir() if each.is_dir() else each.unlink()
    assert desk.say(new) == "Not saved: its pictures were deleted meanwhile to make room."
    assert desk.order() == [old]


def test_a_damaged_review_is_one_sentence_and_the_next_comes(tmp_path: Path, root: Path, caplog: Any) -> None:
    old, new = alarm(root, 1), alarm(root, 2)
    review_path(new).write_text("{")
    desk = Desk(tmp_path)
    assert desk.order() == [new, old]
    assert "no review this program can read" in caplog.text
    words = desk.say(new)
    assert words.startswith("Not saved: ")
    assert words.endswith("mend it, or delete it.")
    assert desk.order() == [old], "what could not be saved comes last"
    desk.say(old)
    assert desk.order() == [new]


def test_a_full_disk_loses_nothing(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = alarm(root, 1, picture(5)), alarm(root, 2, picture(5))
    desk = Desk(tmp_path)
    real = os.fsync
    written: list[int] = []

    def full(file: int) -> None:
        if written:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(file)
        real(file)

    monkeypatch.setattr(os, "fsync", full)
    found = desk.next(WHO)
    assert found
    desk.decide(WHO, [found[0].key, *(unit.key for unit in found[1])], WRONG)
    words = desk.session(WHO).words
    assert "1 of 2 are saved" in words
    assert "No space left on device" in words
    assert read_review(new) == WRONG
    assert read_review(old) is None
    assert desk.counts()[0] == 1


def test_what_comes_while_it_is_open_is_seen_after_a_moment(tmp_path: Path, root: Path) -> None:
    first = alarm(root, 1)
    desk = Desk(tmp_path)
    assert desk.order() == [first]
    second = alarm(root, 2)
    assert desk.order() == [first]
    desk.hand.now += REFRESH_S
    assert desk.order() == [second, first]


def test_what_is_no_bear_or_is_still_being_written_does_not_wait(tmp_path: Path, root: Path, caplog: Any) -> None:
    half = alarm(root, 1)
    (half / "event.json").unlink()
    (alarm(root, 2) / "event.json").write_text("{")
    bare = alarm(root, 3)
    (bare / "plain.jpg").unlink()
    assert not Desk(tmp_path).order()
    assert caplog.text.count("cannot be reviewed on the page") == 1, "the damaged one is named once"


def test_after_the_verdict_it_says_what_the_alarm_had_said(tmp_path: Path, root: Path, time_zone: Any) -> None:
    time_zone("Europe/Berlin")
    event, missed, empty = alarm(root, 12), frame(root, 10), frame(root, 11)
    desk = Desk(tmp_path)
    assert desk.order()
    assert desk.say(event) == "You said: no bear. The alarm said: brown bear 0.93 (yard, 24 Nov 2026, 04:12)."
    assert desk.say(empty) == "You said: no bear. There was no alarm (yard, 24 Nov 2026, 04:11)."
    assert desk.say(missed, BEAR) == "You said: a bear. There was no alarm: it was missed (yard, 24 Nov 2026, 04:10)."


def test_a_missed_bear_is_kept_as_reported(tmp_path: Path, caplog: Any) -> None:
    miss = Miss("the gate", "2026-11-24T03:12:00.000Z", AT, "anna", "ate the honey, ä")
    path = write_miss(tmp_path, miss)
    assert path.parent == tmp_path / MISSES / "2026-11-24"
    assert path.name.startswith("031200-the_gate-")
    path.with_name("040000-yard-00aa.json").write_text("{")
    assert read_misses(tmp_path) == [miss]
    assert "no report of a miss" in caplog.text
