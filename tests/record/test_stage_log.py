"""Stages in the journal: written once, counted since, and kept when the journal is damaged."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.decide.stages import NOT_YET, StageEntry, Tally
from edge.errors import OptionError
from edge.record import database
from edge.record.database import NAME, DiskError
from edge.record.journal import Journal
from edge.record.media_store import sample_path
from edge.record.misses import Miss, write_miss
from edge.record.review import Review, Verdict, pass_on, write_review
from edge.record.run import EventFactory
from edge.record.stage_log import (
    count_reviews,
    newest_rows,
    read_notices,
    read_stages,
    watched_before,
    write_stage,
)
from edge.schema import Event, utc_text
from tests.helpers.journal_stage import ask, pages_of, spoil

NOW = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
ENTRY = StageEntry("yard", "shadow", NOW, NOT_YET, "as its config says", "", "bear@1", "src", "shadow")
LABELS = {"brown_bear", "black_bear"}
AT = utc_text(NOW + timedelta(hours=1))


class Kept:
    """A journal that an alarm keeps, and what people say of its alarms."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run = EventFactory()
        self.journal = Journal(folder, run=self.run)

    def alarm(self, verdict: str | None = None, label: str | None = None, **more: Any) -> Event:
        """Raise an alarm of the camera ``yard`` in shadow, and review it."""
        more = {"model": "bear@1", "stage": "shadow"} | more
        event = self.journal(self.run.event("bear", "new", uuid.uuid4().hex, "yard", NOW, **more))
        if verdict:
            self.review(event, verdict, label)
        return event

    def review(self, event: Event, verdict: Any, label: str | None = None) -> None:
        assert pass_on(self.folder, [event.id], Review(verdict, AT, label) if verdict else None) is None

    def tally(self, entry: StageEntry, evidence: Path | None = None, now: datetime = NOW) -> Tally:
        return count_reviews(self.folder, evidence, entry, now, LABELS)


def newest_event(kept: Kept) -> int:
    return int(ask(kept.folder, "SELECT coalesce(max(id), 0) FROM events")[0][0])


@pytest.fixture
def kept(tmp_path: Path) -> Any:
    kept = Kept(tmp_path / "state")
    yield kept
    kept.journal.close()


def test_an_entry_is_written_after_the_newest_event_and_only_once(kept: Kept) -> None:
    kept.alarm()
    written = write_stage(kept.folder, ENTRY)
    assert written == replace(ENTRY, after=1)
    kept.alarm()
    assert write_stage(kept.folder, ENTRY) == written  # a COMMIT that had worked all the same
    ahead = write_stage(kept.folder, replace(ENTRY, stage="supervised", after=99))
    assert ahead.after == 2
    assert read_stages(kept.folder) == {"yard": [written, ahead]}


def test_what_is_new_changes_the_newest_rows_and_so_does_another_file(kept: Kept, tmp_path: Path) -> None:
    seen = [newest_rows(kept.folder)]
    event = kept.alarm()
    assert newest_rows(kept.folder) == seen[0]
    write_stage(kept.folder, ENTRY)
    seen.append(newest_rows(kept.folder))
    kept.review(event, "confirmed")
    seen.append(newest_rows(kept.folder))
    kept.journal.close()
    (tmp_path / "copy").write_bytes((kept.folder / NAME).read_bytes())
    (tmp_path / "copy").replace(kept.folder / NAME)
    seen.append(newest_rows(kept.folder))
    assert len(set(seen)) == 4


def test_the_camera_with_the_newest_entry_comes_last(kept: Kept) -> None:
    for number, name in enumerate(("a", "b", "a")):
        write_stage(kept.folder, replace(ENTRY, camera=name, at=NOW + timedelta(seconds=number)))
    assert list(read_stages(kept.folder)) == ["b", "a"]


def test_where_there_is_no_journal_nothing_is_known_and_nothing_written(tmp_path: Path) -> None:
    assert read_stages(tmp_path) == {}
    assert (newest_rows(tmp_path), watched_before(tmp_path, "yard")) == ((0, 0, 0), False)
    assert read_notices(tmp_path, "yard", 0) == set()
    with pytest.raises(OptionError, match="there is no journal yet; start the alarm once"):
        write_stage(tmp_path, ENTRY)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_of_another_version_or_none_is_refused(kept: Kept) -> None:
    with closing(sqlite3.connect(kept.folder / NAME)) as db:
        db.execute("PRAGMA user_version = 2")
    assert read_stages(kept.folder) == {}
    with pytest.raises(OptionError, match="another version of Bear Alarm made it"):
        write_stage(kept.folder, ENTRY)
    kept.journal.close()
    (kept.folder / NAME).write_bytes(b"no database" * 500)
    with pytest.raises(DiskError):
        read_stages(kept.folder)


def test_reviews_are_counted_since_the_stage_of_its_model_and_its_camera(kept: Kept) -> None:
    before = kept.alarm()
    entry = write_stage(kept.folder, ENTRY)
    kept.review(before, "wrong")  # comes later, and is of the stage before
    kept.alarm("wrong", model="bear@2")
    kept.alarm("wrong", quiet="outside the schedule")
    kept.journal(kept.run.event("bear", "new", "f" * 32, "gate", NOW, model="bear@1"))
    for verdict, label in (
        ("confirmed", None), ("relabelled", "black_bear"), ("relabelled", "fox"), ("unsure", None), ("wrong", None),
        (None, None), ("confirmed", None),
    ):  # fmt: skip
        kept.alarm(verdict, label)
    assert kept.tally(entry) == Tally(right=3, wrong=2, unsure=1, unreviewed=1, wrong_in_a_row=2)
    assert kept.tally(replace(entry, after=newest_event(kept))) == Tally()


def test_of_reviews_that_contradict_each_other_the_last_counts_and_one_taken_back_is_none(kept: Kept) -> None:
    entry = write_stage(kept.folder, ENTRY)
    first, second = kept.alarm("confirmed"), kept.alarm("wrong")
    kept.review(first, "wrong")
    assert kept.tally(entry).wrong_in_a_row == 2
    kept.review(second, "confirmed")
    kept.review(first, None)
    assert kept.tally(entry) == Tally(right=1, unreviewed=1)


def frame(evidence: Path, at: datetime, verdict: Verdict = "wrong", camera: str = "yard") -> Path:
    unit = sample_path(evidence, camera, at, at.minute)
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_bytes(b"a picture")
    write_review(unit, Review(verdict, AT))
    return unit


def test_random_frames_and_reported_misses_are_counted_since_the_stage(kept: Kept, tmp_path: Path) -> None:
    entry, evidence = write_stage(kept.folder, ENTRY), tmp_path / "evidence"
    frame(evidence, NOW - timedelta(minutes=1), "confirmed")
    for minute in range(4):
        frame(evidence, NOW + timedelta(minutes=minute))
    frame(evidence, NOW + timedelta(minutes=8), "confirmed")
    frame(evidence, NOW + timedelta(minutes=9), "unsure")
    frame(evidence, NOW + timedelta(minutes=10), "confirmed", camera="gate")
    damaged = frame(evidence, NOW + timedelta(minutes=11))
    damaged.with_suffix(".review.json").write_text("{")
    (damaged.parent / "999999-yard-0000.review.json").write_text("{}")
    write_miss(evidence, Miss("yard", utc_text(NOW - timedelta(hours=1)), AT))
    write_miss(evidence, Miss("yard", "2026-05-04T05:00:00", AT))  # an editor left the zone out
    assert kept.tally(entry, evidence) == Tally(frames=5, missed=1, reported=1)
    ahead = replace(entry, at=NOW + timedelta(days=900))
    assert kept.tally(ahead, evidence).frames == 5


def test_notices_are_read_after_a_row(kept: Kept) -> None:
    def notice(words: str, camera: str = "yard") -> None:
        kept.journal(kept.run.event("notice", "new", words, camera, NOW, detail=words))

    notice("old")
    row = newest_event(kept)
    notice("new")
    notice("of another", "gate")
    assert read_notices(kept.folder, "yard", row) == {"new"}


# A damaged journal


Spoil = Callable[[Path], None]


def lost_events(folder: Path) -> None:
    for page in pages_of(folder, "events"):
        spoil(folder, page)


def torn_stages(folder: Path) -> None:
    """Spoil the middle one of the table's leaves."""
    leaves = pages_of(folder, "stages")
    assert len(leaves) > 4
    spoil(folder, leaves[len(leaves) // 2])


@pytest.mark.parametrize("how", [lost_events, torn_stages])
def test_what_can_be_read_of_a_damaged_journal_is_kept(tmp_path: Path, how: Spoil) -> None:
    kept = Kept(tmp_path / "state")
    for _ in range(30):
        kept.alarm()
    entries = [
        write_stage(kept.folder, replace(ENTRY, why=f"{number:03} {'x' * 300}", at=NOW + timedelta(seconds=number)))
        for number in range(100)
    ]
    with closing(sqlite3.connect(kept.folder / NAME)) as db, db:
        db.execute("INSERT INTO days VALUES('yard', '2026-05-04', 0, '{}'), ('yard', '2026-05-04', 1, '{}')")
    kept.journal.close()
    ask(kept.folder, "PRAGMA wal_checkpoint(TRUNCATE)")
    how(kept.folder)
    again = Journal(kept.folder, run=EventFactory())
    assert again.durable
    assert list((kept.folder / "quarantine").glob("*.db"))
    found = read_stages(kept.folder)["yard"]
    assert [replace(each, after=30) for each in (found[0], found[-1])] == [entries[0], entries[-1]]
    assert len(found) > 80
    # Later alarms count, though the numbers of events begin again.
    assert found[-1].after == newest_event(kept)
    assert ask(kept.folder, "SELECT day, night FROM days") == [("2026-05-04", 0), ("2026-05-04", 1)]
    event = again(EventFactory().event("bear", "new", "e" * 32, "yard", NOW, model="bear@1"))
    assert event.durable
    assert count_reviews(kept.folder, None, found[-1], NOW, LABELS).unreviewed == 1
    again.close()


def test_a_new_journal_that_takes_no_stages_is_no_new_journal(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        write_stage(kept.folder, replace(ENTRY, why=f"{number:03} {'x' * 300}"))
    real = database.prepare

    def small(db: sqlite3.Connection, *, log: bool) -> None:
        real(db, log=log)
        db.execute("PRAGMA max_page_count = 16")

    monkeypatch.setattr(database, "prepare", small)
    with pytest.raises(sqlite3.OperationalError, match="is full"):
        database.copy_unsent(kept.folder / NAME, kept.folder / "new.db", (), AT)
