"""The fleet's store: each event once, incidents in order, and no more than is kept."""

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from unittest.mock import patch

import pytest

from edge.errors import OptionError
from edge.fleet.devices import Known
from edge.fleet.store import MAX_ROWS, NAME, ROOM_BYTES, FleetStore, FleetWriter
from edge.record.database import DiskError
from edge.record.run import EventFactory
from tests.helpers.journal_stage import event

JPEG = b"\xff\xd8 a picture \xff\xd9"


def moment(event, seconds):
    return replace(event, captured_at=f"2026-12-03T02:{seconds // 60:02}:{seconds % 60:02}Z")


def put(writer, *events, device="north"):
    with writer.writing():
        return [writer.put(device, each, 1.8e9) for each in events]


@pytest.fixture
def writer(tmp_path):
    with closing(FleetWriter(tmp_path)) as found:
        yield found


def test_an_incident_is_the_same_in_whatever_order_its_events_come(tmp_path, writer):
    run = EventFactory()
    new, update, end = (moment(event(run, "id1", type_=type_), at) for type_, at in
                        (("new", 10), ("update", 20), ("end", 30)))  # fmt: skip
    update = replace(update, top_score=0.9, species="brown bear", detail="near")
    events = [replace(new, top_score=0.7, label="bear"), update, end]
    for device, order in (("north", [0, 1, 2]), ("south", [2, 0, 1])):
        assert put(writer, *(events[each] for each in order), device=device) == [True] * 3
        assert put(writer, *events, device=device) == [False] * 3
    store = FleetStore(tmp_path)
    north, south = (store.incidents(device=device) for device in ("north", "south"))
    assert len(north) == len(south) == 1
    assert replace(north[0], id=0, device="") == replace(south[0], id=0, device="")
    assert (north[0].label, north[0].species, north[0].top_score, north[0].alarms) == ("bear", "brown bear", 0.9, 1)
    assert north[0].ended_at == north[0].began_at + 20.0
    assert store.rows("south", "id1") == events


def test_pages_follow_one_another_by_the_time_of_what_happened(tmp_path, writer):
    run = EventFactory()
    for number in (5, 1, 4, 2, 3, 3):
        kind = "camera" if number == 4 else "bear"
        put(writer, moment(event(run, f"id{run.id}{number}{next(run._numbers)}", kind), number))
    store, got, before = FleetStore(tmp_path), [], None
    while page := store.incidents(limit=2, before=before):
        got += page
        before = page[-1].id
    assert [each.began_at % 10 for each in got] == [5, 4, 3, 3, 2, 1]
    assert [each.kind for each in store.incidents(kind="camera")] == ["camera"]
    assert store.incident(got[0].id) == got[0]
    assert store.incidents(before=10_000) == []


def put_with_picture(writer, device, each):
    with writer.writing():
        writer.put(device, each, 1.8e9)
        writer.put_picture(device, each.id, (each.boot_id, each.seq), JPEG)


def test_a_flood_takes_the_room_of_its_own_device_alone(tmp_path):
    """Of events, and of pictures: a small one takes a whole block of the disk."""
    run, quiet = EventFactory(), [f"quiet-{number}" for number in range(4)]
    with patch.multiple("edge.fleet.store", KEEP_EVENTS=15, TRIM_AT_ONCE=5, KEEP_PICTURE_BYTES=6 * 4096):
        with closing(FleetWriter(tmp_path)) as writer:
            for device in quiet:
                for number in range(4):
                    put(writer, event(run, f"id{number}"), device=device)
            put_with_picture(writer, quiet[0], event(run, "pictured"))
        for numbers in (range(50), range(50, 70), range(70, 100)):
            with closing(FleetWriter(tmp_path)) as writer:
                for number in numbers:
                    put_with_picture(writer, "greedy", event(run, f"id{number}"))
                    assert len(FleetStore(tmp_path).incidents(device="greedy", limit=100)) < 20
    store = FleetStore(tmp_path)
    assert [len(store.incidents(device=device)) for device in quiet] == [5, 4, 4, 4]
    greedy = store.incidents(device="greedy", limit=100)
    assert {each.event_id for each in greedy} == {f"id{number}" for number in range(100 - len(greedy), 100)}
    with_picture = [each for each in [*greedy, *store.incidents(device=quiet[0])] if each.picture]
    assert [each.device for each in with_picture] == ["greedy"] * 5 + [quiet[0]]
    assert len(list((tmp_path / "pictures").iterdir())) == 6


def test_all_events_together_are_bounded_also_after_a_restart(tmp_path):
    run = EventFactory()
    with patch.multiple("edge.fleet.store", KEEP_ALL_EVENTS=20, TRIM_AT_ONCE=5):
        for _ in range(4):
            with closing(FleetWriter(tmp_path)) as writer:
                for number in range(10):
                    each = event(run, f"id{number}{next(run._numbers)}")
                    put(writer, each, device=f"{number % 3}")
                    assert len(FleetStore(tmp_path).incidents(limit=100)) < 25


def test_a_picture_waits_an_hour_for_its_event(tmp_path, writer):
    run, files = EventFactory(), []
    put_with_picture(writer, "north", event(run, "there"))
    for name in ("young", "old"):
        files.append(set((tmp_path / "pictures").iterdir()))
        with writer.writing():
            writer.put_picture("north", name, (run.id, 9), JPEG)
    for path in {*(tmp_path / "pictures").iterdir()} - (files[1] - files[0]):
        os.utime(path, (1.7e9, 1.7e9))
    with writer.writing():
        writer.trim()
    assert {*(tmp_path / "pictures").iterdir()} == files[1]
    assert FleetStore(tmp_path).incidents()[0].picture


def test_an_incident_of_many_events_is_shown_in_part(tmp_path, writer):
    run = EventFactory()
    put(writer, *(event(run, "id1", type_="update") for _ in range(MAX_ROWS + 1)))
    assert [each.seq for each in FleetStore(tmp_path).rows("north", "id1")] == list(range(1, MAX_ROWS + 1))


def test_the_last_room_of_the_disk_is_left_to_others(tmp_path, writer):
    run = EventFactory()
    put(writer, event(run, "id1"))
    usage = shutil.disk_usage(tmp_path)
    with patch("shutil.disk_usage", return_value=usage._replace(free=ROOM_BYTES - 1)):
        with pytest.raises(DiskError, match="less than 100 MB are free; make room"):
            put(writer, event(run, "id2"))
        assert len(FleetStore(tmp_path).incidents()) == 1
    with (
        patch("shutil.disk_usage", return_value=usage._replace(free=0)),
        patch("edge.fleet.store.connect", side_effect=sqlite3.OperationalError("disk I/O error")),
        pytest.raises(DiskError, match="its disk is full; make room"),
    ):
        FleetStore(tmp_path).incidents()


def test_a_device_that_is_forgotten_keeps_its_events(tmp_path, writer):
    put(writer, event(EventFactory(), "id1"))
    with writer.writing():
        writer.save(Known("north", 5.0))
        writer.delete("north")
    assert writer.load() == []
    assert len(FleetStore(tmp_path).incidents(device="north")) == 1


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path, caplog):
    """At the start, and where damage shows while it writes."""
    (tmp_path / NAME).write_bytes(b"no database" * 1000)
    with closing(FleetWriter(tmp_path)) as writer:
        (kept,) = (tmp_path / "quarantine").glob("*.db")
        assert f"{tmp_path / NAME}: file is not a database; it is kept as {kept}" in caplog.text
        assert kept.read_bytes().startswith(b"no database")
        for number in range(4):
            assert put(writer, event(EventFactory(), f"id{number}")) == [True]
            if number < 3:
                with pytest.raises(DiskError), writer.writing():
                    raise DiskError(f"{tmp_path / NAME}: database disk image is malformed", "damaged")
        assert len(list((tmp_path / "quarantine").glob("*.db"))) == 3
        assert not kept.exists()
    assert [each.event_id for each in FleetStore(tmp_path).incidents()] == ["id3"]


def test_what_is_known_of_a_device_is_the_same_after_a_restart(tmp_path):
    known = Known("north", 5.0)
    known.take_stats({"well": False, "reason": "covered", "every_s": 300, "cameras": {"yard": {"fresh": True}},
                      "last": ["a", 3]}, 7.0, 0.0)  # fmt: skip
    known.doubt("flood", 7.0, count=12)
    known.look(8.0, 0.0, 600.0)
    with closing(FleetWriter(tmp_path)) as writer, writer.writing():
        writer.save(known)
        writer.move("north", ("a", 3))
    with closing(FleetWriter(tmp_path)) as writer:
        (again,) = writer.load()
    assert (again.device(9.0), again.cursor, again.every_s) == (known.device(9.0), ("a", 3), 300.0)
    assert "12 of its messages" in again.device(9.0).doubts[0]


def test_a_second_fleet_and_what_cannot_be_used_are_a_sentence(tmp_path, writer):
    with pytest.raises(OptionError, match="another fleet uses this state folder"):
        FleetWriter(tmp_path)
    newer, file = (tmp_path / name for name in ("newer", "file"))
    newer.mkdir()
    with closing(sqlite3.connect(newer / NAME)) as db:
        db.execute("PRAGMA user_version = 9")
    file.write_text("")
    for folder, words in ((newer, "newer version"), (file, "cannot be kept")):
        with pytest.raises(OptionError, match=words):
            FleetWriter(folder)
