"""Restart, then reboot, when no camera gives anything: once an outage, once a day, and only with a note on the disk."""

import json
import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from edge.device.watchdog import (
    DAY_S,
    DISK_S,
    FILE,
    RETRY_S,
    Escalation,
    RecoveryAction,
    RecoveryLog,
    forgets,
    machine_boot,
    read_note,
    uptime_s,
    write_note,
)
from tests.helpers.service_manager import camera, gone, status
from tests.helpers.small_disk import fill, remount, there

NONE = {"frame_age_s": None, "frames": 0}
DEAD = status(gone("yard", **NONE), gone("bin", **NONE))  # since the process began


class Machine:
    """A machine that was started at 0 of its clock, and the lives of the alarm on it."""

    def __init__(self, folder, *, reboot=False, boot="first", began=0.0, forgetful=False, present=True):
        self.folder, self.reboot, self.boot, self.now, self.began = folder, reboot, boot, began, 0.0
        self.forgetful, self.present = forgetful, present
        self.begin()

    def begin(self):
        """Another process."""
        self.began = self.now
        self.escalation = Escalation(
            self.folder, 600.0, self.reboot, present=self.present, boot=lambda: self.boot, uptime=lambda: self.now,
            forgetful=lambda _: self.forgetful,
        )  # fmt: skip

    def wait(self, seconds, seen=DEAD):
        """What was ordered while that was seen, each with the seconds after which it was, since the process began."""
        orders = []
        for _ in range(int(seconds / 10)):
            order = self.escalation(seen, self.now)
            if order:
                orders.append((order, self.now - self.began))
            self.now += 10.0
        return orders

    def mend(self, seconds=80):
        """Frames come for so long."""
        for frames in range(1, seconds // 10 + 1):
            assert self.wait(10, flowing(frames)) == []


def flowing(frames):
    """The cameras of DEAD, of which one gave a frame."""
    return status(camera("yard", frames=frames), gone("bin", **NONE))


def test_an_outage_is_restarted_for_once_whatever_comes(tmp_path):
    machine = Machine(tmp_path)
    assert machine.wait(3600) == [("restart", 600.0)]
    for _ in range(5):
        machine.begin()
        assert machine.wait(3600) == []
    machine.boot = "second"
    machine.begin()
    assert machine.wait(36_000) == []
    machine.mend()
    assert not (tmp_path / FILE).exists()
    assert machine.wait(3600, status(gone("yard", frames=8), gone("bin", **NONE))) == [("restart", 36_080.0)]


def test_a_camera_that_gives_a_few_frames_after_each_start_makes_no_loop_of_them(tmp_path):
    machine, orders = Machine(tmp_path), []
    for _ in range(100):
        machine.mend(50)
        orders += machine.wait(3600, status(gone("yard", frames=5), gone("bin", **NONE)))
        machine.begin()
    assert orders == [("restart", 600.0)]


def test_frames_that_come_slowly_from_a_dirty_lens_end_an_outage_as_well(tmp_path):
    machine = Machine(tmp_path)
    assert machine.wait(610) == [("restart", 600.0)]
    machine.begin()
    for frames in (1, 1, 2, 2, 3, 3, 4, 4, 5):
        assert machine.wait(10, status(camera("yard", frames=frames, trouble="the lens is dirty"))) == []
    assert read_note(tmp_path / FILE) == RecoveryLog()


def test_one_camera_that_gives_frames_is_enough_to_stay(tmp_path):
    machine = Machine(tmp_path, reboot=True)
    assert machine.wait(90_000, status(gone("yard"), camera("bin"))) == []
    assert machine.wait(90_000, status(gone("yard"), camera("folder", frame_age_s=90_000.0, trouble=None))) == []
    assert machine.wait(90_000, status(camera("clip", live=False, frame_age_s=90_000.0))) == []
    assert not (tmp_path / FILE).exists()


def test_a_camera_that_a_reload_adds_has_its_own_time(tmp_path):
    machine = Machine(tmp_path)
    machine.wait(590)
    new = status(gone("yard", **NONE), gone("new", **NONE))
    assert machine.wait(1200, new) == [("restart", 1190.0)]


def test_a_camera_whose_last_frame_is_forgotten_was_not_away_for_ever(tmp_path):
    machine = Machine(tmp_path)
    for frames in range(1, 400):
        machine.wait(10, status(camera("yard", frames=frames)))
    failed = status(gone("yard", frames=399, frame_age_s=None))  # after a fault of ours
    assert machine.wait(3600, failed) == [("restart", pytest.approx(3980.0 + 600.0, abs=11))]


def test_without_a_service_manager_or_with_zero_nothing_ends(tmp_path):
    assert Machine(tmp_path, present=False).wait(3600) == []
    never = Escalation(tmp_path, 0.0, True, present=True)
    assert [never(DEAD, float(now)) for now in (0, 10_000)] == [None, None]


def test_the_reboot_follows_the_restart_and_comes_once_a_day(tmp_path):
    machine = Machine(tmp_path, reboot=True, began=50.0)
    assert machine.wait(610) == [("restart", 600.0)]
    machine.begin()
    assert machine.wait(610) == [("reboot", 600.0)]
    machine.boot, machine.now = "second", 40.0  # the clock of the machine begins again
    machine.begin()
    assert machine.wait(2 * DAY_S)[0] == ("reboot", pytest.approx(DAY_S - 40.0, abs=RETRY_S + 10))
    machine.boot, machine.now = "third", 40.0
    machine.begin()
    machine.mend()  # another outage, but not another day
    assert read_note(tmp_path / FILE).restart is None
    assert machine.wait(3600, status(gone("yard", frames=8), gone("bin", **NONE))) == [("restart", 600.0)]
    machine.begin()
    assert machine.wait(DAY_S / 2) == []


def test_a_reboot_that_never_came_is_not_asked_for_again_for_a_day(tmp_path):
    machine = Machine(tmp_path, reboot=True)
    machine.wait(610)
    machine.begin()
    assert machine.wait(610) == [("reboot", 600.0)]
    machine.begin()  # on the same machine: its unit does not reboot
    assert machine.wait(DAY_S - 1000) == []
    assert [order for order, _ in machine.wait(3600)] == ["reboot"]


@pytest.mark.parametrize("why", ["the power was switched off and on", "its disk forgets"])
def test_a_machine_that_was_just_started_is_not_rebooted(why, tmp_path):
    machine = Machine(tmp_path, reboot=True, forgetful=why == "its disk forgets")
    machine.wait(610)
    if not machine.forgetful:
        machine.boot, machine.now = "second", 0.0
    machine.begin()
    assert machine.wait(DAY_S - 3600) == []
    assert [order for order, _ in machine.wait(7200)] == ["reboot"]


@pytest.mark.parametrize(
    "bytes_",
    [b"", b"\0" * 300, b"[]", b'{"version": 9}', b'{"version": 1, "restart": 5, "reboot": null}', b"\xff\xfe", b"7",
     b'{"version": 1, "restart": null, "reboot": {"wall": "", "boot": 7, "uptime_s": 1, "by": ""}}',
     b'{"version": 1, "restart": null, "reboot": {"wall": "", "boot": "", "uptime_s": NaN, "by": ""}}'],
)  # fmt: skip
def test_a_note_that_is_damaged_is_taken_as_if_all_had_been_done(bytes_, tmp_path):
    (tmp_path / FILE).write_bytes(bytes_)
    machine = Machine(tmp_path, reboot=True)
    assert machine.wait(7200) == []
    machine.mend()
    assert [order for order, _ in machine.wait(3600, status(gone("yard", frames=8)))] == ["restart"]


def test_the_note_comes_back_as_it_was_and_shows_when_for_people(tmp_path):
    note = RecoveryLog(RecoveryAction("2026-01-01T00:00:00+00:00", "a", 1.5, "b"), None)
    write_note(tmp_path / FILE, note)
    assert read_note(tmp_path / FILE) == note
    assert json.loads((tmp_path / FILE).read_text())["restart"]["wall"] == "2026-01-01T00:00:00+00:00"
    write_note(tmp_path / FILE, RecoveryLog())
    assert not list(tmp_path.iterdir())


def orders_on(disk):
    """In a mount namespace: orders on a full, a read-only and a mended disk."""
    machine, found = Machine(Path(disk)), []
    fill(disk)
    found.append(machine.wait(3600))
    (Path(disk) / "filler").unlink(missing_ok=True)
    remount(disk, "ro")
    found.append(machine.wait(3600))
    remount(disk, "rw")
    for each in Path(disk).iterdir():
        each.unlink()
    found.append([order for order, _ in machine.wait(3600)])
    machine.begin()
    return [*found, machine.wait(3600)]


def test_a_disk_that_takes_no_note_is_reported_once(tmp_path, monkeypatch, caplog):
    def refuses(*_):
        raise OSError(30, "Read-only file system")

    machine = Machine(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("edge.device.watchdog.write_note", refuses)
        assert machine.wait(36_000) == []
    assert caplog.text.count("without this note the alarm is not started again") == 1
    assert [order for order, _ in machine.wait(600)] == ["restart"]


@pytest.mark.needs_tool("unshare")
def test_a_disk_that_takes_no_note_allows_no_restart_until_it_does(tmp_path):
    assert there(orders_on, tmp_path / "disk", 256) == [[], [], ["restart"], []]


def test_a_disk_that_hangs_holds_up_the_main_loop_once_and_for_two_seconds(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("edge.device.watchdog.DISK_S", DISK_S)
    os.mkfifo(tmp_path / FILE)  # opening it waits for a writer that never comes
    machine = Machine(tmp_path)
    machine.wait(600)
    before = time.monotonic()
    assert machine.wait(6000) == []
    assert time.monotonic() - before < 10
    assert caplog.text.count("does not answer") == 1
    with (tmp_path / FILE).open("wb"):  # lets go of the one that waits
        pass


def test_which_disks_forget(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_text(
        "/dev/sda2 / ext4 rw 0 0\n"
        "tmpfs /run tmpfs rw 0 0\n"
        "/dev/sda1 /var/lib/bear\\040alarm ext4 rw 0 0\n"
        "overlay /var overlay rw,noatime 0 0\n"
    )
    places = ["/etc", "/run/x", "/var/lib/bear alarm/x", "/var/lib/other"]
    assert [forgets(Path(each)) for each in places] == [False, True, False, True]
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "nothing"))
    assert forgets(tmp_path)


@pytest.mark.skipif(machine_boot() is None, reason="this system has no id for each start")
def test_the_real_machine_has_a_name_for_this_start_and_an_uptime():
    assert machine_boot() == machine_boot()
    up = float(subprocess.run(["cat", "/proc/uptime"], capture_output=True, text=True, check=True).stdout.split()[0])
    assert uptime_s() == pytest.approx(up, abs=30)
