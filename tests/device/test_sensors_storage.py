"""The disk below the state folder and what it reports of its health; networks; what only programs report."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from edge.device import sensors
from edge.device.sensors import Board
from tests.helpers.boards import PI_MOUNTS, boot, lay, link, pc, pi

STATE = Path("/var/lib/bear-alarm")
CARD = "sys/devices/platform/axi/mmc_host/mmc0/mmc0:aaaa"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one that is asked."""
    return boot(tmp_path, monkeypatch)


def mount(path: Path = STATE) -> sensors.Mount:
    found = sensors.mount_of(path)
    assert found
    return found


def test_the_longest_mount_point_holds_a_path(tmp_path: Path) -> None:
    pi(tmp_path)
    assert mount() == sensors.Mount(Path("/"), "ext4", "/dev/mmcblk0p2", read_only=False)
    stick = mount(Path("/mnt/my stick/evidence"))
    assert (stick.source, stick.read_only, stick.fleeting) == ("/dev/sda1", True, False)
    assert mount(Path("/mnt/my stick2")).source == "/dev/mmcblk0p2"
    assert mount(Path("/tmp/bear-alarm")).fleeting


def test_a_file_system_that_an_error_made_read_only_is_so(tmp_path: Path) -> None:
    root = lay(pi(tmp_path), {"proc/self/mounts": PI_MOUNTS.replace("ext4 rw", "ext4 ro")})
    assert mount().read_only
    assert Board(root, STATE).read(0.0).read_only is True
    assert mount(Path("/boot/firmware")).read_only is False  # errors=remount-ro is only what it would do


def test_of_two_at_one_place_the_later_one_counts(tmp_path: Path) -> None:
    more = "overlay / overlay rw,lowerdir=/lower 0 0\n"
    root = lay(pi(tmp_path), {"proc/self/mounts": PI_MOUNTS + more})
    assert mount().fleeting
    assert sensors.disk_of(root, mount()) is None


def test_the_card_below_a_file_system_and_its_errors(tmp_path: Path) -> None:
    root = pi(tmp_path)
    assert sensors.disk_of(root, mount()) == sensors.Disk("mmcblk0", "mmcblk0p2", fs_errors=0, worn=False)
    lay(root, {"sys/fs/ext4/mmcblk0p2/errors_count": "3\n"})
    assert sensors.disk_of(root, mount()) == sensors.Disk("mmcblk0", "mmcblk0p2", fs_errors=3, worn=False)


@pytest.mark.parametrize(
    ("life", "reserve", "worn"),
    [
        ("0x02 0x01\n", "0x01\n", False),
        ("0x0b 0x01\n", "0x01\n", True),
        ("0x05 0x05\n", "0x02\n", True),
        ("0x00 0x00\n", "0x00\n", False),
        ("worn 0x77\n", "?\n", False),
    ],
)
def test_an_emmc_reports_how_worn_it_is(tmp_path: Path, life: str, reserve: str, worn: bool) -> None:
    root = lay(pi(tmp_path), {f"{CARD}/type": "MMC\n", f"{CARD}/life_time": life, f"{CARD}/pre_eol_info": reserve})
    found = sensors.disk_of(root, mount())
    assert found
    assert found.worn == worn


def test_a_disk_with_parts_is_found_by_its_part(tmp_path: Path) -> None:
    root = pc(tmp_path)
    assert sensors.disk_of(root, mount()) == sensors.Disk("sda", "sda2", fs_errors=None, worn=False)


def test_room_is_that_of_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert sensors.free_mb(tmp_path / "not/there/yet") == pytest.approx(sensors.free_mb(tmp_path), abs=200.0)


NET = "sys/class/net"


def test_radios_are_distinguished_from_other_networks(tmp_path: Path) -> None:
    assert sensors.radios(tmp_path) == {}
    lay(
        tmp_path,
        {
            f"{NET}/eth0/operstate": "up\n",
            f"{NET}/wlan0/operstate": "up\n",
            f"{NET}/wlan0/phy80211/name": "phy0\n",
            f"{NET}/wlan1/operstate": "down\n",
            f"{NET}/wlan1/wireless/x": "",
        },
    )
    assert sensors.radios(tmp_path) == {"wlan0": True, "wlan1": False}


def test_whether_something_leads_out_is_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "FAR_AWAY", ((socket.AF_INET, "127.0.0.1"),))
    assert sensors.leads_out()
    monkeypatch.setattr(sensors, "FAR_AWAY", ((socket.AF_INET, "255.255.255.255"),))  # refused, as without a way
    assert not sensors.leads_out()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that programs are found in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("script", "sleeps"),
    [
        ('[ "$*" = "dev wlan0 get power_save" ] && echo "Power save: on"', True),
        ('echo "Power save: off"', False),
        ('echo "command failed: No such device (-19)" >&2; exit 237', None),
        ("printf '\\377\\376'", None),
    ],
)
def test_iw_reports_whether_the_radio_sleeps(
    path: Path, script: str, sleeps: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensors, "PROGRAM_WITHIN_S", 20.0)
    program(path, "iw", script)
    assert sensors.power_save("wlan0") is sleeps


def test_vcgencmd_reports_what_was_since_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "PROGRAM_WITHIN_S", 20.0)
    program(path, "vcgencmd", "echo throttled=0x50000")
    found = sensors.asked_throttling()
    assert found
    assert (found.undervolted, found.undervolted_before, found.slowed_before) == (False, True, True)


def test_a_program_that_hangs_or_is_missing_reports_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "vcgencmd", "exec sleep 60")
    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(sensors, "PROGRAM_WITHIN_S", 0.2)
        assert sensors.asked_throttling() is None
    assert time.monotonic() - began < 30.0
    monkeypatch.setattr(sensors, "PLACES", ())
    monkeypatch.setenv("PATH", str(path / "none"))
    assert sensors.power_save("wlan0") is None


def test_a_disk_without_parts_is_its_own(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {"proc/self/mounts": "/dev/vda / ext4 rw 0 0\n", "sys/devices/v/block/vda/stat": "1 1"},
    )
    link(tmp_path, "sys/class/block/vda", "../../devices/v/block/vda")
    assert sensors.disk_of(tmp_path, mount()) == sensors.Disk("vda", "vda", fs_errors=None, worn=False)
