"""The fleet's store: each event once, happenings in order, and no more than is kept."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from unittest.mock import patch

import pytest

from edge.errors import OptionError
from edge.fleet.devices import Known
from edge.fleet.store import NAME, FleetStore, FleetWriter
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


def test_a_happening_is_the_same_in_whatever_order_its_events_come(tmp_path, writer):
    run = EventFactory()
    new, update, end = (moment(event(run, "id1", type_=type_), at) for type_, at in
                        (("new", 10), ("update", 20), ("end", 30)))  # fmt: skip
    update = replace(update, top_score=0.9, species="brown bear", detail="near")
    events = [replace(new, top_score=0.7, label="bear"), update, end]
    for device, order in (("north", [0, 1, 2]), ("south", [2, 0, 1])):
        assert put(writer, *(events[each] for each in order), device=device) == [True] * 3
        assert put(writer, *events, device=device) == [False] * 3
    store = FleetStore(tmp_path)
    north, south = (store.happenings(device=device) for device in ("north", "south"))
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
    while page := store.happenings(limit=2, before=before):
        got += page
        before = page[-1].id
    assert [each.began_at % 10 for each in got] == [5, 4, 3, 3, 2, 1]
    assert [each.kind for each in store.happenings(kind="camera")] == ["camera"]
    assert store.happening(got[0].id) == got[0]
    assert store.happenings(before=10_000) == []


def test_the_oldest_go_with_their_pictures_and_a_greedy_device_loses_its_own(tmp_path, writer):
    runs = {name: EventFactory() for name in ("north", "greedy")}
    with patch.multiple("edge.fleet.store", KEEP_EVENTS=20, KEEP_ALL_EVENTS=25, KEEP_PICTURE_BYTES=4 * len(JPEG)):
        for device, count in (("north", 3), ("greedy", 30)):
            for number in range(count):
                each = event(runs[device], f"id{number}")
                put(writer, each, device=device)
                with writer.writing():
                    writer.put_picture(device, each.id, (each.boot_id, each.seq), JPEG)
        with writer.writing():
            files = writer.trim()
        writer.remove(files)
    store = FleetStore(tmp_path)
    left = {device: store.happenings(device=device) for device in runs}
    assert [len(each) for each in left.values()] == [3, 20]
    assert {each.event_id for each in left["greedy"]} == {f"id{number}" for number in range(10, 30)}
    pictures = [each for found in left.values() for each in found if each.picture]
    assert [len([each for each in pictures if each.device == name]) for name in runs] == [2, 2]
    assert len(list((tmp_path / "pictures").iterdir())) == 4


def test_what_is_known_of_a_device_is_the_same_after_a_restart(tmp_path):
    known = Known("north", 5.0)
    known.take_stats({"well": False, "reason": "covered", "every_s": 300, "cameras": {"yard": {"fresh": True}},
                      "last": ["a", 3]}, 7.0, 0.0)  # fmt: skip
    known.doubt("flood", 7.0, count=12)
    known.look(8.0, 0.0, 0.0, 600.0)
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
    newer, damaged, file = (tmp_path / name for name in ("newer", "damaged", "file"))
    for folder in (newer, damaged):
        folder.mkdir()
    with closing(sqlite3.connect(newer / NAME)) as db:
        db.execute("PRAGMA user_version = 9")
    (damaged / NAME).write_bytes(b"no database" * 1000)
    file.write_text("")
    for folder, words in ((newer, "newer version"), (damaged, "not a database"), (file, "cannot be kept")):
        with pytest.raises(OptionError, match=words):
            FleetWriter(folder)
