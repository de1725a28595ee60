"""Reading the journal whatever state it is in: beside its writer, after a power cut, on a read-only disk, damaged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from edge.alert.events import EventPublisher
from edge.errors import BearAlarmError
from edge.record import database
from edge.record.event_folders import evidence_of
from edge.record.history import JournalReader, JournalReadError, NoJournalError
from edge.record.journal import Journal
from edge.record.recorder import MediaWriter
from edge.record.run import EventFactory
from edge.schema import Event
from edge.watch import Watcher
from tests.alarm.test_watch import RULE, Colours, walk
from tests.helpers.state_folder import NIGHT, StateFolder
from tests.helpers.tiny import BEAR_COLOUR

A, B = "a1" * 16, "b2" * 16
ROOT = Path(__file__).parents[2]
NOBODY = 65_534
ROOT_USER = os.name == "posix" and os.geteuid() == 0
PERMISSIONS = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


@pytest.fixture
def state(tmp_path):
    return StateFolder(tmp_path / "state")


def ids(path):
    with JournalReader(path) as journal:
        return [incident.id for incident in journal.incidents()]


def as_a_user(folder, *words):
    """`bear-alarm events WORDS` by somebody to whom permissions matter: also root, without its power over them."""
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if ROOT_USER else []
    command = [*plain, sys.executable, "-m", "edge", "events", *words, "--state", str(folder)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False, timeout=60)


def test_what_a_writer_commits_is_seen_at_once_and_the_writer_never_waits(state):
    with closing(database.connect(state.path)) as writer, JournalReader(state.path) as before:
        assert before.incidents() == []
        state.bear(A)
        writer.execute("BEGIN IMMEDIATE")  # and writes on while somebody reads
        assert ids(state.path) == [A]
        assert before.incidents() == [], "one reader sees one moment"
        writer.execute("COMMIT")


def test_a_journal_whose_writer_was_killed_is_read_whole(state, tmp_path):
    """What was written last lies in the second file; a copy of both is what a power cut leaves."""
    with closing(database.connect(state.path)):
        state.bear(A)
        cut = tmp_path / "cut"
        shutil.copytree(state.folder, cut)
    (cut / "journal.db-shm").unlink()
    assert (cut / "journal.db-wal").stat().st_size > 0
    assert ids(cut / "journal.db") == [A]


@PERMISSIONS
@pytest.mark.parametrize("killed", [True, False])
def test_a_folder_that_takes_no_writing_is_read_all_the_same(killed, state, tmp_path):
    """With the second file there, an immutable journal would keep its newest events from whoever asks."""
    copy = tmp_path / "copy"
    with closing(database.connect(state.path)):
        state.bear(A)
        if killed:
            shutil.copytree(state.folder, copy)
    if killed:
        (copy / "journal.db-shm").unlink()
    else:
        shutil.copytree(state.folder, copy)
    before = sorted(copy.iterdir())
    assert (copy / "journal.db-wal" in before) is killed
    for path in before:
        path.chmod(0o444)
    copy.chmod(0o555)
    ran = as_a_user(copy)
    copy.chmod(0o755)
    assert ran.returncode == 0, ran.stderr
    assert "a1a1a1a1" in ran.stdout
    assert sorted(copy.iterdir()) == before


@PERMISSIONS
def test_beside_a_writer_whose_files_are_another_users(state):
    state.bear(A)
    with closing(database.connect(state.path)) as writer:
        writer.execute("SELECT * FROM runs").fetchall()
        for path in state.folder.iterdir():
            path.chmod(0o444)
        state.folder.chmod(0o555)
        ran = as_a_user(state.folder)
        state.folder.chmod(0o755)
    assert (ran.returncode, "a1a1a1a1" in ran.stdout) == (0, True), ran.stderr


@PERMISSIONS
@pytest.mark.parametrize("closed", ["journal.db", "."])
def test_what_this_user_may_not_read_is_one_sentence(closed, state):
    (state.folder / closed).chmod(0)
    if ROOT_USER:
        os.chown(state.path, NOBODY, NOBODY)
        os.chown(state.folder, NOBODY, NOBODY)
    ran = as_a_user(state.folder)
    (state.folder / closed).chmod(0o755)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert f"{state.path}: this user may not read it" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1


@PERMISSIONS
def test_evidence_that_this_user_may_not_see_is_listed_as_such_and_never_exported_in_part(state, tmp_path):
    seen, closed = (Path(state.evidence(id_)) for id_ in (A, B))
    state.bear(A, evidence=str(seen))
    state.bear(B, evidence=str(closed))
    closed.parent.chmod(0)
    out = tmp_path / "all.zip"
    listed, handed_out = as_a_user(state.folder), as_a_user(state.folder, "export", "a1", "b2", "--out", str(out))
    closed.parent.chmod(0o755)
    closed.chmod(0)
    in_part = as_a_user(state.folder, "export", "a1", "b2", "--out", str(out))
    assert listed.returncode == 0, listed.stderr
    assert "pictures closed to this user" in listed.stdout
    for ran in (handed_out, in_part):
        assert ran.returncode == 2
        assert f"{closed if ran is in_part else closed.parent}: this evidence cannot be" in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def newer(path):
    with closing(database.connect(path)) as db:
        db.execute("PRAGMA user_version = 9")


def other(path):
    path.unlink()
    with closing(database.connect(path)) as db:
        db.execute("CREATE TABLE recipes(soup TEXT)")
        db.execute("PRAGMA user_version = 30")


def torn(path):
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (newer, "is of version 9, and this bear-alarm reads up to 3"),
        (other, "a database of another program"),
        (lambda path: path.write_bytes(b"no database at all" * 99), "is damaged or no journal"),
        (torn, "is damaged or no journal"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
    ],
)
def test_what_is_no_good_journal_is_one_sentence(spoil, says, state):
    state.bear(A)
    spoil(state.path)
    with pytest.raises(JournalReadError, match=says) as error:
        ids(state.path)
    assert isinstance(error.value, BearAlarmError)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_no_journal_and_an_empty_one_are_distinguished_from_a_damaged_one(spoil, state):
    spoil(state.path)
    with pytest.raises(NoJournalError):
        ids(state.path)


def test_an_event_of_another_kind_of_program_is_skipped_and_logged(state, caplog):
    state.bear(A)
    row = state.bear(B, 60.0)
    state.sql("UPDATE events SET json = '{}' WHERE id IN (?, ?)", row, row + 1)
    assert ids(state.path) == [A]
    assert "cannot be understood and is skipped" in caplog.text


def test_what_the_alarm_wrote_is_what_is_read_while_it_runs_and_afterwards(tmp_path):
    run = EventFactory()
    journal = Journal(tmp_path, run=run)
    writer = MediaWriter(tmp_path / "evidence", clips=False)
    told: list[Event] = []
    publisher = EventPublisher([journal, told.append], evidence=writer.camera(), run=run)
    Watcher(Colours(), RULE, publisher)(walk(9, (3.0, 7.0, BEAR_COLOUR, 100, 60)))
    journal(run.event("bear", "new", A, "yard", label="brown_bear", score=0.9))
    assert writer.close(20.0)
    with JournalReader(tmp_path / "journal.db") as reader:
        bear, still_on = reader.incidents()
    assert [each.event.seq for each in bear.events] == [event.seq for event in told]
    assert (bear.state, still_on.state) == ("over", "going on")
    assert bear.first.event.durable
    assert bear.lasted_s == pytest.approx((told[-1].media_time_s or 0.0) - (told[0].media_time_s or 0.0))
    (kept,) = evidence_of(bear, tmp_path)
    assert {"alarm.jpg", "crop.jpg", "event.json"} <= {path.name for path in kept.files()}
    assert kept.path()
    journal.close()
    with JournalReader(tmp_path / "journal.db") as reader:
        assert reader.find("last").state == "cut off"


def test_a_reader_in_the_alarms_own_process_leaves_the_writer_its_locks(tmp_path):
    run = EventFactory()
    journal = Journal(tmp_path, run=run)
    journal(run.event("bear", "new", A, "yard"))
    assert ids(tmp_path / "journal.db") == [A]  # as the page reads it
    asks = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT * FROM events').fetchall()"
    subprocess.run([sys.executable, "-c", f"{asks}; db.close()", tmp_path / "journal.db"], check=True, timeout=60)
    # The last to close it removes the log: another program must not take itself for the last.
    assert (tmp_path / "journal.db-wal").exists()
    assert journal(run.event("bear", "new", B, "yard")).durable
    journal.close()
    assert ids(tmp_path / "journal.db") == [A, B]


def times(state):
    with JournalReader(state.path) as journal:
        return {each.id[:2]: (each.first.at, each.first.clock) for each in journal.incidents()}


YEAR = 365 * 86_400.0
LATER = "2026-11-24T02:30:00.000Z"


def test_a_run_learns_of_the_clock_for_those_before_it_since_the_machine_was_started(state):
    state.run("before", machine_boot="m", started_at="2025-11-24T02:00:00.000Z")
    state.run("saw it", machine_boot="m", started_at="2025-11-24T02:20:00.000Z", synced_at=LATER, offset_s=YEAR)
    state.run("another day", machine_boot="n", started_at="2025-11-24T02:00:00.000Z")
    for id_, run in (("aa", "before"), ("bb", "saw it"), ("cc", "another day")):
        state.event(id_ * 16, "new", -YEAR, boot_id=run, clock_synced=False)
    found = times(state)
    assert found["aa"] == found["bb"] == (NIGHT, "corrected")
    assert found["cc"][1] == "doubtful"


def test_a_clock_that_was_right_from_the_start_shows_nothing_of_the_run_before(state):
    state.run("before", machine_boot="m", started_at="2025-11-24T02:00:00.000Z")
    state.run("right", machine_boot="m", started_at=LATER, synced_at=LATER, offset_s=0.0)
    state.event(A, "new", -YEAR, boot_id="before", clock_synced=False)
    assert times(state)["a1"][1] == "doubtful"


@pytest.mark.parametrize("offset_s", [YEAR, -YEAR])
def test_a_clock_that_was_set_and_is_no_longer_looked_after_is_not_set_a_second_time(offset_s, state):
    """Without a network for a week the system says again that nothing keeps its clock."""
    state.run("r", started_at="2025-11-24T02:00:00.000Z", synced_at="2026-11-24T02:12:37.000Z", offset_s=offset_s)
    state.event("aa" * 16, "new", -offset_s, boot_id="r", clock_synced=False)
    state.event("bb" * 16, "new", 60.0, boot_id="r", clock_synced=True)
    state.event("cc" * 16, "new", 8 * 86_400.0, boot_id="r", clock_synced=False)
    found = times(state)
    assert found["aa"] == (NIGHT, "corrected")
    assert found["bb"][1] == "right"
    assert (found["cc"][0] - NIGHT).days == 8
