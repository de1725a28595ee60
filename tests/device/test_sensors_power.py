"""Power and clock as each kind of machine reports them; where none does, they are not known, and never nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.device import sensors
from edge.device.sensors import Power, PowerMeter
from tests.helpers.boards import PMIC_ADC, lay, pc, pi, pi4

RAPL = "sys/class/powercap/intel-rapl:0"
BATTERY = "sys/class/power_supply/BAT0"


@pytest.fixture(autouse=True)
def firmware(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The firmware's answer, last in the list; None: there is no such program."""
    answers: list[str | None] = [None]
    monkeypatch.setattr(sensors, "_answer", lambda command: answers[-1])
    return answers


def test_a_pi_4_has_no_sensor(tmp_path: Path, firmware: list[str | None]) -> None:
    meter = PowerMeter(pi4(tmp_path))
    firmware.append('error=1 error_msg="Command not registered"')
    assert (meter(), meter()) == (None, None)


def test_a_pi_5_adds_up_the_rails_of_its_power_chip(tmp_path: Path, firmware: list[str | None]) -> None:
    firmware.append(PMIC_ADC)
    # By hand, volts times amperes: 0.361 + 0.197 + 0.281 + 0.026 + 0.198 + 0.276 + 0.614.
    assert PowerMeter(pi(tmp_path))() == Power(1.95, "the board without USB")


@pytest.mark.parametrize(
    "words", ["", "VDD_CORE_A current(7)=0.85A", "VDD_CORE_A current(7)=..A\nVDD_CORE_V volt(15)=1V"]
)
def test_half_an_answer_of_the_firmware_is_not_known(tmp_path: Path, firmware: list[str | None], words: str) -> None:
    firmware.append(words)
    assert PowerMeter(pi(tmp_path))() is None


@pytest.mark.parametrize("name", ["ina219", "ina226"])
def test_a_hat_at_the_supply_comes_first(tmp_path: Path, firmware: list[str | None], name: str) -> None:
    firmware.append(PMIC_ADC)
    root = lay(pi(tmp_path), {"sys/class/hwmon/hwmon4/name": f"{name}\n"})
    lay(root, {"sys/class/hwmon/hwmon4/power1_input": "4380000\n", "sys/class/hwmon/hwmon4/in1_input": "5140\n"})
    assert PowerMeter(root)() == Power(4.38, "the supply")


def test_a_hat_through_which_nothing_flows_measures_something_else(tmp_path: Path) -> None:
    root = lay(pi4(tmp_path), {"sys/class/hwmon/hwmon4/name": "ina219\n"})
    lay(root, {"sys/class/hwmon/hwmon4/power1_input": "0\n"})
    assert PowerMeter(root)() is None


def test_a_graphics_card_is_not_the_machine(tmp_path: Path) -> None:
    root = lay(pc(tmp_path), {"sys/class/hwmon/hwmon5/name": "amdgpu\n"})
    lay(root, {"sys/class/hwmon/hwmon5/power1_average": "18000000\n"})
    assert PowerMeter(root)() is None


@pytest.mark.parametrize(
    "files",
    [{"power_now": "7250000\n"}, {"voltage_now": "14500000\n", "current_now": "-500000\n"}],
    ids=["power", "volts and amperes"],
)
def test_a_laptop_measures_its_battery_while_it_discharges(tmp_path: Path, files: dict[str, str]) -> None:
    battery = {"type": "Battery\n", "status": "Discharging\n"} | files
    root = lay(pc(tmp_path), {f"{BATTERY}/{name}": words for name, words in battery.items()})
    mouse = battery | {"scope": "Device\n"}
    lay(root, {f"sys/class/power_supply/hidpp_battery_0/{name}": words for name, words in mouse.items()})
    meter = PowerMeter(root)
    assert meter() == Power(7.25, "the battery")
    (root / BATTERY / "status").write_text("Charging\n")
    assert meter() is None


def test_a_processor_counts_its_energy_from_one_call_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(sensors, "time", SimpleNamespace(monotonic=lambda: now[0]))
    root = lay(pc(tmp_path), {f"{RAPL}/name": "package-0\n", f"{RAPL}/energy_uj": "262000000000\n"})
    lay(root, {f"{RAPL}:0/name": "core\n", f"{RAPL}:0/energy_uj": "1000000000\n"})  # a part of the package
    meter = PowerMeter(root)
    assert meter() is None  # of one look nothing is known
    now[0] = 104.0
    (root / RAPL / "energy_uj").write_text("262050000000\n")
    assert meter() == Power(12.5, "the processor")
    (root / RAPL / "energy_uj").write_text("1000\n")  # the counter began again
    now[0] = 105.0
    assert meter() is None
