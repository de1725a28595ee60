"""The engines of the guides: they run, say when something is not installed, and lose nothing when they are killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psutil")

from tests.helpers.shard_kills import World, kill_at_random

ENGINES = Path(__file__).parents[2] / "docs" / "engines"
NUMBERS = "bear-alarm classify pictures --shards shards --engine none"
DRIVERS = {
    "local": "exec bear-alarm classify pictures --shards shards",
    "ray": f"exec {sys.executable} {ENGINES / 'ray_shards.py'} shards < <({NUMBERS})",
    "distributed": f"exec {sys.executable} {ENGINES / 'dask_shards.py'} shards < <({NUMBERS})",
}
TRIES = 9


@pytest.mark.slow
@pytest.mark.alone  # beside other tests Ray gives up before it has begun
@pytest.mark.needs_tool("bash")
@pytest.mark.parametrize("engine", DRIVERS)
def test_workers_and_driver_are_killed_and_nothing_is_lost_or_twice(engine: str, tmp_path: Path) -> None:
    if engine != "local":
        pytest.importorskip(engine)
    world = World(tmp_path, 8, 5)
    words = ["bash", "-c", DRIVERS[engine]]
    assert kill_at_random(world, words, 3, seed=21) > 1
    for _ in range(TRIES):  # a shard may still be with a child whose engine was killed
        ran = world.run(words)
        assert ran.returncode == 0, ran.stdout
        if len(world.looked_at()) == len(world.files):
            break
    assert world.looked_at() == dict.fromkeys(world.files, 1)
    assert world.twice() == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_xargs_runs_all_shards(tmp_path: Path) -> None:
    world = World(tmp_path, 4, 2)
    for _ in range(2):  # the second time nothing is left
        ran = world.run(["bash", ENGINES / "xargs.sh", world.folder, world.shards])
        assert ran.returncode == 0, ran.stdout
    assert world.looked_at() == dict.fromkeys(world.files, 1)
    assert sorted(world.notes.read_text().split()[::2]) == ["1", "2", "3", "4"]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_a_task_of_slurm_looks_at_its_own_shard(tmp_path: Path) -> None:
    world = World(tmp_path, 2, 2)
    world.environment["SLURM_ARRAY_TASK_ID"] = "2"
    ran = world.run(["bash", ENGINES / "slurm.sh", world.shards])
    assert ran.returncode == 0, ran.stdout
    assert world.notes.read_text() == "2 done\n"


@pytest.mark.parametrize("script", ["slurm.sh", "xargs.sh"])
@pytest.mark.needs_tool("bash")
def test_a_shell_reads_the_scripts(script: str) -> None:
    assert subprocess.run(["bash", "-n", ENGINES / script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("script", "module", "sentence"),
    [
        ("ray_shards.py", "ray", "Ray is not installed; run: pip install ray\n"),
        ("dask_shards.py", "distributed", "Dask is not installed; run: pip install distributed\n"),
    ],
)
def test_an_engine_that_is_not_installed_is_one_sentence(
    script: str, module: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError({module!r})")
    ran = subprocess.run(
        [sys.executable, ENGINES / script, "shards"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", sentence)
