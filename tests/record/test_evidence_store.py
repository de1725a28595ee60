"""The folder of evidence: the oldest goes first, what is locked stays, what is not ours is never touched."""

import os
import time
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import edge.record.media_store
from edge.errors import OptionError
from edge.files import replace_whole
from edge.record.media_store import (
    GONE,
    RESCAN_S,
    MediaStore,
    NoRoomError,
    lock,
    locked,
    sample_path,
    unlock,
    visit_folder,
)

BEGIN = datetime(2026, 5, 4, 23, 58, tzinfo=UTC)
World = namedtuple("World", "store clock disk busy")


def unit(root, number, camera="yard"):
    """The folder of one event; they are a minute apart."""
    return visit_folder(root, camera, BEGIN + timedelta(minutes=number), f"{number:08x}")


def write(store, number, size=1000, name="alarm.jpg"):
    folder = unit(store.root, number)
    store.write(folder, folder / name, bytes(size))
    return folder


def world(root, *, quota=10_000, reserve=0):
    """A store with a clock, a disk and a set of folders in use that a test moves."""
    clock, disk = [0.0], [10**12]
    busy: set[Path] = set()
    store = MediaStore(
        root,
        quota_bytes=quota,
        reserve_bytes=reserve,
        busy=lambda: busy,
        free=lambda _: disk[0],
        clock=lambda: clock[0],
    )
    return World(store, clock, disk, busy)


def used(root):
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def test_the_oldest_events_go_first_whole_and_empty_days_with_them(tmp_path):
    store = world(tmp_path).store
    folders = [write(store, number) for number in range(4)]
    for folder in folders:
        store.write(folder, folder / "clip.mp4", bytes(1000))
    for number in range(4, 7):
        write(store, number, 1500)
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    assert not folders[0].parent.exists()  # the day before midnight is over
    assert used(tmp_path) == store.bytes <= 10_000


def test_a_file_that_is_written_again_counts_once(tmp_path):
    store = world(tmp_path).store
    for size in (3000, 9000, 5000):
        write(store, 1, size)
    assert used(tmp_path) == store.bytes == 5000


def test_what_is_locked_counts_and_stays_and_what_is_left_is_reported(tmp_path):
    store = world(tmp_path).store
    kept = [write(store, number, 4000) for number in range(2)]
    for folder in kept:
        lock(folder)
    loose = write(store, 2, 1500)
    write(store, 3, 1500)
    assert not loose.exists()
    with pytest.raises(NoRoomError, match=r"0.0 of 0.01 MB of evidence are used and what is left of it is locked"):
        write(store, 4, 3000)
    assert all(folder.exists() for folder in kept)
    unlock(kept[0])
    write(store, 5, 3000)
    assert [folder.exists() for folder in kept] == [False, True]
    assert used(tmp_path) == store.bytes <= 10_000


def test_an_event_that_is_still_written_to_stays(tmp_path):
    made = world(tmp_path)
    now = write(made.store, 0, 4000)
    made.busy.add(now)
    before = write(made.store, 1, 4000)
    write(made.store, 2, 4000)
    assert now.exists()
    assert not before.exists()


def test_room_is_left_on_the_disk_for_everybody_else(tmp_path):
    made = world(tmp_path, quota=10**9, reserve=5000)
    folders = [write(made.store, number) for number in range(3)]
    rmtree = edge.record.media_store._remove

    def frees(path):
        made.disk[0] += 1000
        rmtree(path)

    made.disk[0] = 5000
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge.record.media_store, "_remove", frees)
        write(made.store, 3, 2000)
    assert [folder.exists() for folder in folders] == [False, False, True]


def test_where_throwing_all_away_would_not_help_nothing_is(tmp_path):
    made = world(tmp_path, quota=10**9, reserve=50_000)
    folders = [write(made.store, number) for number in range(3)]
    made.disk[0] = 10_000
    with pytest.raises(NoRoomError, match=r"0.0 MB are free on this disk, of which 0.05 MB stay free"):
        write(made.store, 3)
    assert all(folder.exists() for folder in folders)


def test_names_that_are_not_ours_are_never_touched(tmp_path):
    strangers = [
        tmp_path / "holiday.jpg",
        tmp_path / "2026-05-04" / "000000-yard-abcdef01-1.jpg",
        tmp_path / "2026-05-04" / "notes" / "bear.txt",
        tmp_path / "2025" / "000000-yard-abcdef01" / "alarm.jpg",
        tmp_path / "negatives" / "2026-05-04" / "mine.jpg",
        tmp_path / "negatives" / "notes.txt",
    ]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(5000))
    store = world(tmp_path).store
    for number in range(30):
        write(store, number, 3000)
    assert all(path.stat().st_size == 5000 for path in strangers)
    assert store.bytes == 9000


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere" / "000000-yard-00000000"
    elsewhere.mkdir(parents=True)
    (elsewhere / "precious").write_bytes(bytes(9000))
    root = tmp_path / "evidence"
    (root / "2020-01-01").mkdir(parents=True)
    (root / "2020-01-01" / "000000-yard-00000000").symlink_to(elsewhere)
    store = world(root).store
    for number in range(10):
        write(store, number, 3000)
    assert (elsewhere / "precious").exists()


def test_negatives_count_and_go_by_age_too(tmp_path):
    store = world(tmp_path).store
    old, new = (sample_path(tmp_path, "yard", BEGIN + timedelta(minutes=minutes), 1) for minutes in (0, 30))
    for path in (old, new):
        store.write(path, path, bytes(2000))
    fresh = world(tmp_path).store  # another run finds them
    write(fresh, 10, 5000)
    write(fresh, 40, 2000)
    assert not old.exists()
    assert new.exists()


def test_another_run_goes_on_from_what_lies_there_and_looks_again_after_a_day(tmp_path):
    first = world(tmp_path).store
    old = [write(first, number, 2000) for number in range(4)]
    lock(old[0])
    made = world(tmp_path)
    write(made.store, 10, 3000)
    assert made.store.bytes == used(tmp_path)
    assert [folder.exists() for folder in old] == [True, False, True, True]
    extra = unit(tmp_path, 5)
    extra.mkdir()
    (extra / "alarm.jpg").write_bytes(bytes(600))
    write(made.store, 10, 3000)
    assert made.store.bytes == used(tmp_path) - 600
    made.clock[0] = RESCAN_S + 1
    write(made.store, 10, 3000)
    assert made.store.bytes == used(tmp_path)


def test_it_is_looked_through_once_and_not_for_each_alarm(tmp_path, monkeypatch):
    store = world(tmp_path, quota=10**9).store
    for number in range(20):
        write(store, number)
    looks: list[object] = []
    monkeypatch.setattr("edge.record.media_store.os.scandir", looks.append)
    write(store, 30)
    assert looks == []


def test_what_a_power_cut_left_half_done_goes(tmp_path):
    folder = unit(tmp_path, 1)
    gone = folder.with_name(GONE + unit(tmp_path, 0).name)
    for path in (folder / ".clip.mp4.part", folder / ".alarm.jpg.77.part", folder / "alarm.jpg", gone / "alarm.jpg"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
    hours_ago = time.time() - 7200
    os.utime(folder / ".clip.mp4.part", (hours_ago, hours_ago))
    world(tmp_path).store.make_room(0)
    assert {path.name for path in folder.iterdir()} == {"alarm.jpg", ".alarm.jpg.77.part"}  # that one may be in work
    assert not gone.exists()


def test_a_disk_that_fills_up_while_writing_is_tried_again_once(tmp_path, monkeypatch):
    made = world(tmp_path, reserve=0)
    old = write(made.store, 0)
    tries: list[Path] = []

    def full(path, data):
        tries.append(path)
        if len(tries) == 1:
            made.disk[0] = 500
            raise OptionError(f"{path}: cannot be written (No space left on device)")
        made.disk[0] = 10**12
        replace_whole(path, data)

    real_remove = edge.record.media_store._remove
    monkeypatch.setattr("edge.record.media_store.replace_whole", full)
    monkeypatch.setattr(
        edge.record.media_store, "_remove", lambda path: (made.disk.__setitem__(0, 10**6), real_remove(path))
    )
    new = write(made.store, 1)
    assert len(tries) == 2
    assert (new / "alarm.jpg").stat().st_size == 1000
    assert not old.exists()


def test_a_lock_is_a_file_beside_the_pictures(tmp_path):
    folder = write(world(tmp_path).store, 1)
    assert not locked(folder)
    lock(folder)
    lock(folder)
    assert locked(folder)
    assert (folder / "keep").is_file()
    unlock(folder)
    unlock(folder)
    assert not locked(folder)
    assert not locked(tmp_path / "nothing")
    for act in (lock, unlock):
        with pytest.raises(OptionError, match="no such folder"):
            act(tmp_path / "nothing")


def test_one_that_is_locked_in_the_very_moment_it_should_go_stays(tmp_path, monkeypatch):
    made = world(tmp_path)
    first, second = write(made.store, 0, 4000), write(made.store, 1, 4000)
    monkeypatch.setattr("edge.record.media_store.locked", lambda path: path.name == GONE + first.name or locked(path))
    write(made.store, 2, 4000)
    assert first.exists()
    assert not second.exists()
