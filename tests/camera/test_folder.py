"""Pictures that arrive, as frames: what is handed over when, and what is said when the folder goes away."""

import itertools
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from edge.camera import folder as arrivals
from edge.camera.folder import FolderSource, mount_point
from edge.camera.processed_files import ProcessedFiles
from edge.errors import SourceError
from edge.pictures import decode_picture
from tests.helpers.uploads import jpeg, put


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(arrivals, "POLL_S", 0.02)


def follow(folder, **options):
    return FolderSource(folder, name="inbox", **({"fps": 1000.0} | options))


def all_new(folder, **options):
    """Follow a folder of which all pictures arrived since the last run."""
    remember = folder.with_name("seen.txt")
    before = ProcessedFiles(folder, remember)
    before.begin(mount_point(folder), ())
    before.close()
    return follow(folder, remember=remember, **options)


def take(source, count):
    return list(itertools.islice(source, count))


def test_pictures_come_as_they_arrive(tmp_path):
    put(tmp_path / "old.jpg", at=50)
    with follow(tmp_path) as source:
        assert (source.live, source.length_s, source.name, source.problems) == (True, None, "inbox", [])
        put(tmp_path / "a.jpg", jpeg(10), at=1_700_000_000)
        frames = iter(source)
        first = next(frames)
        put(tmp_path / "sub" / "b.jpg", jpeg(150), at=1_700_000_001)
        second = next(frames)
    assert np.array_equal(first.image, decode_picture(jpeg(10), ""))
    assert (first.file, second.file) == ("a.jpg", "sub/b.jpg")
    assert (first.index, second.index, first.camera, first.media_time_s) == (0, 1, "inbox", None)
    assert (first.wall, first.discontinuity) == (datetime.fromtimestamp(1_700_000_000, UTC), False)
    assert first.time == first.handed_over < second.handed_over <= time.monotonic()
    # From another folder it is of another moment, and for whoever follows tracks it lies as far away.
    assert second.discontinuity
    assert second.time == second.handed_over + arrivals.APART_S
    assert no_threads()


def test_none_is_dropped_and_a_burst_is_paced(tmp_path):
    for number in range(12):
        put(tmp_path / f"{number:02}.jpg", jpeg(number), at=1000 + number)
    put(tmp_path / "later.jpg", jpeg(99), at=9000)
    with all_new(tmp_path, fps=25.0) as source:
        frames = take(source, 13)
    assert [frame.wall.timestamp() for frame in frames] == [*range(1000, 1012), 9000]
    assert [frame.discontinuity for frame in frames] == [False] * 12 + [True]
    assert all(after.time - before.time >= 0.04 for before, after in itertools.pairwise(frames[:12]))


def test_pictures_that_do_not_belong_together_begin_again(tmp_path):
    burst = [("one/a.jpg", jpeg(), 1000), ("one/b.jpg", jpeg(), 1059), ("two/c.jpg", jpeg(), 1059)]
    burst += [("two/d.jpg", jpeg(size_wh=(32, 32)), 1060), ("two/e.jpg", jpeg(size_wh=(32, 32)), 1121)]
    for name, data, at in burst:
        put(tmp_path / name, data, at=at)
    with all_new(tmp_path) as source:
        assert [frame.discontinuity for frame in take(source, 5)] == [False, False, True, True, True]


def test_a_picture_long_after_the_last_begins_again(tmp_path, monkeypatch):
    monkeypatch.setattr(arrivals, "APART_S", 0.15)
    with follow(tmp_path) as source:
        frames = iter(source)
        put(tmp_path / "a.jpg", at=1000)
        next(frames)
        time.sleep(0.2)
        put(tmp_path / "b.jpg", at=1000)
        assert next(frames).discontinuity


@pytest.mark.parametrize("name", ["nowhere", "a.jpg"])
def test_no_folder_is_one_sentence(tmp_path, name):
    put(tmp_path / "a.jpg")
    with pytest.raises(SourceError, match=rf"{name}: is no folder to follow"):
        follow(tmp_path / name)
    assert no_threads()


def closing(told, source):
    """Return what notes the first fault and closes the source."""

    def report(trouble, at):
        told.append(trouble.detail)
        source.close()

    return report


def test_a_folder_that_goes_away_is_one_sentence_and_what_came_meanwhile_is_given_later(tmp_path, monkeypatch):
    inbox, seen, told = tmp_path / "inbox", tmp_path / "seen.txt", list[str]()
    put(inbox / "old.jpg")
    with follow(inbox, remember=seen) as source:
        put(inbox / "a.jpg")
        frames = iter(source)
        next(frames)
        monkeypatch.setattr(arrivals, "GONE_S", 0.4)  # not before: the first look may take longer
        inbox.rename(tmp_path / "away")
        began = time.monotonic()
        source.report = closing(told, source)
        assert next(frames, None) is None
        assert "inbox: is gone (No such file or directory); check the disk" in told[0]
        assert time.monotonic() - began >= 0.3
    put(tmp_path / "away" / "b.jpg")
    (tmp_path / "away").rename(inbox)
    monkeypatch.setattr(arrivals, "GONE_S", 10.0)
    with follow(inbox, remember=seen) as source:
        (frame,) = take(source, 1)
    assert frame.wall == datetime.fromtimestamp((inbox / "b.jpg").stat().st_mtime_ns / 1e9, UTC)


def test_with_somebody_to_tell_the_folder_is_awaited(tmp_path, monkeypatch):
    inbox, told = tmp_path / "inbox", []
    inbox.mkdir()
    with follow(inbox, report=lambda trouble, at: told.append(trouble)) as source:
        monkeypatch.setattr(arrivals, "GONE_S", 0.4)
        inbox.rmdir()

        def comes_back():
            deadline = time.monotonic() + 10.0
            while len(told) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            put(inbox / "early.jpg")
            while told[-1] is not None and time.monotonic() < deadline:
                time.sleep(0.01)
            put(inbox / "late.jpg")

        threading.Thread(target=comes_back).start()
        assert len(take(source, 2)) == 2
    assert [trouble.kind for trouble in told[:2]] == ["gone", "gone"]
    assert "is gone" in told[0].detail
    assert told[-1] is None


def test_a_share_that_hangs_is_one_sentence(tmp_path, monkeypatch):
    told = list[str]()
    with follow(tmp_path) as source:
        monkeypatch.setattr(arrivals, "GONE_S", 0.3)
        free = threading.Event()
        monkeypatch.setattr(arrivals, "scan", lambda *_: free.wait(20.0) and arrivals.Listing([], frozenset(), None))
        source.report = closing(told, source)
        assert take(source, 1) == []
        assert "has not answered for 0.3 s; check the network share" in told[0]
        with pytest.raises(SourceError, match="has not answered"):
            follow(tmp_path)
        free.set()
    assert no_threads()


def test_closing_ends_an_iteration_in_another_thread(tmp_path):
    source = follow(tmp_path)
    threading.Timer(0.1, source.close).start()
    assert list(source) == []
    source.close()
    assert no_threads()


def test_a_picture_over_which_the_loop_failed_comes_once_more_and_then_counts_as_looked_at(tmp_path, caplog):
    inbox, state = tmp_path / "inbox", tmp_path / "seen.txt"
    inbox.mkdir()
    got: list[tuple[int, float, float, bool]] = []

    def loop(source, fails):
        """What looks at pictures; it fails over so many of those at 2000."""
        for frame in source:
            wall = frame.wall.timestamp()
            got.append((frame.index, wall, frame.time, frame.discontinuity))
            if wall == 2000 and fails:
                raise ZeroDivisionError
            if wall == 3000:
                source.close()

    with follow(inbox, remember=state) as source:
        for at in (1000, 2000, 3000):
            put(inbox / f"{at}.jpg", jpeg(at % 97), at=at)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                loop(source, fails=True)
        assert "2000.jpg" not in caplog.text
        loop(source, fails=True)
    assert [wall for _, wall, _, _ in got] == [1000, 2000, 2000, 3000]
    assert [index for index, *_ in got] == [0, 1, 2, 3]
    times = [time for _, _, time, _ in got]
    assert times == sorted(times)  # the frames' clock goes on
    assert got[2][3]  # whatever the loop had begun over it is begun anew
    assert [record.message for record in caplog.records] == [
        f"{inbox / '2000.jpg'}: the alarm failed over this picture twice; it counts as looked at"
    ]
    assert len(ProcessedFiles(inbox, state).marks) == 3


def no_threads():
    """No thread of a camera is alive a moment later."""
    deadline = time.monotonic() + 5.0
    while any(each.name.startswith("camera") for each in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(each.name.startswith("camera") for each in threading.enumerate())


def test_a_first_look_that_takes_long_does_not_hold_up_an_alarm_that_knows_of_it(tmp_path, monkeypatch):
    ended = threading.Event()

    def slowly(_, now, alive):
        while not ended.wait(0.02):  # a card of 100,000 pictures on a slow share: it gets on
            alive()
        return []

    monkeypatch.setattr(arrivals, "GONE_S", 0.4)
    monkeypatch.setattr(arrivals.FolderScanner, "look", slowly)
    began = time.monotonic()
    source = FolderSource(tmp_path, name="inbox", waits=True)
    assert time.monotonic() - began < 5.0
    ended.set()
    source.close()
