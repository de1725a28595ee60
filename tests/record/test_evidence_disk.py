"""Evidence on a disk that pauses, hangs, is damaged, read-only or taken away: nothing is silent, and it goes on."""

import os
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import edge.alarm
import edge.files
import edge.record.media_store
from edge.alarm import evidence_writer
from edge.errors import OptionError
from edge.record.media_store import MediaStore
from edge.record.recorder import MediaWriter, WriteJob, WriteQueue
from edge.schema import Frame
from edge.settings import EvidenceSettings
from tests.helpers.sink_world import event, soon
from tests.helpers.small_disk import remount, there

CLOSE_S = 20.0


def write_job(root, number, names=("alarm.jpg",), type_="new", data=b"x", camera="yard"):
    """Of one event a minute; what begins with a picture named alarm… is with the event's still."""
    unit = root / "2026-11-24" / f"03{number:02d}00-{camera}-{number:08x}"
    still = event(type_, seq=number) if names[0].startswith("alarm") else None
    return WriteJob(unit, tuple((unit / name, lambda: data) for name in names), still)


def names(root):
    return sorted(f"{path.parent.name[:4]} {path.name}" for path in root.rglob("*.*") if path.is_file())


@pytest.fixture
def paused(monkeypatch):
    """A disk that takes nothing from ``pause()`` on until the event it gives is set."""
    goes_on = threading.Event()
    real = edge.files.replace_whole

    def waits(path, data):
        goes_on.wait(60)
        real(path, data)

    def pause():
        monkeypatch.setattr("edge.record.media_store.replace_whole", waits)
        return goes_on

    yield pause
    goes_on.set()


def test_a_disk_that_pauses_costs_no_picture_of_an_alarm(tmp_path, paused):
    writer = MediaWriter(tmp_path, reserve_mb=0.0)
    goes_on = paused()
    writer.write(write_job(tmp_path, 1, ("event.json",)))
    assert soon(lambda: writer._since is not None)
    writer.write(write_job(tmp_path, 2))
    for number in range(40):
        writer.write(write_job(tmp_path, 1 + number % 2, ("event.json",), data=b"%d" % number))
    goes_on.set()
    assert writer.close(CLOSE_S)
    assert names(tmp_path) == ["0301 event.json", "0302 alarm.jpg", "0302 event.json"]
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("event.json"))] == [b"38", b"39"]
    assert writer.failures == 0


def test_more_alarms_than_can_wait_are_counted_and_logged(tmp_path, paused, monkeypatch, caplog):
    monkeypatch.setattr("edge.record.recorder.DEPTH", 2)
    writer = MediaWriter(tmp_path, reserve_mb=0.0)
    assert soon(lambda: writer._turns.done == 1)  # its first look at the disk is over
    goes_on = paused()
    writer.write(write_job(tmp_path, 0))
    assert soon(lambda: writer._since is not None)
    for number in range(1, 6):
        writer.write(write_job(tmp_path, number))
    goes_on.set()
    assert writer.close(CLOSE_S)
    assert names(tmp_path) == ["0300 alarm.jpg", "0304 alarm.jpg", "0305 alarm.jpg"]
    assert writer.failures == 3
    assert "the disk is too slow: 3 sets of pictures were given up so far" in caplog.text


def test_an_alarm_on_its_way_waits_for_no_words_about_a_disk_that_hangs(tmp_path, paused, caplog, monkeypatch):
    monkeypatch.setattr("edge.record.recorder.HANGS_S", 0.2)
    writer = MediaWriter(tmp_path, reserve_mb=0.0)
    camera = writer.camera()
    goes_on = paused()
    writer.write(write_job(tmp_path, 1))
    assert soon(lambda: writer.trouble is not None)
    picture = np.zeros((90, 160, 3), np.uint8)
    assert camera.place(event(), Frame(picture, 0.0, datetime.now(UTC), "yard", 0))
    assert caplog.text == ""  # a terminal that takes no words would hold up the siren
    assert writer.problem()
    assert "its disk hangs" in caplog.text
    goes_on.set()
    assert writer.close(CLOSE_S)


def test_a_disk_that_hangs_is_a_problem_until_it_answers(tmp_path, paused, caplog, monkeypatch):
    monkeypatch.setattr("edge.record.recorder.HANGS_S", 0.2)
    writer = MediaWriter(tmp_path, reserve_mb=0.0)
    assert soon(lambda: writer._turns.done == 1)  # its first look at the disk is over
    goes_on = paused()
    assert writer.problem() is None
    writer.write(write_job(tmp_path, 1))
    assert soon(lambda: writer.problem() is not None)
    assert writer.problem() == f"evidence is not kept: {tmp_path}: its disk hangs, for more than 0.2 s by now"
    goes_on.set()
    assert soon(lambda: writer.problem() is None)
    assert writer.close(CLOSE_S)
    assert caplog.text.count("its disk hangs") == 1
    assert caplog.text.count("its disk answers again") == 1


@pytest.mark.parametrize("bad", ["2026-01-01/010101-yard-deadbeef", "2026-01-01", "negatives"])
def test_one_damaged_folder_is_left_alone_and_logged_once(tmp_path, monkeypatch, caplog, bad):
    old = tmp_path / "2026-01-01" / "010101-yard-deadbeef"
    well = tmp_path / "2026-01-02" / "010101-yard-deadbeef"
    for folder in (old, well, tmp_path / "negatives" / "2026-01-01"):
        folder.mkdir(parents=True)
        (folder / "alarm.jpg").write_bytes(b"x" * 10)
    real = os.scandir

    def scandir(path):
        if Path(path) == tmp_path / bad:
            raise OSError(117, "Structure needs cleaning", str(path))
        return real(path)

    monkeypatch.setattr("edge.record.media_store.os.scandir", scandir)
    clock = [0.0]
    store = MediaStore(tmp_path, quota_bytes=10**6, reserve_bytes=0, clock=lambda: clock[0])
    new = write_job(tmp_path, 1)
    for day in range(3):
        clock[0] = day * 100_000.0
        store.write(new.unit, new.files[0][0], b"12345")
    assert store.bytes == (15 if bad != "negatives" else 25)
    assert caplog.text.count("is damaged, and left alone (Structure needs cleaning)") == 1
    assert old.exists()


def test_an_event_that_cannot_be_thrown_away_costs_no_picture(tmp_path, monkeypatch):
    store = MediaStore(tmp_path, quota_bytes=2500, reserve_bytes=0)
    units = [write_job(tmp_path, number).unit for number in range(4)]
    for unit in units[:2]:
        store.write(unit, unit / "alarm.jpg", bytes(1000))
    real = Path.rename

    def rename(self, target):
        if self == units[0]:
            raise OSError(117, "Structure needs cleaning", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    store.write(units[2], units[2] / "alarm.jpg", bytes(1000))
    assert [unit.exists() for unit in units[:3]] == [True, False, True]


def taken_away(disk):
    """Pictures on a disk of its own; then it is unmounted, and another is mounted there."""
    root = Path(disk) / "evidence"
    writer = MediaWriter(root, reserve_mb=0.0, clips=False)
    found = {}

    def keep(number):
        one = write_job(root, number)
        failures = writer.failures
        writer.write(one)
        assert soon(lambda: writer.failures > failures or one.files[0][0].exists())
        return [one.files[0][0].exists(), writer.problem()]

    found["there"] = keep(1)
    subprocess.run(["umount", "-l", disk], check=True)
    found["gone"] = [*keep(2), [path.name for path in Path(disk).iterdir()]]
    subprocess.run(["mount", "-t", "tmpfs", "none", disk], check=True)
    found["back"] = [keep(3)[0], soon(lambda: writer.problem() is None)]
    found["bytes"] = writer.store.bytes
    writer.close(CLOSE_S)
    return found


@pytest.mark.needs_tool("unshare", "umount")
def test_a_disk_that_is_taken_away_is_reported_and_nothing_lands_in_its_place(tmp_path):
    disk = tmp_path / "usb"
    found = there(taken_away, disk, 4096)
    gone = f"{disk}/evidence: the disk that was mounted at {disk} is gone; mount it there again"
    assert found == {
        "there": [True, None],
        "gone": [False, f"evidence is not kept: {gone}", []],
        "back": [True, True],
        "bytes": 1,
    }


def noticed_without_an_alarm(disk):
    edge.record.recorder.RETRY_S = 0.0
    writer = MediaWriter(Path(disk) / "evidence", reserve_mb=0.0, clips=False)
    assert soon(lambda: writer.store._mount is not None)
    subprocess.run(["umount", "-l", disk], check=True)
    found = soon(writer.problem)
    writer.close(CLOSE_S)
    return found


@pytest.mark.needs_tool("unshare", "umount")
def test_that_it_is_gone_is_noticed_before_the_next_alarm(tmp_path):
    assert "is gone; mount it there again" in there(noticed_without_an_alarm, tmp_path / "usb", 4096)


def read_only_at_the_start(disk):
    edge.record.recorder.RETRY_S = 0.0
    root = Path(disk) / "evidence"
    edge.alarm.DEFAULT = root
    remount(disk, "ro")
    writers = [
        evidence_writer(EvidenceSettings(folder=root, reserve_mb=0.0)),
        evidence_writer(EvidenceSettings(reserve_mb=0.0)),
    ]
    found = [writer.problem() for writer in writers if writer]
    remount(disk, "rw")
    for writer in writers:
        assert writer
        assert soon(lambda writer=writer: writer.problem() is None)
        writer.close(CLOSE_S)
    return [found, root.is_dir()]


@pytest.mark.needs_tool("unshare")
def test_a_read_only_disk_stops_no_start_and_is_reported(tmp_path):
    disk = tmp_path / "disk"
    says = f"evidence is not kept: {disk}/evidence: cannot be written (Read-only file system)"
    assert there(read_only_at_the_start, disk, 4096) == [[says, says], True]


def test_a_file_in_its_place_is_a_mistake_and_by_default_gone_without(tmp_path, caplog, monkeypatch):
    (tmp_path / "file").write_text("")
    threads = set(threading.enumerate())  # one of another test may end meanwhile
    for place in (tmp_path / "file", tmp_path / "file" / "evidence"):
        with pytest.raises(OptionError, match="cannot keep evidence there"):
            evidence_writer(EvidenceSettings(folder=place))
        monkeypatch.setattr(edge.alarm, "DEFAULT", place)
        assert evidence_writer(EvidenceSettings()) is None
    assert "no pictures are kept" in caplog.text
    assert soon(lambda: set(threading.enumerate()) <= threads)


@pytest.mark.parametrize("asked", [True, False])
def test_without_permission_one_that_was_asked_for_is_reported_and_tried_again(tmp_path, monkeypatch, asked):
    place = tmp_path / "evidence"
    real = Path.mkdir

    def mkdir(self, *args, **more):
        if self == place:
            raise PermissionError(13, "Permission denied", str(self))
        real(self, *args, **more)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(edge.alarm, "DEFAULT", place)
    writer = evidence_writer(EvidenceSettings(folder=place if asked else None))
    assert bool(writer) == asked
    if writer:
        assert writer.problem() == f"evidence is not kept: {place}: cannot be written (Permission denied)"
        writer.close(CLOSE_S)


def test_while_all_is_well_the_disk_is_hardly_asked(tmp_path):
    writer = MediaWriter(tmp_path, reserve_mb=0.0)
    assert soon(lambda: writer._turns.done == 1)
    for _ in range(100):
        assert writer.problem() is None
    time.sleep(0.05)
    assert writer._turns.done == 1
    writer.close(CLOSE_S)


# What waits for the disk: jobs of one folder become one, and an alarm's picture is given up last.


def taken(queue):
    found = []
    while (one := queue.take()) is not None:
        found.append((one.unit.name[:4], [path.name for path, _ in one.files], one.files[-1][1]()))
    return found


def test_jobs_of_a_folder_that_wait_become_one(tmp_path):
    queue = WriteQueue(8)
    assert queue.put(write_job(tmp_path, 1, ("alarm.jpg", "crop.jpg", "event.json")))
    assert queue.put(write_job(tmp_path, 2, ("event.json",)))
    for data in (b"1", b"2"):
        assert not queue.put(write_job(tmp_path, 1, ("event.json",), data=data))
    assert queue.put(write_job(tmp_path, 1, ("alarm-7.jpg", "event.json"), "update", b"3"))
    assert not queue.put(write_job(tmp_path, 1, ("crop.jpg", "event.json"), data=b"4"))
    assert taken(queue) == [
        ("0301", ["alarm.jpg", "crop.jpg", "event.json"], b"2"),
        ("0302", ["event.json"], b"x"),
        ("0301", ["alarm-7.jpg", "event.json", "crop.jpg"], b"4"),
    ]
    assert queue.dropped == 0


def test_where_too_many_wait_an_alarms_picture_goes_last(tmp_path):
    queue = WriteQueue(3)
    for number, name, type_ in (
        (1, "alarm.jpg", "new"),
        (2, "event.json", "update"),
        (3, "alarm-9.jpg", "update"),
        (4, "alarm.jpg", "new"),  # in place of 2
        (5, "alarm.jpg", "new"),  # in place of 3
        (6, "event.json", "update"),  # is given up itself
        (7, "alarm.jpg", "new"),  # in place of 1
    ):
        queue.put(write_job(tmp_path, number, (name,), type_))
    assert [unit for unit, *_ in taken(queue)] == ["0304", "0305", "0307"]
    assert queue.dropped == 4
