"""What is wrong with the machine becomes a health event: once, while it lasts, and when it is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge.device.health import MachineHealth, ThermalThrottle
from edge.device.sensors import Board, Reading
from edge.record.run import EventFactory
from edge.settings import HealthSettings
from edge.status import Health
from tests.helpers.boards import CPU_C, boot, lay, pi

FINE = Reading(
    temperature_c=50.0, undervolted=False, memory_mb=4000.0, memory_free_mb=2000.0, disk_free_mb=9000.0,
    read_only=False, fs_errors=0, worn=False,
)  # fmt: skip


class Machine:
    """A machine that is read as the test has it."""

    def __init__(self) -> None:
        self.reading = FINE
        self.crop_ms: float | None = 40.0
        self.effort = ThermalThrottle()
        self.parts = MachineHealth(
            lambda: self.reading, HealthSettings(), Path("/state"), lambda: self.effort.share, lambda: self.crop_ms
        ).parts()

    def at(self, now: float = 0.0, **reading: object) -> dict[str, str]:
        """Return what is wrong with it now, by part."""
        self.reading = replace(FINE, at=now, **reading)  # type: ignore[arg-type]
        self.effort(self.reading, now)
        return {name: words for name, ask in self.parts.items() if (words := ask())}


def test_all_is_well_on_a_good_machine_and_on_one_that_reports_nothing() -> None:
    machine = Machine()
    assert machine.at() == {}
    assert set(machine.parts) == {"hot", "undervolted", "slow", "memory", "disk", "storage"}
    machine.crop_ms = None
    unknown = dict.fromkeys(Reading.__dataclass_fields__.keys() - {"at"})
    assert machine.at(5.0, **unknown) == {}


def test_heat_is_reported_with_what_follows_until_it_is_5_degrees_cooler() -> None:
    machine = Machine()
    assert machine.at(0.0, temperature_c=83.0) == {
        "hot": "the processor has 83 °C, so half of the frames are looked at; give it shade or a heat sink"
    }
    assert list(machine.at(5.0, temperature_c=76.0)) == ["hot"]
    assert machine.at(10.0, temperature_c=74.9)["hot"].startswith("the processor was too hot a moment ago, so half of")
    assert machine.at(75.0, temperature_c=74.9) == {}
    assert machine.at(80.0, temperature_c=79.0) == {}


def test_a_laptop_that_works_at_90_degrees_is_not_hot_and_one_at_its_own_limit_is() -> None:
    machine = Machine()
    assert machine.at(0.0, temperature_c=94.0, critical_c=100.0) == {}
    assert machine.effort.share == 1.0
    assert list(machine.at(5.0, temperature_c=95.0, critical_c=100.0)) == ["hot"]
    assert machine.effort.share == 0.5
    machine.at(10.0, temperature_c=100.0, critical_c=100.0)
    assert machine.effort.share == 0.25


@pytest.mark.parametrize("slowness_s", [60.0, 180.0, 600.0])
def test_a_board_that_is_hot_at_the_whole_rate_and_cool_at_half_of_it_does_not_go_up_and_down_all_day(
    slowness_s: float,
) -> None:
    machine, degrees, shares, reported = Machine(), 60.0, [1.0], 0
    health = Health(EventFactory(), machine.parts)
    for now in range(0, 86_400, 5):
        aim = 83.0 if machine.effort.share == 1.0 else 73.0
        degrees += (aim - degrees) * 5.0 / slowness_s
        machine.at(float(now), temperature_c=degrees)
        shares += [machine.effort.share] * (machine.effort.share != shares[-1])
        reported += sum(event.type == "new" for event in health(float(now)))
    assert len(shares) < 80  # in a day; it was 120 to 840
    assert reported <= len(shares) // 2 + 1


def test_a_processor_that_slows_itself_down_is_reported_unless_its_voltage_is_why() -> None:
    assert list(Machine().at(0.0, throttled=True)) == ["hot"]
    machine = Machine()
    for now in (0.0, 5.0):
        reported = machine.at(now, throttled=True, undervolted=True)
    assert list(reported) == ["undervolted"]


def test_a_voltage_that_dips_again_and_again_is_one_problem_and_one_dip_is_none() -> None:
    machine = Machine()
    assert machine.at(0.0, undervolted=True) == {}
    assert machine.at(5.0) == {}
    assert list(machine.at(55.0, undervolted=True)) == ["undervolted"]
    assert machine.at(100.0)["undervolted"].startswith("the supply voltage falls too low again and again")
    assert machine.at(176.0) == {}
    machine = Machine()
    assert machine.at(0.0, undervolted=True) == machine.at(0.0, undervolted=True) == {}  # one reading, asked twice
    assert machine.at(700.0, undervolted=True) == {}  # the other was long ago


def test_a_dipping_voltage_outlasts_the_grace_time_of_health() -> None:
    machine = Machine()
    health = Health(EventFactory(), machine.parts)
    reported = []
    for now in range(0, 900, 5):
        machine.at(float(now), undervolted=now < 300 and now % 50 == 0)
        reported += [(now, event.type, event.label) for event in health(float(now))]
    assert reported == [(110, "new", "undervolted"), (400, "end", "undervolted")]


@pytest.mark.parametrize(
    ("bad", "sways", "well", "part"),
    [
        ({"memory_free_mb": 199.0}, {"memory_free_mb": 215.0}, {"memory_free_mb": 225.0}, "memory"),
        ({"disk_free_mb": 499.0}, {"disk_free_mb": 540.0}, {"disk_free_mb": 560.0}, "disk"),
        ({"read_only": True}, {"read_only": True}, {"read_only": False}, "disk"),
        ({"fs_errors": 2}, {"fs_errors": 2}, {"fs_errors": 0}, "storage"),
        ({"worn": True}, {"worn": True}, {"worn": False}, "storage"),
    ],
)
def test_a_part_that_sways_about_its_limit_is_one_problem(
    bad: dict[str, object], sways: dict[str, object], well: dict[str, object], part: str
) -> None:
    machine = Machine()
    assert machine.at(0.0, **sways) == {} or bad == sways
    machine = Machine()
    assert machine.at(0.0) == {}
    assert list(machine.at(5.0, **bad)) == [part]
    assert list(machine.at(10.0, **sways)) == [part]
    assert machine.at(15.0, **well) == {}


def test_a_small_board_needs_less_memory_left() -> None:
    assert Machine().at(0.0, memory_mb=436.0, memory_free_mb=60.0) == {}
    assert list(Machine().at(0.0, memory_mb=436.0, memory_free_mb=30.0)) == ["memory"]


def test_errors_that_were_there_before_are_no_news() -> None:
    machine = Machine()
    assert machine.at(0.0, fs_errors=7) == {}
    assert machine.at(5.0, fs_errors=None) == {}
    assert machine.at(10.0, fs_errors=8)["storage"].startswith("/state: the file system has found 1 new")


def test_slow_scoring_is_reported_while_it_lasts() -> None:
    machine = Machine()
    machine.crop_ms = 812.0
    assert machine.at()["slow"].startswith("looking at one crop takes 812 ms, more than 500")
    machine.crop_ms = 480.0
    assert list(machine.at()) == ["slow"]
    machine.crop_ms = 450.0
    assert machine.at() == {}


def test_from_the_files_of_a_board_to_an_event_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = boot(pi(tmp_path, milli_c="81000\n"), monkeypatch)
    board, now = Board(root, tmp_path), 0.0
    settings = HealthSettings(low_disk_mb=0.0)
    found = MachineHealth(lambda: board.read(now), settings, tmp_path, lambda: 1.0, lambda: None).parts()
    health, reported = Health(EventFactory(), found), []
    for second in range(0, 300, 5):
        now = float(second)
        if second == 150:
            lay(root, {CPU_C: "60000\n"})
        reported += [(second, event.type, event.label, event.detail) for event in health(now)]
    assert reported == [
        (60, "new", "hot", "the processor has 81 °C; give it shade or a heat sink"),
        (175, "end", "hot", "hot: all is well again after 2 min"),
    ]
