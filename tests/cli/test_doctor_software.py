"""Wrong wheels and doubled packages: stand-ins on PYTHONPATH that do what the real ones do on a wrong machine."""

from __future__ import annotations

import sys

import pytest

from edge.cli.doctor import software
from edge.cli.doctor.findings import Target
from edge.installing import extra
from edge.settings import AlertSettings, Settings
from tests.helpers.doctor_world import by_name

KILLED = "import os, signal\nos.kill(os.getpid(), signal.{})\n"
NO_GL = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages before all others, for the children and for this process."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def dist(site, name, version):
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_wheel_for_another_processor_dies_in_the_child_and_is_named(site):
    (site / "onnxruntime.py").write_text(KILLED.format("SIGILL"))
    dist(site, "onnxruntime", "1.21.0")
    found = by_name(software.check_packages(Target(Settings())))["onnxruntime"]
    assert found.state == "broken"
    assert "onnxruntime 1.21.0: " in found.words
    assert "illegal instruction: it is made for another processor (SIGILL)" in found.words
    assert "pip install onnxruntime==1.20.1" in found.todo


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_memory_fault_in_a_library_is_a_finding(site):
    (site / "cv2.py").write_text(KILLED.format("SIGSEGV"))
    found = by_name(software.check_packages(Target(Settings())))["opencv"]
    assert found.state == "broken"
    assert "memory fault (SIGSEGV)" in found.words
    assert "--force-reinstall" in found.todo


def test_opencv_without_libgl_names_which_wheel_needs_none(site):
    (site / "cv2.py").write_text(NO_GL)
    found = by_name(software.check_packages(Target(Settings())))["opencv"]
    assert found.state == "broken"
    assert "libGL.so.1" in found.words
    assert "opencv-python-headless, which needs no libGL" in found.todo


def test_both_opencv_wheels_are_noticed(site):
    dist(site, "opencv-python", "4.10.0.84")
    dist(site, "opencv_python_headless", "4.9.0.80")
    found = by_name(software.check_packages(Target(Settings())))
    assert found["opencv"].state == "fine"
    twice = found["opencv twice"]
    assert twice.state == "doubt"
    assert "opencv-python 4.10.0.84 and opencv-python-headless" in twice.words
    assert "pip uninstall -y opencv-python opencv-python-headless" in twice.todo


def test_a_numpy_py_in_the_working_folder_is_not_taken_for_numpy(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('this is not numpy')\n")
    monkeypatch.chdir(tmp_path)
    assert by_name(software.check_first())["numpy"].state == "fine"


def test_what_is_configured_needs_its_package(site):
    for name in ("apprise", "gpiozero", "av"):
        (site / f"{name}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n")
    alerts = AlertSettings(relays=("17",), notify=("ntfy://topic",))
    found = by_name(software.check_packages(Target(Settings(alerts=alerts))))
    assert found["gpiozero"].state == found["apprise"].state == "broken"
    assert extra("pi") in found["gpiozero"].todo
    assert found["av"].state == "doubt"
    assert "no clips without it" in found["av"].words
    plain = by_name(software.check_packages(Target(Settings())))
    assert not {"gpiozero", "apprise", "paho-mqtt"} & set(plain)


def test_a_32_bit_python_is_known_by_its_pointers_not_by_the_kernel(monkeypatch):
    monkeypatch.setattr("struct.calcsize", lambda kind: 4)
    found = by_name(software.check_python())["64 bits"]
    assert found.state == "broken"
    assert "32 bits" in found.words
    assert "64-bit" in found.todo
    monkeypatch.undo()
    assert by_name(software.check_python())["64 bits"].state == "fine"
