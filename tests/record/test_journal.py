"""The journal on a disk that works: written before it counts, in order, per channel, over restarts."""

import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from edge.alert.alerting import Alerting
from edge.files import JOURNAL
from edge.record import database
from edge.record.database import Store
from edge.record.history import JournalReader
from edge.record.journal import Disk, Journal
from edge.record.outbox import MAX_EVENTS, Mark, Memory, Queue
from edge.record.run import EventFactory
from edge.schema import Event
from edge.settings import AlertSettings
from tests.helpers.journal_stage import MQTT, Times, Wants, ask, event, files, ids, journal
from tests.helpers.sink_world import soon
from tests.helpers.webhook_server import PostBox

PEOPLE = "people"


def test_an_event_is_on_the_disk_when_the_call_returns(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path / "made" / "here", run=run)
    told = kept(event(run, label="brown_bear", evidence="a.jpg"))
    assert told.durable
    assert kept.durable
    assert kept.problem is None
    (row,) = ask(
        kept.folder, "SELECT event_id, kind, type, camera, boot_id, seq, captured_at, evidence, json FROM events"
    )
    assert row[:-1] == ("id1", "bear", "new", "yard", run.id, 1, told.captured_at, "a.jpg")
    assert Event.from_json(row[-1]) == told
    assert ask(kept.folder, "PRAGMA journal_mode") == [("wal",)]
    assert ask(kept.folder, "SELECT boot_id, ended_at FROM runs") == [(run.id, None)]
    kept.close()
    assert ask(kept.folder, "SELECT ended_at IS NOT NULL, version FROM runs") == [(1, "0.1.0")]


def test_it_feeds_channels_as_their_queue(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), Wants(PEOPLE, kinds={"bear"}), run=run)
    queue: Queue = kept
    for i, kind in enumerate(("bear", "camera", "bear")):
        kept(event(run, f"id{i}", kind))
    assert ids(queue.waiting(MQTT)) == ["id0", "id1", "id2"]
    assert ids(queue.waiting(PEOPLE)) == ["id0", "id2"]
    assert ids(queue.waiting(MQTT, newest_first=True, limit=2)) == ["id2", "id1"]
    assert ids(queue.waiting("nobody")) == []
    first, second, third = queue.waiting(MQTT)
    queue.done([first.row])
    queue.dead_letter(third.row, "HTTP 400")
    queue.again(second.row, "no answer")
    queue.again(second.row, "still none")
    (left,) = queue.waiting(MQTT)
    assert (left.event.id, left.attempts, left.part, left.picture) == ("id1", 2, "word", None)
    assert ids(queue.waiting(PEOPLE)) == ["id0", "id2"]
    kept.close()
    states = "SELECT state, attempts, error, settled_at IS NOT NULL FROM outbox WHERE channel = ? ORDER BY id"
    assert ask(tmp_path, states, MQTT) == [
        ("done", 1, None, 1),
        ("waiting", 2, "still none", 0),
        ("parked", 1, "HTTP 400", 1),
    ]


def test_what_waits_outlives_the_run(tmp_path):
    for name in ("first", "second"):
        run = EventFactory(name)
        kept = journal(tmp_path, Wants(MQTT), run=run)
        kept(event(run, f"{name} 1", evidence="a/alarm.jpg"))
        kept(event(run, f"{name} 2"))
        kept.close()
    kept = journal(tmp_path, Wants(MQTT))
    waiting = kept.waiting(MQTT)
    assert ids(waiting) == ["first 1", "first 1", "first 2", "second 1", "second 1", "second 2"]
    assert [each.part for each in waiting[:3]] == ["word", "picture", "word"]
    assert all(each.event.durable for each in waiting)
    kept.close()


def test_a_picture_is_queued_with_its_event_for_who_takes_pictures(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), Wants(PEOPLE, pictures=False), Wants("tests", kinds={"test"}), run=run)
    path = tmp_path / "a" / "alarm.jpg"
    told = kept(event(run, evidence=str(path)))
    kept(event(run, "id2"))
    word, picture, other = kept.waiting(MQTT)
    assert [(each.event.id, each.part) for each in (word, picture, other)] == [
        ("id1", "word"),
        ("id1", "picture"),
        ("id2", "word"),
    ]
    assert picture.picture == path
    assert picture.event == told
    assert [each.part for each in kept.waiting(PEOPLE)] == ["word", "word"]
    assert kept.waiting("tests") == []
    kept.close()


def test_only_the_event_that_a_picture_was_taken_for_sends_it(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    first = str(tmp_path / "alarm.jpg")
    kept(event(run, evidence=first))
    kept(event(run, type_="update", evidence=first))
    third = run.event("bear", "update", "id1", "yard")
    better = str(tmp_path / f"alarm-{third.seq}.jpg")
    kept(replace(third, evidence=better))
    kept(event(run, type_="update", evidence=better))
    kept(event(run, type_="end", evidence=better))
    pictures = [each for each in kept.waiting(MQTT) if each.part == "picture"]
    assert [(each.event.seq, str(each.picture)) for each in pictures] == [(1, first), (third.seq, better)]
    kept.close()


def test_that_a_channel_is_not_reached_is_sent_to_the_others(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), Wants(PEOPLE), run=run)
    kept(event(run, "id1", "health", label=MQTT))
    kept(event(run, "id1", "health", "end", label=MQTT))
    kept(event(run, "id2", "health", label="journal"))
    assert ids(kept.waiting(MQTT)) == ["id2"]
    assert ids(kept.waiting(PEOPLE)) == ["id1", "id1", "id2"]
    kept.close()


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    told = kept(event(run, camera="h\udcf6f.mp4", evidence="evidence/h\udcf6f.jpg"))
    assert told.durable
    assert kept.waiting(MQTT)[0].event == told
    kept.close()


def test_the_age_counts_in_this_run_whatever_the_clock_does_and_is_never_negative(tmp_path):
    times = Times()
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run, clock=times.clock)
    kept(event(run))
    times.pass_(60)
    times.set_clock(20 * 365 * 86400)
    kept(event(run, "id2"))
    times.pass_(5)
    assert [each.age_s for each in kept.waiting(MQTT)] == pytest.approx([65, 5])
    kept.close()
    later = Times()
    later.pass_(3600)  # by its clock, after the first event and long before the second
    kept = journal(tmp_path, Wants(MQTT), clock=later.clock)
    assert [each.age_s for each in kept.waiting(MQTT)] == pytest.approx([3600, 0])
    kept.close()


def test_every_listener_is_called(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    seen: list[list[str]] = []
    kept.listen(lambda: seen.append(ids(kept.waiting(MQTT))))
    kept(event(run))
    assert seen[-1] == ["id1"]
    kept(event(run, "id2"))
    assert seen[-1] == ["id1", "id2"]
    kept.close()


def test_a_channel_that_fails_to_decide_what_it_wants_is_sent_it(tmp_path, caplog):
    class Broken(Wants):
        def wants(self, event):
            raise KeyError("zone")

    run = EventFactory()
    kept = journal(tmp_path, Broken(MQTT), Wants(PEOPLE), run=run)
    assert kept(event(run)).durable
    assert ids(kept.waiting(MQTT)) == ids(kept.waiting(PEOPLE)) == ["id1"]
    assert "fails to decide" in caplog.text
    kept.close()


def test_a_row_that_holds_no_event_does_not_hold_up_the_others(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    for i in range(3):
        kept(event(run, f"id{i}"))
    kept.close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("UPDATE events SET json = '{}' WHERE event_id = 'id0'")
    db.close()
    kept = journal(tmp_path, Wants(MQTT))
    assert ids(kept.waiting(MQTT)) == ["id1", "id2"]
    assert ask(tmp_path, "SELECT state FROM outbox WHERE event = 1") == [("parked",)]
    kept.close()


def test_nothing_is_written_while_nothing_happens_but_by_the_beat(tmp_path):
    times = Times()
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run, clock=times.clock)
    kept(event(run))
    (waiting,) = kept.waiting(MQTT)
    before = files(tmp_path)
    for _ in range(3):  # a broker that is away for days
        times.pass_(200)
        kept.again(waiting.row, "no answer")
        kept.waiting(MQTT)
    assert files(tmp_path) == before
    kept.beat()
    changed = {path.name for path, now in files(tmp_path).items() if now != before[path]}
    assert changed <= {"journal.db-wal", "journal.db-shm"}
    assert ask(tmp_path, "SELECT alive_at FROM runs") == [("2026-05-01T00:10:00.000Z",)]
    assert ask(tmp_path, "SELECT attempts FROM outbox") == [(3,)]
    kept.close()


def test_it_does_not_grow_without_end_and_forgets_nothing_that_waits(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.journal.KEEP_EVENTS", 50)
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    for i in range(200):
        kept(event(run, f"id{i}"))
    rows = kept.waiting(MQTT, limit=1000)
    kept.done([each.row for each in rows if each.event.id != "id7"])
    kept.beat()
    assert ids(kept.waiting(MQTT)) == ["id7"]
    names = [row[0] for row in ask(tmp_path, "SELECT event_id FROM events ORDER BY id")]
    assert names == ["id7", *(f"id{i}" for i in range(150, 200))]
    assert ask(tmp_path, "PRAGMA foreign_key_check") == []
    pages = []
    for _ in range(5):
        for i in range(200):
            assert kept(event(run, f"later{i}")).durable
        kept.done([each.row for each in kept.waiting(MQTT, limit=1000)])
        kept.beat()
        pages += ask(tmp_path, "PRAGMA page_count")[0]
    assert pages[-1] - pages[0] < 10  # 200 events take 40
    kept.close()


def test_the_memory_gives_up_the_oldest_first_what_is_delivered(monkeypatch):
    monkeypatch.setattr("edge.record.outbox.MAX_EVENTS", 3)
    memory, run = Memory(), EventFactory()
    entries = [memory.add(event(run, f"id{i}"), [(MQTT, "word")], "", 0.0) for i in range(3)]
    memory.show()
    memory.mark(entries[1].rows[0].number, Mark("done", 1))
    for i in (3, 4):
        memory.add(event(run, f"id{i}"), [(MQTT, "word")], "", 0.0)
    memory.show()
    assert ids(memory.waiting(MQTT, 0.0, hidden=False)) == ["id2", "id3", "id4"]
    assert (len(memory), memory.lost) == (3, 2)
    assert MAX_EVENTS >= 500


def test_many_threads_write_one_journal(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    told: list[Event] = []

    def some():
        for _ in range(25):
            told.append(kept(event(run)))

    threads = [threading.Thread(target=some) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(told) == 100
    assert all(each.durable for each in told)
    waiting = kept.waiting(MQTT, limit=1000)
    assert sorted(each.event.seq for each in waiting) == list(range(1, 101))
    kept.close()


def test_a_folder_that_cannot_be_is_reported_and_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    run = EventFactory()
    kept = Journal(tmp_path / "file" / "journal", [Wants(MQTT)], run=run)
    assert not kept.durable
    assert kept.problem
    assert "Not a directory" in kept.problem
    assert not kept(event(run)).durable
    (waiting,) = kept.waiting(MQTT)
    assert (waiting.event.id, waiting.row) == ("id1", -1)
    assert "1 events are in memory only" in kept.problem
    kept.done([waiting.row])
    assert kept.waiting(MQTT) == []
    kept.close()


def test_an_event_that_cannot_be_written_does_not_take_the_others_along(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    with pytest.raises(TypeError):
        kept(event(run, label={"not": object()}))
    assert kept(event(run, "id2")).durable
    assert ids(kept.waiting(MQTT)) == ["id2"]
    kept.close()


def test_what_is_settled_while_the_disk_is_read_is_not_listed(tmp_path, monkeypatch):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    kept(event(run))
    read = Store.waiting

    def read_slowly(store, channel, **how):
        found = read(store, channel, **how)
        kept._memory.mark(found[0][0], Mark("done", 1))  # sent from memory, and on the disk only since
        return found

    monkeypatch.setattr(Store, "waiting", read_slowly)
    assert kept.waiting(MQTT) == []
    kept.close()


def test_an_older_journal_is_brought_up_to_date_once_and_a_copy_is_kept(tmp_path, monkeypatch):
    run = EventFactory("old")
    with monkeypatch.context() as then:
        then.setattr(database, "VERSION", 1)
        old = journal(tmp_path, Wants(MQTT), run=run)
        old(event(run))
        old.close()
    for _ in range(2):
        kept = journal(tmp_path, Wants(MQTT))
        assert ids(kept.waiting(MQTT)) == ["id1"]
        kept.close()
    assert ask(tmp_path, "PRAGMA user_version") == [(database.VERSION,)]
    (copy,) = tmp_path.glob("journal.db.*")
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT event_id FROM events").fetchall() == [("id1",)]


def test_an_older_journal_is_brought_up_to_date_where_there_is_no_room_for_a_copy(tmp_path, monkeypatch, caplog):
    run = EventFactory("old")
    with monkeypatch.context() as then:
        then.setattr(database, "VERSION", 1)
        journal(tmp_path, run=run).close()
    monkeypatch.setattr(database, "COPY_ROOM_BYTES", 1 << 60)
    kept = journal(tmp_path)
    assert kept.durable
    kept.close()
    assert "without a copy" in caplog.text
    assert not list(tmp_path.glob("journal.db.*"))


# A picture that is ready before its event is in the journal comes after it all the same.


def test_a_picture_that_is_faster_than_its_event_waits_for_it(tmp_path, monkeypatch):
    picture = tmp_path / "alarm.jpg"
    picture.write_bytes(b"jpeg")
    run = EventFactory()
    bear = run.event("bear", "new", "id1", "yard", label="bear", evidence=str(picture))
    with PostBox() as box:
        settings = AlertSettings(bell=False, webhook=f"http://127.0.0.1:{box.port}/bears")
        alerting = Alerting(settings, run, state=tmp_path / "state")
        assert alerting.journal
        go, write = threading.Event(), Disk.write
        monkeypatch.setattr(Disk, "write", lambda self: (go.wait(20), write(self))[1])
        alerting.publish(bear)
        early = alerting.journal.waiting(alerting.deliverers[0].key)
        go.set()
        soon(lambda: len(box.posted) == 2)
        alerting.close(20.0)
    assert early == []
    word, shown = box.posted
    assert (json.loads(word.body)["id"], shown.body) == ("id1", b"jpeg")
    with JournalReader(tmp_path / "state" / JOURNAL) as journal:
        (incident,) = journal.incidents()
    assert incident.first.event.evidence == str(picture)
