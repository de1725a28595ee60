"""Power and clock as each kind of machine reports them; where none does, they are not known, and never nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.device import sensors
from edge.device.sensors import Power, power
from tests.helpers.boards import PMIC_ADC, lay, pc, pi, pi4


@pytest.fixture(autouse=True)
def firmware(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The firmware's answer, last in the list; None: there is no such program."""
    answers: list[str | None] = [None]
    monkeypatch.setattr(sensors, "_answer", lambda command: answers[-1])
    return answers


def test_a_pi_4_has_no_sensor(tmp_path: Path, firmware: list[str | None]) -> None:
    firmware.append('error=1 error_msg="Command not registered"')
    assert power(pi4(tmp_path)) is None


def test_a_pi_5_adds_up_the_rails_of_its_power_chip(tmp_path: Path, firmware: list[str | None]) -> None:
    firmware.append(PMIC_ADC)
    # By hand, volts times amperes: 0.361 + 0.197 + 0.281 + 0.026 + 0.198 + 0.276 + 0.614.
    assert power(pi(tmp_path)) == Power(1.95, "the board without USB")


@pytest.mark.parametrize(
    "words", ["", "VDD_CORE_A current(7)=0.85A", "VDD_CORE_A current(7)=..A\nVDD_CORE_V volt(15)=1V"]
)
def test_half_an_answer_of_the_firmware_is_not_known(tmp_path: Path, firmware: list[str | None], words: str) -> None:
    firmware.append(words)
    assert power(pi(tmp_path)) is None


@pytest.mark.parametrize("name", ["ina219", "ina226"])
def test_a_hat_at_the_supply_comes_first(tmp_path: Path, firmware: list[str | None], name: str) -> None:
    firmware.append(PMIC_ADC)
    root = lay(pi(tmp_path), {"sys/class/hwmon/hwmon4/name": f"{name}\n"})
    lay(root, {"sys/class/hwmon/hwmon4/power1_input": "4380000\n", "sys/class/hwmon/hwmon4/in1_input": "5140\n"})
    assert power(root) == Power(4.38, "the supply")


def test_a_hat_through_which_nothing_flows_measures_something_else(tmp_path: Path) -> None:
    root = lay(pi4(tmp_path), {"sys/class/hwmon/hwmon4/name": "ina219\n"})
    lay(root, {"sys/class/hwmon/hwmon4/power1_input": "0\n"})
    assert power(root) is None


def test_a_graphics_card_is_not_the_machine(tmp_path: Path) -> None:
    root = lay(pc(tmp_path), {"sys/class/hwmon/hwmon5/name": "amdgpu\n"})
    lay(root, {"sys/class/hwmon/hwmon5/power1_average": "18000000\n"})
    assert power(root) is None
