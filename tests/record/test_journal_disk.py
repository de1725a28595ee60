"""A disk that is full, read-only, taken away or hangs: the alarm goes on, and the journal comes back by itself."""

import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.record.database import Store
from edge.record.journal import Ballast
from edge.record.run import EventFactory
from tests.helpers.journal_stage import MQTT, Wants, ask, event, ids, journal
from tests.helpers.outbox_world import wait_for
from tests.helpers.small_disk import fill, remount, there


def on_a_full_disk(disk):
    """Fill it, go on, make room, go on; the disk is a tmpfs."""
    folder = Path(disk) / "journal"
    run = EventFactory()
    kept = journal(folder, Wants(MQTT), run=run, ballast=(256 << 10, 256 << 10))
    found: dict[str, object] = {"begin": [kept.durable, kept.problem, Ballast(folder, 256 << 10, 0).kept]}
    before = [kept(event(run, f"before{i}")).durable for i in range(5)]
    fill(disk)
    full = [kept(event(run, f"full{i}", detail="x" * 2000)).durable for i in range(300)]
    found["full"] = [all(before), full.index(False), any(full[full.index(False) :])]
    found["reserve"] = Ballast(folder, 256 << 10, 0).path.exists()
    found["problem"] = kept.problem
    told = ids(kept.waiting(MQTT, limit=1000))
    found["all wait"] = told == [f"before{i}" for i in range(5)] + [f"full{i}" for i in range(300)]
    waiting = kept.waiting(MQTT, limit=1000)
    kept.done([each.row for each in waiting[:-10]])  # some of them from the disk, some from memory
    found["not again"] = ids(kept.waiting(MQTT, limit=1000)) == [f"full{i}" for i in range(290, 300)]
    kept.beat()
    found["still"] = kept.durable
    (Path(disk) / "filler").unlink()
    kept.beat()
    found["back"] = [kept.durable, kept.problem, Ballast(folder, 256 << 10, 0).kept]
    found["then"] = kept(event(run, "after")).durable
    found["left"] = ids(kept.waiting(MQTT)) == [*(f"full{i}" for i in range(290, 300)), "after"]
    found["above zero"] = all(each.row > 0 for each in kept.waiting(MQTT))
    kept.close()
    found["written"] = ask(folder, "SELECT count(*) FROM events")[0][0]
    found["done"] = ask(folder, "SELECT count(*) FROM outbox WHERE state = 'done'")[0][0]
    found["check"] = ask(folder, "PRAGMA integrity_check")[0][0]
    return found


@pytest.mark.needs_tool("unshare")
def test_on_a_full_disk_the_alarm_goes_on_and_the_journal_comes_back(tmp_path):
    found = there(on_a_full_disk, tmp_path / "disk", 4096)
    assert found["begin"] == [True, None, True]
    before, lasted, again = found["full"]
    assert before
    assert lasted >= 20  # so many alarms the ballast was good for
    assert not again
    assert not found["reserve"]
    assert "full" in found["problem"]
    assert f"{300 - lasted} events are in memory only" in found["problem"]
    assert found["all wait"]
    assert found["not again"]
    assert not found["still"]
    assert found["back"] == [True, None, True]
    assert found["then"]
    assert found["left"]
    assert found["above zero"]
    assert (found["written"], found["done"], found["check"]) == (306, 295, "ok")


def on_a_full_disk_from_the_start(disk):
    """The journal is opened where not one block is free."""
    fill(disk)
    run = EventFactory()
    folder = Path(disk) / "journal"
    kept = journal(folder, Wants(MQTT), run=run)
    found: list[object] = [kept(event(run)).durable, ids(kept.waiting(MQTT))]
    (Path(disk) / "filler").unlink()
    found += [kept(event(run, "id2")).durable, ids(kept.waiting(MQTT))]
    kept.beat()
    found += [kept.problem]
    kept.close()
    return [*found, ask(folder, "SELECT event_id FROM events ORDER BY id")]


@pytest.mark.needs_tool("unshare")
def test_a_disk_that_is_full_from_the_start(tmp_path):
    found = there(on_a_full_disk_from_the_start, tmp_path / "disk", 1024)
    assert found == [False, ["id1"], True, ["id1", "id2"], None, [["id1"], ["id2"]]]


def on_a_read_only_disk(disk):
    """A journal with something unsent, opened read-only; then the disk is mended."""
    folder = Path(disk) / "journal"
    run = EventFactory()
    kept = journal(folder, Wants(MQTT), run=run)
    kept(event(run, "before"))
    kept.close()
    remount(disk, "ro")
    run = EventFactory()
    kept = journal(folder, Wants(MQTT), run=run)
    found = {"told": [kept(event(run, f"id{i}")).durable for i in range(3)], "problem": kept.problem}
    waiting = kept.waiting(MQTT)
    found["waiting"] = [each.event.id for each in waiting if each.row < 0]
    kept.done([each.row for each in waiting][:-1])
    found["not again"] = ids(kept.waiting(MQTT))
    kept.beat()
    remount(disk, "rw")
    (*_, late) = kept.waiting(MQTT)
    kept.beat()
    found["back"] = [kept.durable, kept.problem, ids(kept.waiting(MQTT))]
    kept.done([late.row])  # sent from memory while it was being written down
    found["then"] = ids(kept.waiting(MQTT))
    kept.close()
    return found | {"written": ask(folder, "SELECT event_id FROM events ORDER BY id")}


@pytest.mark.needs_tool("unshare")
def test_on_a_read_only_disk_the_alarm_goes_on_and_the_journal_comes_back(tmp_path):
    found = there(on_a_read_only_disk, tmp_path / "disk", 4096)
    assert found["told"] == [False] * 3
    assert "3 events are in memory only" in found["problem"]
    assert found["waiting"] == ["id0", "id1", "id2"]
    assert found["not again"] == ["id2"]
    durable, problem, waiting = found["back"]
    assert durable
    assert problem is None
    assert waiting in (["id2"], ["before", "id2"])  # one SQLite reads a journal there, another does not
    assert found["then"] == waiting[:-1]
    assert found["written"] == [["before"], ["id0"], ["id1"], ["id2"]]


def on_a_disk_that_fails(disk):
    """The file system shuts itself off while the alarm runs, as Linux does with a card that gives errors."""
    run = EventFactory()
    kept = journal(Path(disk) / "journal", Wants(MQTT), run=run)
    found: list[object] = [kept(event(run, "before")).durable]
    subprocess.run(["mount", "-o", "remount,abort", disk], check=True)
    found += [[kept(event(run, f"id{i}")).durable for i in range(3)], ids(kept.waiting(MQTT))]
    kept.done([kept.waiting(MQTT)[0].row])
    kept.beat()
    return [*found, ids(kept.waiting(MQTT)), kept.durable]


@pytest.mark.needs_tool("unshare", "mkfs.ext4")
def test_on_a_disk_that_fails_while_the_alarm_runs_it_goes_on(tmp_path):
    found = there(on_a_disk_that_fails, tmp_path / "disk", 16384, ext4=True)
    assert found == [True, [False] * 3, ["before", "id0", "id1", "id2"], ["id0", "id1", "id2"], False]


def test_a_folder_that_is_taken_away_is_made_again(tmp_path):
    run = EventFactory()
    kept = journal(tmp_path / "journal", Wants(MQTT), run=run)
    assert kept(event(run)).durable
    shutil.move(tmp_path / "journal", tmp_path / "elsewhere")
    assert kept(event(run, "id2")).durable
    for folder, name in (("journal", "id2"), ("elsewhere", "id1")):
        assert ask(tmp_path / folder, "SELECT event_id FROM events") == [(name,)]
    assert ask(tmp_path / "journal", "SELECT boot_id FROM runs") == [(run.id,)]
    kept.close()


@contextmanager
def hanging(monkeypatch):
    """The disk takes nothing until the event is set."""
    go, writing = threading.Event(), Store.writing

    @contextmanager
    def hang(self):
        with writing(self):
            assert go.wait(30)
            yield

    monkeypatch.setattr(Store, "writing", hang)
    yield go
    go.set()


def test_while_the_disk_hangs_nobody_waits_and_the_channels_are_fed_from_memory(tmp_path, monkeypatch):
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    told = threading.Event()
    kept.listen(told.set)
    assert kept(event(run, "before")).durable
    monkeypatch.setattr("edge.record.journal.SOON_S", 0.3)
    with hanging(monkeypatch) as go:
        told.clear()
        assert not kept(event(run, "stuck")).durable  # it returns, and does not wait for what hangs
        assert told.is_set()
        assert kept.problem is None  # a card may take a breath
        (waiting,) = kept.waiting(MQTT)
        assert waiting.event.id == "stuck"
        started = time.monotonic()
        for i in range(50):
            assert not kept(event(run, f"more{i}", evidence="a/alarm.jpg")).durable
            kept.again(waiting.row, "no answer")
        assert time.monotonic() - started < 10.0  # 30 s if each waited
        kept.done([waiting.row])
        assert ids(kept.waiting(MQTT, limit=1000)) == [f"more{i // 2}" for i in range(100)]
        monkeypatch.setattr("edge.record.journal.PATIENCE_S", 1.5)
        wait_for(lambda: kept.problem)
        assert "has not answered" in (kept.problem or "")
        assert not kept.durable
        monkeypatch.setattr("edge.record.journal.SOON_S", 20.0)
        go.set()
        wait_for(lambda: kept.problem is None)  # by itself, with all that came meanwhile
    wait_for(lambda: ask(tmp_path, "SELECT count(*) FROM events") == [(52,)])
    assert ids(kept.waiting(MQTT, limit=1000))[:2] == ["before", "more0"]  # and what was sent is not sent again
    assert all(each.row > 0 for each in kept.waiting(MQTT, limit=1000))
    kept.close()


def test_a_look_that_hangs_keeps_nobody_from_being_notified(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.record.journal.SOON_S", 0.2)
    run = EventFactory()
    kept = journal(tmp_path, Wants(MQTT), run=run)
    go, waiting = threading.Event(), Store.waiting
    monkeypatch.setattr(Store, "waiting", lambda self, *given, **more: go.wait(30) and waiting(self, *given, **more))
    assert kept.waiting(MQTT) == []
    started = time.monotonic()
    assert not kept(event(run)).durable
    assert ids(kept.waiting(MQTT)) == ["id1"]
    assert time.monotonic() - started < 10.0
    go.set()
    wait_for(lambda: ask(tmp_path, "SELECT event_id FROM events") == [("id1",)])
    kept.close()


def test_a_disk_that_hangs_from_the_start_does_not_keep_the_alarm_from_starting(tmp_path, monkeypatch):
    for name, seconds in (("START_S", 0.2), ("SOON_S", 0.2), ("PATIENCE_S", 0.5)):
        monkeypatch.setattr(f"edge.record.journal.{name}", seconds)
    run = EventFactory()
    with hanging(monkeypatch):
        kept = journal(tmp_path, Wants(MQTT), run=run)
        assert not kept(event(run)).durable
        assert ids(kept.waiting(MQTT)) == ["id1"]
        started = time.monotonic()
        kept.close()
        assert time.monotonic() - started < 10.0


def test_the_ballast_is_really_there_and_is_made_once(tmp_path):
    ballast = Ballast(tmp_path, 1 << 20, 0)
    assert not ballast.kept
    assert ballast.top_up()
    status = ballast.path.stat()
    assert status.st_size == 1 << 20
    assert status.st_blocks * 512 >= 1 << 20
    assert ballast.top_up()
    assert ballast.path.stat().st_mtime_ns == status.st_mtime_ns
    assert ballast.release()
    assert not ballast.release()
    assert not Ballast(tmp_path, 1 << 20, 1 << 60).top_up()  # not where the room is needed
    assert not ballast.path.exists()
