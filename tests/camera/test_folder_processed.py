"""What a followed folder's state file keeps over a power cut: nothing is missed, next to nothing comes twice."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge.camera import folder as arrivals
from edge.camera import processed_files
from edge.camera.folder import FolderScanner, FolderSource
from edge.camera.processed_files import ProcessedFiles, mark_of, seen_file
from edge.camera_thread import open_kept
from edge.settings import Camera
from tests.helpers.sink_world import soon
from tests.helpers.uploads import jpeg, put

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(arrivals, "POLL_S", 0.02)


def follow(folder, state):
    return FolderSource(folder, name="inbox", remember=state, fps=1000.0)


def looked_at(folder, state, count):
    """The times of so many pictures, each looked at to its end; then the source is closed."""
    times = []
    with follow(folder, state) as source:
        for frame in source:
            times.append(frame.wall.timestamp())
            if len(times) == count + 1:
                break
            if len(times) == count:
                source.close()  # the loop asks for the next one, so this one is done with
    return times


def test_what_arrived_while_the_alarm_was_down_is_looked_at_and_nothing_twice(tmp_path):
    inbox, state = tmp_path / "inbox", tmp_path / "state" / "seen.txt"
    put(inbox / "old.jpg", at=500)
    with follow(inbox, state) as source:
        put(inbox / "a.jpg", jpeg(1), at=1000)
        frames = iter(source)
        assert next(frames).wall.timestamp() == 1000
        source.close()
        assert list(frames) == []
    put(inbox / "night" / "c.jpg", jpeg(3), at=3000)
    put(inbox / "b.jpg", jpeg(2), at=700)  # a card's own old times do not matter
    assert looked_at(inbox, state, 2) == [700, 3000]
    put(inbox / "d.jpg", at=4000)
    assert looked_at(inbox, state, 1) == [4000]


def test_a_picture_that_was_taken_but_not_looked_at_comes_again(tmp_path):
    inbox, state = tmp_path / "inbox", tmp_path / "seen.txt"
    inbox.mkdir()
    follow(inbox, state).close()
    for at in (1000, 2000):
        put(inbox / f"{at}.jpg", at=at)
    with follow(inbox, state) as source:
        frames = iter(source)
        next(frames)
        frames.close()  # the loop failed over it
    assert looked_at(inbox, state, 2) == [1000, 2000]


def test_without_a_state_file_nothing_is_kept(tmp_path):
    kept = ProcessedFiles(tmp_path)
    kept.begin("/", [1])
    for mark in range(1000):
        kept.given(mark)
        kept.looked_at(mark)
    kept.close()
    assert (kept._new, list(tmp_path.iterdir())) == ([], [])


def filled(path, folder=Path("/inbox"), marks=(1, 2, 3)):
    kept = ProcessedFiles(folder, path)
    kept.begin("/", marks)
    kept.close()
    return kept


def test_lines_are_added_once_in_a_while_and_the_file_is_written_again_when_most_are_old(tmp_path):
    path = tmp_path / "seen.txt"
    kept = filled(path, marks=range(10))
    begun = path.stat().st_ino
    for mark in range(100, 150):
        kept.looked_at(mark)
        kept.write()
    assert len(path.read_bytes().split(b"\n")) == 12  # within ten seconds nothing more is written
    kept.close()
    assert path.stat().st_ino == begun
    assert ProcessedFiles(Path("/inbox"), path).marks == {*range(10), *range(100, 150)}
    for mark in range(1000, 4000):
        kept.looked_at(mark)
        kept.keep({mark: "/inbox"}, {"/inbox"}, 100.0 * mark)
    kept.close()
    kept.looked_at(5000)
    kept.close()
    assert len(path.read_bytes()) < 1000
    assert ProcessedFiles(Path("/inbox"), path).marks == {3999, 5000}


def test_a_file_torn_by_a_power_cut_costs_only_its_last_lines(tmp_path, caplog):
    path = tmp_path / "seen.txt"
    filled(path)
    whole = path.read_bytes()
    head = whole.index(b"\n") + 1
    torn = [(whole[:end], (end - head + 1) // 17) for end in range(head, len(whole) + 1)]
    for data, lines in (*torn, (whole + b"\0" * 300, 3), (whole[:-1] + b"\0" * 9, 2)):
        path.write_bytes(data)
        kept = ProcessedFiles(Path("/inbox"), path)
        assert kept.begun
        assert kept.marks <= {1, 2, 3}
        assert len(kept.marks) == lines
        kept.looked_at(9)
        kept.close()
        assert ProcessedFiles(Path("/inbox"), path).marks == kept.marks
    assert caplog.records == []


@pytest.mark.parametrize("data", [b"", b"no json\n", b"[1]\n", b'{"bear_alarm_seen":2}\n', b'{"bear_alarm_seen":1}\n'])
def test_a_file_that_is_none_of_ours_is_reported_and_the_folder_begun_again(tmp_path, caplog, data):
    path = tmp_path / "seen.txt"
    path.write_bytes(data)
    kept = ProcessedFiles(Path("/inbox"), path)
    assert (kept.begun, kept.marks) == (False, set())
    assert "passed over" in caplog.messages[0]


def test_a_disk_that_stalls_holds_up_neither_the_looking_nor_the_alarm(tmp_path, monkeypatch):
    inbox, state, free, stalled = tmp_path / "inbox", tmp_path / "seen.txt", threading.Event(), threading.Event()
    real = os.fsync

    def fsync(number):
        stalled.set()
        free.wait(60.0)
        real(number)

    inbox.mkdir()
    monkeypatch.setattr(processed_files, "WRITE_S", 0.0)
    letting_go = threading.Timer(20.0, free.set)
    letting_go.start()
    monkeypatch.setattr(arrivals, "GONE_S", 2.0)
    with follow(inbox, state) as source:
        frames = iter(source)
        put(inbox / "0.jpg", at=1000)
        next(frames)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            for number in range(1, 8):
                put(inbox / f"{number}.jpg", at=1000 + 100 * number)
                assert next(frames).wall.timestamp() == 1000 + 100 * number
                stalled.wait(10.0)
                time.sleep(0.4)  # in all longer than it takes to call the folder gone
            assert not free.is_set()
            free.set()
            letting_go.cancel()
        source.close()
        assert list(frames) == []
    assert len(ProcessedFiles(inbox, state).marks) == 8  # and nothing was lost


def test_a_write_that_hangs_is_left_behind_and_no_second_one_begun(tmp_path, monkeypatch, caplog):
    free, calls, real = threading.Event(), list[int](), os.fsync

    def fsync(number):
        calls.append(number)
        free.wait(5.0)
        real(number)

    kept = filled(tmp_path / "seen.txt")
    monkeypatch.setattr(processed_files, "SINK_DEADLINE_S", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        for mark in range(7, 10):
            kept.looked_at(mark)
            kept.write(at_once=True)
            assert soon(lambda: f"writing to {tmp_path / 'seen.txt'} hangs" in caplog.text)
        assert soon(lambda: calls)
        kept.close(0.1)
        assert len(calls) == 1
        assert f"writing to {tmp_path / 'seen.txt'} hangs: no answer within 0.05 s" in caplog.text
        free.set()
    deadline = time.monotonic() + 10.0
    while kept._writing and time.monotonic() < deadline:
        time.sleep(0.01)
    kept.close()
    assert ProcessedFiles(Path("/inbox"), tmp_path / "seen.txt").marks == {1, 2, 3, 7, 8, 9}


def test_another_folders_memory_is_not_believed(tmp_path, caplog):
    path = tmp_path / "seen.txt"
    filled(path, Path("/other"))
    assert not ProcessedFiles(Path("/inbox"), path).begun
    assert "remembers /other" in caplog.messages[0]
    places = {seen_file(tmp_path, Path(folder)) for folder in ("/a/inbox", "/b/inbox", "/", "inbox")}
    assert len(places) == 4


def test_a_disk_that_is_full_is_reported_once_and_made_up_for(tmp_path, caplog, monkeypatch):
    path = tmp_path / "seen.txt"
    kept = filled(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        for mark in (7, 8, 9):
            kept.looked_at(mark)
            kept.close()
    assert len(caplog.messages) == 1
    assert "cannot be remembered" in caplog.messages[0]
    kept.close()
    assert ProcessedFiles(Path("/inbox"), path).marks == {1, 2, 3, 7, 8, 9}


def test_a_disk_that_is_not_mounted_yet_is_awaited_and_not_begun_again(tmp_path, monkeypatch):
    inbox, state, mount = tmp_path / "inbox", tmp_path / "seen.txt", {"at": "/media/stick"}
    monkeypatch.setattr(arrivals, "mount_point", lambda _: mount["at"])
    put(inbox / "old.jpg")
    before = FolderScanner(inbox, seen=ProcessedFiles(inbox, state))
    before.look(0.0)
    before.seen.close()
    put(inbox / "new.jpg", jpeg(3))
    after = FolderScanner(inbox, seen=ProcessedFiles(inbox, state))
    mount["at"] = "/"
    with pytest.raises(OSError, match=f"the disk at /media/stick is gone; if the folder has moved .* remove {state}"):
        after.look(0.0)
    mount["at"] = "/media/stick"
    found = [*after.look(1.0), *after.look(2.0)]
    assert [Path(file.path).name for file in found] == ["new.jpg"]


def test_a_mark_is_the_same_in_every_process():
    assert mark_of("sub/a.jpg", 100, 5) == 0xC3D2D2C7E1E3F855
    assert mark_of("G\udce4rten.jpg", 1, 1) != mark_of("sub/a.jpg", 1, 1)


FOLLOWER = """
import sys
from pathlib import Path
from edge.camera_thread import open_kept
from edge.camera import processed_files as seen
from edge.settings import Camera
seen.WRITE_S = 0.0
for frame in open_kept(Camera("inbox", sys.argv[1], follow=True), state=Path(sys.argv[2])):
    print(frame.wall.timestamp(), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_process_that_is_killed_loses_no_picture(tmp_path):
    """As the command opens it; the second run goes on where the first was cut off."""
    inbox, state = tmp_path / "inbox", tmp_path / "state"
    inbox.mkdir()
    open_kept(Camera("inbox", str(inbox), follow=True), state=state).close()
    for number in range(30):
        put(inbox / f"{number:02}.jpg", at=1000 + 100 * number)
    wanted = {1000.0 + 100 * number for number in range(30)}
    found: list[list[float]] = []
    for most in (7, 12, 30):
        command, pipe = [sys.executable, "-c", FOLLOWER, str(inbox), str(state)], subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
            assert process.stdin
            assert process.stdout
            found.append([])
            for line in process.stdout:
                found[-1].append(float(line))
                if len(found[-1]) == most or {at for run in found for at in run} == wanted:
                    process.kill()
                    break
                process.stdin.write("\n")  # it waits for the word, so it is killed between the first and the last
    assert {at for run in found for at in run} == wanted
    assert all(len(set(run)) == len(run) for run in found)
    assert sum(map(len, found)) < 60  # it goes on, and does not begin again


@pytest.fixture(autouse=True)
def _heard(caplog):
    caplog.set_level(logging.WARNING)


def test_what_is_looked_at_long_after_the_end_is_looked_at_again(tmp_path, monkeypatch):
    """Its alarm went nowhere: the sinks had ended with the alarm that did not wait for it any more."""
    inbox, remembered = tmp_path / "inbox", tmp_path / "seen"
    inbox.mkdir()
    first = follow(inbox, remembered)
    frames = iter(first)
    put(inbox / "late.jpg", at=1000)
    assert next(frames).file == "late.jpg"
    monkeypatch.setattr(arrivals, "LAST_FRAME_S", -1.0)
    first.close()
    assert next(frames, None) is None
    with follow(inbox, remembered) as second:
        assert next(iter(second)).file == "late.jpg"
