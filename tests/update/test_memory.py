"""Memory for a new model: what is free, what it needs, and what follows from both."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge.detect.classifier import BUNDLED
from edge.device import sensors
from edge.errors import ModelError
from edge.update.memory import BESIDE_MB, LEAST_MB, PROGRAM_MB, check_fits, need_mb, room, way

NEVER = threading.Event()
MB = 1_000_000


@pytest.mark.parametrize(
    ("total", "free", "need", "how"),
    [
        (8000, 6000, 33, "beside"),
        (1000, BESIDE_MB, 33, "beside"),
        (1000, BESIDE_MB - 1, 33, "kept"),
        (4000, 300, 101, "kept"),  # 199 would be left, and health warns below 200
        (500, 300, 237, "none"),
        (500, PROGRAM_MB + 33 + LEAST_MB, 33, "kept"),
        (500, PROGRAM_MB + 32 + LEAST_MB, 33, "none"),
        (500, 0, 33, "none"),
    ],
)
def test_what_is_free_and_needed_decides_how_two_models_are_compared(total, free, need, how):
    found, words = way(sensors.Memory(total, free), need)
    assert found == how
    shown = "6 GB" if free == 6000 else f"{free:.0f} MB"
    assert words.startswith(f"it needs {need} MB of memory and {shown} are free, so ")


def test_a_model_that_leaves_too_little_is_refused_in_one_sentence():
    check_fits(sensors.Memory(500, LEAST_MB + 33), 33)
    with pytest.raises(ModelError, match="needs 33 MB of memory and 90 MB are free, of which 64 MB stay free; end"):
        check_fits(sensors.Memory(500, 90), 33)


# Limits of control groups.


def group(root: Path, path: str = "/system.slice/bear-alarm.service", /, **files: str) -> Path:
    """A machine whose alarm runs in this control group; ``files`` of it: memory_max for memory.max."""
    (root / "proc/self").mkdir(parents=True, exist_ok=True)
    (root / "proc/self/cgroup").write_text(f"4:memory:/elsewhere\n0::{path}\n")
    folder = root / "sys/fs/cgroup" / path.strip("/")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(f"{text}\n")
    return folder


def test_a_services_limit_counts_where_it_leaves_less_than_the_machine(tmp_path):
    stat = f"anon {100 * MB}\nfile {60 * MB}\ninactive_file {50 * MB}"
    folder = group(tmp_path, memory_max=str(300 * MB), memory_current=str(250 * MB), memory_stat=stat)
    assert room(tmp_path) == sensors.Memory(300.0, 100.0)  # caches that nobody uses are free
    (folder / "memory.high").write_text(f"{220 * MB}\n")
    assert room(tmp_path) == sensors.Memory(220.0, 20.0)
    (folder / "memory.current").write_text(f"{400 * MB}\n")
    assert room(tmp_path) == sensors.Memory(220.0, 0.0)


def test_the_limit_of_a_group_above_or_of_a_container_counts_too(tmp_path):
    group(tmp_path, memory_max="max", memory_high="max", memory_current=str(80 * MB))
    (tmp_path / "sys/fs/cgroup/system.slice/memory.max").write_text(f"{200 * MB}\n")
    (tmp_path / "sys/fs/cgroup/system.slice/memory.current").write_text(f"{90 * MB}\n")
    assert room(tmp_path) == sensors.Memory(200.0, 110.0)
    group(tmp_path, "/", memory_max=str(150 * MB), memory_current=str(MB))
    assert room(tmp_path) == sensors.Memory(150.0, 149.0)


def test_without_limits_it_is_what_the_machine_has(tmp_path):
    group(tmp_path, memory_max="max", memory_current=str(80 * MB))
    assert room(tmp_path).total_mb == room(tmp_path / "no cgroups").total_mb == sensors.memory().total_mb
    assert 0 < room().available_mb <= room().total_mb <= sensors.memory().total_mb


# What a model needs.

SECOND = """
from edge.detect.classifier import BUNDLED, Classifier
from edge.update.memory import look_once, own_mb
first = look_once(BUNDLED)
before = own_mb()
second = look_once(BUNDLED)
print(own_mb() - before, first._session is second._session)
"""


def test_a_second_model_takes_no_more_than_was_measured_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    need = need_mb(BUNDLED, NEVER)
    ran = subprocess.run([sys.executable, "-c", SECOND], capture_output=True, text=True, check=True)
    took, same = ran.stdout.split()
    assert same == "False"
    assert len(list(tmp_path.rglob("*.ort"))) == 1, "both models take the graph that the measurement made"
    assert 0.0 < float(took) < need


def test_a_model_that_cannot_be_loaded_needs_nothing_and_is_one_sentence(tmp_path):
    (tmp_path / "new.onnx").write_bytes(BUNDLED.read_bytes()[:4_000_000])
    with pytest.raises(ModelError, match=r"new\.onnx: onnxruntime cannot load it, the file is truncated"):
        need_mb(tmp_path / "new.onnx", NEVER)
