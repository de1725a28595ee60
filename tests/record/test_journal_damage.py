"""A journal that is damaged, foreign, newer or half mended: set aside, the unsent saved, the alarm goes on."""

import random
import sqlite3
from contextlib import closing

import pytest

from edge.record import database
from edge.record.database import APPLICATION_ID, VERSION
from edge.record.run import EventFactory
from tests.helpers.journal_stage import MQTT, PAGE, Wants, ask, event, filled, ids, journal, pages_of, spoil


def test_the_unsent_that_can_be_read_of_a_damaged_journal_are_saved_and_the_rest_is_set_aside(tmp_path, caplog):
    names = filled(tmp_path)
    leaf = pages_of(tmp_path, "events")[-4]  # among the unsent ones
    spoil(tmp_path, leaf)
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    waiting = ids(kept.waiting(MQTT, limit=1000))
    assert kept.durable
    assert "was damaged" in caplog.text
    gone = set(names[150:]) - set(waiting)
    assert 0 < len(gone) < 12  # what lay on one page
    assert waiting == [name for name in names[150:] if name not in gone]
    assert [row[0] for row in ask(tmp_path, "SELECT event_id FROM events ORDER BY id")] == waiting
    assert ask(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    (aside,) = (tmp_path / "quarantine").glob("*.db")
    assert f"{aside}; {len(waiting)} unsent messages" in caplog.text
    assert str(aside) in (kept.problem or "")  # until the next beat
    kept.beat()
    assert kept.problem is None
    assert kept(event(run, "new")).durable
    kept.close()


def test_where_the_outbox_is_lost_the_newest_are_sent_once_more(tmp_path):
    names = filled(tmp_path)
    for page in pages_of(tmp_path, "outbox"):
        spoil(tmp_path, page)
    kept = journal(tmp_path, Wants(MQTT))
    assert ids(kept.waiting(MQTT, limit=1000)) == names[-100:]
    kept.close()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_spoilt_the_journal_opens_and_takes_events(tmp_path, seed):
    names = filled(tmp_path, 60, 30)
    random_ = random.Random(seed)
    last = (tmp_path / "journal.db").stat().st_size // PAGE
    for page in random_.sample(range(1, last + 1), min(seed + 1, last)):
        spoil(tmp_path, page, random_)
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    assert kept(event(run, "new")).durable
    if kept.examine():  # damage a quick check does not see
        assert kept.examine() is None
    assert ids(kept.waiting(MQTT, limit=1000))[-1] == "new"
    assert {row[0] for row in ask(tmp_path, "SELECT event_id FROM events")} <= {*names, "new"}
    assert ask(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    kept.close()


def test_a_file_that_is_no_database_is_set_aside(tmp_path):
    (tmp_path / "journal.db").write_text("these are no events " * 1000)
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    assert kept(event(run)).durable
    (aside,) = (tmp_path / "quarantine").glob("*.db")
    assert aside.read_text().startswith("these are no events")
    kept.close()


def test_a_database_of_something_else_is_set_aside_whole(tmp_path):
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("CREATE TABLE honey(kg REAL)")
    kept = journal(tmp_path)
    assert kept.durable
    (aside,) = (tmp_path / "quarantine").glob("*.db")
    with closing(sqlite3.connect(aside)) as db:
        assert db.execute("SELECT count(*) FROM honey").fetchone() == (0,)
    kept.close()


@pytest.mark.parametrize("size", [0, 1, 100])
def test_the_beginning_of_a_file_is_no_hindrance(tmp_path, size):
    (tmp_path / "journal.db").write_bytes(b"SQLite format 3\0".ljust(size, b"\0")[:size])
    run = EventFactory()
    kept = journal(tmp_path, run=run)
    assert kept(event(run)).durable
    kept.close()


def test_a_newer_journal_is_left_as_it_is_and_events_stay_in_memory(tmp_path):
    filled(tmp_path, 3, 0)
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / "journal.db").read_bytes()
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    assert kept.problem
    assert "a newer version" in kept.problem
    assert not kept(event(run, "id9")).durable
    assert ids(kept.waiting(MQTT)) == ["id9"]
    kept.close()
    assert (tmp_path / "journal.db").read_bytes() == before
    assert not (tmp_path / "quarantine").exists()


def test_damage_found_while_the_alarm_runs_is_mended_at_once(tmp_path):
    filled(tmp_path)
    leaves = pages_of(tmp_path, "events")
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    kept(event(run, "new"))
    assert ask(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)") == [(0, 0, 0)]
    for page in leaves[-3:]:
        spoil(tmp_path, page)
    assert kept.examine()
    assert kept.examine() is None
    assert kept(event(run, "newer")).durable
    assert ids(kept.waiting(MQTT, limit=1000))[-1] == "newer"
    assert ask(tmp_path, "SELECT count(*) FROM runs WHERE boot_id = ?", run.id) == [(1,)]
    assert len(list((tmp_path / "quarantine").glob("*.db"))) == 1
    kept.close()


def test_a_good_journal_is_found_good(tmp_path):
    filled(tmp_path, 20, 5)
    kept = journal(tmp_path, Wants(MQTT))
    assert kept.examine() is None
    assert len(kept.waiting(MQTT)) == 15
    assert ask(tmp_path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert not (tmp_path / "quarantine").exists()
    kept.close()


@pytest.mark.parametrize("moves", range(6))
def test_a_change_of_journals_that_was_cut_off_is_finished(tmp_path, monkeypatch, moves):
    filled(tmp_path, 20, 5)
    spoil(tmp_path, pages_of(tmp_path, "events")[0])
    (tmp_path / "journal.db-wal").write_bytes(b"an old log")
    done = 0

    def cut(folder, *_):
        nonlocal done
        done += 1
        if done > moves:
            raise RuntimeError("the power is gone")

    monkeypatch.setattr(database, "to_disk", cut)
    try:
        journal(tmp_path, Wants(MQTT)).close()
    except RuntimeError:
        monkeypatch.undo()
    kept = journal(tmp_path, Wants(MQTT))
    assert kept.durable
    assert len(kept.waiting(MQTT)) >= 10
    assert ask(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    kept.close()
    assert not [path.name for path in tmp_path.glob("journal.db.*")]


def test_no_more_than_a_few_damaged_ones_are_kept(tmp_path):
    for _ in range(6):
        (tmp_path / "journal.db").write_text("nonsense" * 1000)
        journal(tmp_path).close()
    assert len(list((tmp_path / "quarantine").glob("*.db"))) == database.MAX_QUARANTINED


def test_the_one_just_set_aside_is_kept_whatever_the_clock_shows(tmp_path):
    (tmp_path / "quarantine").mkdir()
    others = [f"20990601T00000{number}000Z.db" for number in range(5)]
    for name in others:
        (tmp_path / "quarantine" / name).write_text("from when the clock was right, or the other way round")
    (tmp_path / "journal.db").write_text("nonsense" * 1000)
    journal(tmp_path).close()
    kept = {path.name: path.read_text(errors="replace") for path in (tmp_path / "quarantine").glob("*.db")}
    assert len(kept) == database.MAX_QUARANTINED
    assert [name for name, text in kept.items() if text.startswith("nonsense")] == [min(kept)]
    assert set(kept) - {min(kept)} == set(others[-2:])
