"""Sensors read from the kernel's small files, on each kind of machine, and from garbled ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.device import sensors
from edge.device.sensors import Board, Reading, about
from tests.helpers.boards import CPU_C, MEMINFO, boot, lay, pc, pi, zero

ROOT = Path(__file__).parents[2]
STATE = Path("/var/lib/bear-alarm")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one that is asked."""
    return boot(tmp_path, monkeypatch)


def test_a_raspberry_pi_5_reports_how_it_is(tmp_path: Path) -> None:
    root = pi(tmp_path)
    assert sensors.temperature_c() == 54.35
    assert sensors.undervolted(root) is False
    assert sensors.throttled(root) is None  # its fan turns, which slows nothing down
    found = about(root)
    assert (found.board, found.system) == ("Raspberry Pi 5 Model B Rev 1.0", "Debian GNU/Linux 12 (bookworm)")
    assert found.dot_products
    assert found.memory_mb == pytest.approx(8_442.88)


def test_a_pi_zero_2_has_no_dot_products_and_little_memory(tmp_path: Path) -> None:
    found = about(zero(tmp_path))
    assert found.dot_products is False
    assert found.memory_mb == pytest.approx(436.224)


def test_a_pc_has_a_processor_among_its_thermometers_that_reports_when_it_is_too_hot(tmp_path: Path) -> None:
    root = pc(tmp_path)
    assert sensors.temperature_c() == 99.0  # not the disk's, nor the radio's
    assert sensors.critical_c() == 100.0
    assert sensors.undervolted(root) is None
    found = about(root)
    assert (found.board, found.dot_products) == ("LENOVO 20XW00", True)


def test_what_a_raspberry_pi_calls_critical_switches_it_off(tmp_path: Path) -> None:
    pi(tmp_path)  # at 110 °C; it is slow from 80 on
    assert sensors.critical_c() is None


def test_of_many_sensors_the_processors_are_asked(tmp_path: Path) -> None:
    k10 = {"name": "k10temp\n", "temp1_input": "71250\n", "temp3_input": "-274000\n"}
    lay(tmp_path, {f"sys/class/hwmon/hwmon2/{name}": words for name, words in k10.items()})
    lay(tmp_path, {"sys/class/hwmon/hwmon1/name": "nvme\n", "sys/class/hwmon/hwmon1/temp1_input": "82000\n"})
    assert sensors.temperature_c() == 71.25


def test_a_machine_that_reports_nothing_is_unknown(tmp_path: Path) -> None:
    lay(tmp_path, {"proc/meminfo": MEMINFO.format(total=2000, left=1000), "proc/self/mounts": ""})
    reading = Board(tmp_path, tmp_path).read(10.0)
    assert reading.disk_free_mb is not None  # the system itself is asked for that
    known = Reading(at=10.0, memory_mb=2.048, memory_free_mb=1.024, disk_free_mb=reading.disk_free_mb)
    assert reading == known
    found = about(tmp_path)
    assert (found.board, found.system) == (None, None)
    assert found.dot_products is None
    assert found.cores >= 1


def test_the_firmware_file_that_makes_the_kernel_complain_is_left_alone(tmp_path: Path) -> None:
    root = pi(tmp_path, low="1\n")
    file = root / "sys/devices/platform/soc/soc:firmware/get_throttled"
    file.unlink()
    os.mkfifo(file)  # a reader of it waits for ever
    asked: list[tuple[bool | None, bool | None]] = []
    thread = threading.Thread(
        target=lambda: asked.append((sensors.undervolted(root), sensors.throttled(root))), daemon=True
    )
    thread.start()
    thread.join(20.0)
    assert asked == [(True, None)]


@pytest.mark.parametrize(("kind", "state", "slow"), [("cpufreq-cpu0", "3", True), ("cpufreq-cpu1", "0", False)])
def test_a_kernel_that_cools_by_slowing_down_reports_it(tmp_path: Path, kind: str, state: str, slow: bool) -> None:
    lay(
        tmp_path, {"sys/class/thermal/cooling_device7/type": kind, "sys/class/thermal/cooling_device7/cur_state": state}
    )
    assert sensors.throttled(tmp_path) is slow


def test_vcgencmd_reports_the_whole_time_since_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(words: str | None) -> sensors.Throttling | None:
        monkeypatch.setattr(sensors, "_answer", lambda command: words)
        return sensors.asked_throttling()

    assert asked("throttled=0xd0008\n") == sensors.Throttling(False, False, True, True)
    for garbled in (None, "", "throttled=", "VCHI initialization failed", "-1", "fffffffff"):
        assert asked(garbled) is None


NAMES = sorted(str(path.relative_to("/")) for path in map(Path, (
    "/proc/device-tree/model", "/proc/cpuinfo", "/proc/self/mounts", "/etc/os-release", "/sys/class/hwmon/hwmon0/name",
    "/sys/class/hwmon/hwmon0/temp1_crit", "/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "/sys/class/hwmon/hwmon1/name",
    "/sys/fs/ext4/mmcblk0p2/errors_count", "/sys/class/hwmon/hwmon0/temp1_input",
)))  # fmt: skip
GARBLED = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [b"", b"\0", b"nan", b"-274000", b"99999999999999999999999999", b"1e400", b"0x", b"26 1 - -", b"-1"]
    ),
)


@given(st.dictionaries(st.sampled_from(NAMES), GARBLED, min_size=1))
def test_garbled_files_are_unknown_and_never_raise(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    root = lay(pi(tmp_path_factory.mktemp("board")), files)
    with pytest.MonkeyPatch.context() as patch:
        boot(root, patch)
        found = Board(root, STATE)._look(0.0)  # of which Board.read lets its caller see no error
        about(root)
    assert found.temperature_c is None or -40.0 <= found.temperature_c <= 130.0


def test_files_that_may_not_be_read_or_are_no_files_are_unknown(tmp_path: Path) -> None:
    root = pi(tmp_path)
    (root / CPU_C).unlink()
    (root / CPU_C).symlink_to("temp1_input")  # a ring
    (root / "sys/class/hwmon/hwmon1/in0_lcrit_alarm").unlink()
    (root / "sys/class/hwmon/hwmon1/in0_lcrit_alarm").mkdir()
    reading = Board(root, STATE).read(0.0)
    assert (reading.temperature_c, reading.undervolted, reading.read_only) == (None, None, False)
    assert sensors.number(tmp_path / "a\0b") is None


def test_what_the_doctor_needs_of_a_board_needs_no_package() -> None:
    words = "import sys, edge.device.sensors as it; it.about(); print({'numpy', 'cv2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_a_board_is_read_every_5_s_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "READ_WITHIN_S", 20.0)
    root = pi(tmp_path, milli_c="50000\n")
    board = Board(root, STATE)
    assert board.read(100.0).temperature_c == 50.0
    lay(root, {CPU_C: "81000\n"})
    assert board.read(104.9).temperature_c == 50.0
    assert board.read(105.0).temperature_c == 81.0


def test_a_disk_that_hangs_holds_nobody_up_and_what_was_known_grows_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pi(tmp_path)
    monkeypatch.setattr(sensors, "READ_WITHIN_S", 5.0)
    board = Board(root, STATE)
    known = board.read(0.0)
    assert known.temperature_c == 54.35
    monkeypatch.setattr(sensors, "READ_WITHIN_S", 0.05)
    temp = root / CPU_C
    temp.unlink()
    os.mkfifo(temp)
    began = time.monotonic()
    assert board.read(5.0) == known
    assert board.read(60.0) == known
    assert board.read(66.0) == Reading(at=66.0)
    assert time.monotonic() - began < 5.0  # and not for ever
    with temp.open("w") as file:
        temp.unlink()  # first: the call that hung reads this file twice
        lay(root, {CPU_C: "71000\n"})
        file.write("70000\n")  # the call that hung returns
    monkeypatch.setattr(sensors, "READ_WITHIN_S", 20.0)
    assert board.read(72.0).temperature_c == 71.0
