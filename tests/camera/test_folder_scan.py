"""When a picture has arrived whole, that each counts once, and what is remembered of it; the camera's own time."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.camera import folder as arrivals
from edge.camera import processed_files as seen
from edge.camera.folder import FolderScanner, is_finished, mount_point
from edge.camera.processed_files import ProcessedFiles
from edge.pictures import capture_time, decode_picture
from tests.helpers.uploads import dated, jpeg, put

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

WHOLE = jpeg(40, (80, 60))

REAL = Path.read_bytes


def begun(folder, **options):
    """Return what watches an empty folder, after its first look."""
    watching = FolderScanner(folder, **options)
    assert watching.look(0.0) == []
    return watching


def all_new(folder):
    """Return what watches a folder of which all pictures arrived since the last run."""
    seen = ProcessedFiles(folder)
    seen.begin(mount_point(folder), ())
    return FolderScanner(folder, seen=seen)


def arrived(watching, now):
    """The names of what has arrived whole at this look."""
    return [Path(file.path).name for file in watching.look(now) if watching.read(file, now)]


def test_what_lies_there_at_the_start_is_passed_over_or_not(tmp_path):
    for name, at in (("b.jpg", 200), ("a.jpg", 200), ("c.jpg", 100)):
        put(tmp_path / name, at=at)
    assert arrived(begun(tmp_path), 1.0) == []
    everything = all_new(tmp_path)
    assert arrived(everything, 0.0) + arrived(everything, 1.0) == ["c.jpg", "a.jpg", "b.jpg"]
    assert arrived(everything, 2.0) == []


def test_a_file_is_whole_when_it_is_still_and_decodes(tmp_path, caplog):
    watching, data = begun(tmp_path), jpeg()
    for now, end in enumerate((200, 600, len(data) - 2)):
        (tmp_path / "a.jpg").write_bytes(data[:end])
        assert arrived(watching, float(now)) == []
    assert arrived(watching, 3.0) == []  # stands still, but its end is missing
    assert watching.look(4.0) == []  # and is not read again and again
    (tmp_path / "a.jpg").write_bytes(data)
    assert arrived(watching, 5.0) == []
    assert arrived(watching, 6.0) == ["a.jpg"]
    assert arrived(watching, 7.0) == []
    assert caplog.records == []


def test_a_file_renamed_into_place_counts_at_once(tmp_path):
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    watching = begun(inbox)
    (tmp_path / "elsewhere").write_bytes(jpeg())
    for name in (".IMG_1.jpg.Ab3x", "IMG_2.jpg.part", "IMG_3.tmp"):
        (inbox / name).write_bytes(jpeg())
    assert arrived(watching, 1.0) == []
    assert arrived(watching, 2.0) == []
    time.sleep(0.02)  # longer than the file system's clock ticks
    for old, new in ((".IMG_1.jpg.Ab3x", "IMG_1.jpg"), ("IMG_2.jpg.part", "IMG_2.jpg"), ("IMG_3.tmp", "IMG_3.JPG")):
        (inbox / old).rename(inbox / new)
    (tmp_path / "elsewhere").rename(inbox / "IMG_0.jpg")
    assert sorted(arrived(watching, 3.0)) == ["IMG_0.jpg", "IMG_1.jpg", "IMG_2.jpg", "IMG_3.JPG"]


@pytest.mark.parametrize(
    ("name", "finished"),
    [
        ("IMG_0001.JPG", True), ("a.b.png", True), ("2024-05-01 10.00.00.jpeg", True), ("part.jpg", True),
        (".IMG.jpg", False), ("~IMG.jpg", False), ("IMG.part.jpg", False), ("IMG.jpg.filepart", False),
        ("IMG.jpg.tmp", False), ("clip.mp4", False), ("jpg", False), (".jpg", False), ("notes", False),
    ],
)  # fmt: skip
def test_names_of_finished_pictures(name, finished):
    assert is_finished(name) is finished


def test_new_sub_folders_are_looked_into_but_not_hidden_ones_or_thumbnails(tmp_path):
    watching = begun(tmp_path)
    for name in ("2024/05/a.jpg", "@eaDir/a.jpg/thumb.jpg", ".trash/a.jpg", "#recycle/a.jpg"):
        put(tmp_path / name)
    (tmp_path / "2024" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone.jpg")
    assert arrived(watching, 1.0) + arrived(watching, 2.0) == ["a.jpg"]


def test_a_file_that_is_written_over_counts_again(tmp_path):
    watching = begun(tmp_path)
    for now, at in ((1.0, 100), (3.0, 100), (5.0, 160)):
        put(tmp_path / "latest.jpg", at=at)
        found = arrived(watching, now) + arrived(watching, now + 1.0)
        assert found == ([] if now == 3.0 else ["latest.jpg"])


def test_a_file_that_stays_broken_is_named_once(tmp_path, caplog):
    watching = begun(tmp_path)
    put(tmp_path / "half.jpg", jpeg()[:-40])
    put(tmp_path / "empty.jpg", b"")
    with caplog.at_level(logging.WARNING):
        for now in (1.0, 2.0, 20.0):
            assert arrived(watching, now) == []
        assert caplog.records == []
        assert arrived(watching, 32.0) == []
        assert sorted(message.partition(": ")[2] for message in caplog.messages) == [
            "the file is empty (0 bytes); skipped",
            f"truncated JPEG, its end is missing ({len(jpeg()) - 40} bytes); copy it again; skipped",
        ]
        assert arrived(watching, 70.0) == []
    assert len(caplog.records) == 2
    put(tmp_path / "half.jpg")  # the upload is taken up again
    assert arrived(watching, 80.0) + arrived(watching, 81.0) == ["half.jpg"]


def test_broken_files_leave_nothing_behind(tmp_path):
    watching = begun(tmp_path)
    for number in range(50):
        put(tmp_path / f"{number}.jpg", b"no picture")
    for now in (1.0, 2.0, 40.0):
        arrived(watching, now)
    assert not watching._waiting


def test_clips_are_not_looked_at_which_is_reported_once(tmp_path, caplog):
    watching = begun(tmp_path)
    put(tmp_path / "half.mp4.part", b"a clip")
    put(tmp_path / ".hidden.mp4", b"a clip")
    assert arrived(watching, 1.0) == []
    assert caplog.messages == []
    for name in ("sub/IMG_0001.MP4", "IMG_0002.avi"):
        put(tmp_path / name, b"a clip")
    for now in (2.0, 3.0, 90.0):
        assert arrived(watching, now) == []
    assert len(caplog.messages) == 1
    assert re.search(r"IMG_000\d\.\w+: clips that arrive are not looked at, only pictures; set the", caplog.messages[0])


def test_a_file_that_is_gone_before_it_is_read_is_no_problem(tmp_path, caplog):
    watching = begun(tmp_path)
    put(tmp_path / "a.jpg")
    watching.look(1.0)
    (file,) = watching.look(2.0)
    (tmp_path / "a.jpg").unlink()
    assert watching.read(file, 60.0) is None
    assert caplog.records == []


def test_months_of_pictures_leave_nothing_behind(tmp_path):
    watching, data = begun(tmp_path), jpeg(size_wh=(16, 16))
    given, most = 0, 0
    for day in range(20):
        for number in range(500):
            (tmp_path / f"{day}-{number}.jpg").write_bytes(data)
        watching.look(10.0 * day + 1.0)
        given += len(arrived(watching, 10.0 * day + 2.0))
        for old in tmp_path.glob(f"{day - 1}-*"):
            old.unlink()
        most = max(most, len(watching.seen.marks), len(watching._waiting))
    assert given == 10_000
    assert most <= 1500
    assert arrived(watching, 1000.0) == []
    assert len(watching.seen.marks) == 500


def test_what_is_away_for_a_while_does_not_come_again(tmp_path):
    stick, pulled = tmp_path / "stick", tmp_path / "pulled"
    put(stick / "a.jpg")
    put(stick / "b.jpg")
    watching = begun(stick)
    stick.rename(pulled)
    with pytest.raises(OSError, match="No such file"):
        watching.look(1.0)
    stick.mkdir()  # the bare mount point
    assert arrived(watching, 2.0) == []
    stick.rmdir()
    pulled.rename(stick)
    put(stick / "c.jpg")
    assert arrived(watching, 3.0) + arrived(watching, 4.0) == ["c.jpg"]


def test_a_sub_folder_that_fails_for_a_while_does_not_come_again(tmp_path, monkeypatch):
    put(tmp_path / "share" / "a.jpg")
    put(tmp_path / "b.jpg")
    watching, real = begun(tmp_path), os.scandir

    def failing(code):
        def scandir(path):
            if str(path).endswith("share"):
                raise OSError(code, os.strerror(code), path)
            return real(path)

        return scandir

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", failing(errno.EIO))
        assert arrived(watching, 1.0) == []
        patch.setattr(os, "scandir", failing(errno.EACCES))
        assert arrived(watching, 1.5) == []
    assert arrived(watching, 2.0) + arrived(watching, 3.0) == []


def test_a_disk_that_is_unmounted_is_gone_and_one_mounted_later_is_begun_again(tmp_path, monkeypatch):
    assert tmp_path.is_relative_to(mount_point(tmp_path))
    mounts = {"at": "/"}
    monkeypatch.setattr(arrivals, "mount_point", lambda folder: mounts["at"])
    watching = begun(tmp_path)
    mounts["at"] = "/media/stick"
    put(tmp_path / "old.jpg")
    assert arrived(watching, 1.0) + arrived(watching, 2.0) == []
    mounts["at"] = "/"
    with pytest.raises(OSError, match="disk at /media/stick is gone"):
        watching.look(3.0)
    mounts["at"] = "/media/stick"
    put(tmp_path / "new.jpg")
    assert arrived(watching, 4.0) + arrived(watching, 5.0) == ["new.jpg"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_cameras_own_time_is_read(order):
    found = capture_time(dated(jpeg(), "2024:05:01 22:15:30", order=order, zone="+02:00"))
    assert found == datetime(2024, 5, 1, 20, 15, 30, tzinfo=UTC)
    assert (
        capture_time(dated(jpeg(), "2024:05:01 22:15:30", order=order)) == datetime(2024, 5, 1, 22, 15, 30).astimezone()
    )


@pytest.mark.parametrize(
    "taken", ["0000:00:00 00:00:00", "2024:13:01 00:00:00", "                   ", "yesterday at noon"]
)
def test_a_time_that_makes_no_sense_is_none(taken):
    assert capture_time(dated(jpeg(), taken)) is None
    assert capture_time(jpeg()) is None
    assert capture_time(b"") is None


def test_the_cameras_time_agrees_with_another_reader(pictures):
    image = pytest.importorskip("PIL.Image")
    paths = sorted(pictures.rglob("*.jpg"))[::40]
    for path in paths:
        with image.open(path) as opened:
            text = str(opened.getexif().get_ifd(0x8769).get(0x9003, ""))
        found = capture_time(path.read_bytes())
        assert (found and found.astimezone().strftime("%Y:%m:%d %H:%M:%S")) == (
            text[:19] if text[:4] > "1900" else None
        )


def test_a_camera_whose_clock_is_wrong_still_tells_what_lies_apart(tmp_path):
    now = time.time()
    for name, taken in (("a", "2000:01:01 00:00:00"), ("b", "2000:01:01 00:00:02"), ("c", "2000:01:01 07:00:00")):
        put(tmp_path / f"{name}.jpg", dated(jpeg(), taken), at=now)
    put(tmp_path / "d.jpg", dated(jpeg(), datetime.fromtimestamp(now - 3600).strftime("%Y:%m:%d %H:%M:%S")), at=now + 1)
    watching = all_new(tmp_path)
    watching.look(0.0)
    found = [each for file in watching.look(1.0) if (each := watching.read(file, 1.0))]
    a, b, c, d = found
    assert (a.apart_s(b), a.apart_s(c)) == (2.0, 7 * 3600.0)
    assert a.wall == datetime.fromtimestamp(now, UTC)
    assert d.wall - a.wall == pytest.approx(timedelta(hours=-1), abs=timedelta(seconds=2))


@hypothesis.given(st.lists(st.tuples(st.integers(1, len(WHOLE)), st.integers(0, 3)), max_size=8))
def test_a_picture_comes_once_and_whole_however_it_is_written(steps):
    with tempfile.TemporaryDirectory() as name:
        watching, now, at, given = begun(Path(name)), 0.0, 0, []
        for size, looks in [*steps, (len(WHOLE), 3)]:
            with (Path(name) / "a.jpg").open("ab") as file:
                file.write(WHOLE[at : at + size])
            at += size
            for _ in range(looks):
                now += 1.0
                given += [watching.read(file, now) for file in watching.look(now)]
        pictures = [each.picture for each in given if each]
        assert len(pictures) == 1
        assert np.array_equal(pictures[0], decode_picture(WHOLE, ""))


@hypothesis.given(st.binary(max_size=80), st.integers(0, 60), st.integers(0, 120))
def test_no_bytes_break_the_reading_of_a_time(noise, at, keep):
    data = dated(jpeg(), "2024:05:01 22:15:30", zone="+02:00")
    for damaged in (data[:at] + noise + data[at + len(noise) :], data[:keep], noise):
        found = capture_time(damaged)
        assert found is None or found.tzinfo is UTC


@pytest.fixture(autouse=True)
def _heard(caplog):
    caplog.set_level(logging.WARNING)


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError(), RuntimeError("ours")])
def test_what_cannot_be_read_is_tried_again_ever_more_seldom_and_reported_once(error, tmp_path, monkeypatch, caplog):
    inbox, state, tries = tmp_path / "inbox", tmp_path / "seen.txt", list[float]()
    inbox.mkdir()
    watching = begun(inbox, seen=ProcessedFiles(inbox, state))
    put(inbox / "bear.jpg")

    def failing(path):
        if path.name == "bear.jpg":
            tries.append(now)
            raise error
        return REAL(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", failing)
        for now in range(1, 4000):
            assert arrived(watching, float(now)) == []
    pauses = [after - before for before, after in itertools.pairwise(tries)]
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 300
    assert len(caplog.messages) == 1
    assert "bear.jpg: cannot be read" in caplog.messages[0]
    assert "tried again" in caplog.messages[0]
    watching.seen.close()
    assert not ProcessedFiles(inbox, state).marks
    assert arrived(watching, 4300.0) == ["bear.jpg"]
    assert arrived(watching, 4700.0) == []


def test_one_that_cannot_be_asked_for_hides_none_beside_it(tmp_path, caplog):
    (tmp_path / "cam1").mkdir()
    watching = begun(tmp_path)
    for folder in (tmp_path, tmp_path / "cam1"):
        (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
        for number in range(20):
            put(folder / f"bear{number}.jpg")
    found = [name for now in range(1, 6) for name in arrived(watching, float(now))]
    assert sorted(found) == sorted(2 * [f"bear{number}.jpg" for number in range(20)])
    assert len(caplog.messages) == 1
    assert "loop.jpg: cannot be asked for (Too many levels of symbolic links)" in caplog.messages[0]


def test_a_folder_that_may_not_be_listed_is_reported_once_but_for_lost_and_found(tmp_path, monkeypatch, caplog):
    for name in ("private", "lost+found"):
        (tmp_path / name).mkdir()
    real = os.scandir

    def scandir(path):
        if str(path) != str(tmp_path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    watching = begun(tmp_path)
    for now in range(1, 5):
        arrived(watching, float(now))
    assert [message.partition(": ")[0] for message in caplog.messages] == [str(tmp_path / "private")]


@pytest.mark.parametrize("bare", [False, True])  # its empty mount point may be left
def test_a_sub_folder_that_is_away_for_hours_does_not_come_again(bare, tmp_path):
    inbox, away, state = tmp_path / "inbox", tmp_path / "away", tmp_path / "seen.txt"
    (inbox / "cam1").mkdir(parents=True)
    watching = begun(inbox, seen=ProcessedFiles(inbox, state))
    for number in range(50):
        put(inbox / "cam1" / f"{number}.jpg")
    put(inbox / "cam2" / "x.jpg")
    assert len(arrived(watching, 1.0) + arrived(watching, 2.0)) == 51
    (inbox / "cam1").rename(away)
    if bare:
        (inbox / "cam1").mkdir()
    for now in (3.0, 1000.0, 80_000.0):
        assert arrived(watching, now) == []
    for mark in watching.seen.marks.copy():
        watching.seen.looked_at(mark)
    watching.seen.close()
    shutil.rmtree(inbox / "cam1", ignore_errors=True)
    again = FolderScanner(inbox, seen=ProcessedFiles(inbox, state))  # a restart meanwhile
    assert arrived(again, 10.0) == []
    away.rename(inbox / "cam1")
    put(inbox / "cam1" / "new.jpg")
    for each, now in ((watching, 80_100.0), (again, 100.0)):
        assert arrived(each, now) + arrived(each, now + 1.0) == ["new.jpg"]


def test_what_is_gone_for_good_is_forgotten_after_a_day(tmp_path):
    put(tmp_path / "cam1" / "a.jpg")
    put(tmp_path / "cam2" / "b.jpg")
    watching = begun(tmp_path)
    shutil.rmtree(tmp_path / "cam1")
    watching.look(1.0)
    watching.look(seen.MISSING_S)
    assert len(watching.seen.marks) == 2
    watching.look(seen.MISSING_S + 1.0)
    assert len(watching.seen.marks) == 1
    watching.look(seen.MISSING_S + 2.0)
    assert not watching.seen._missing
