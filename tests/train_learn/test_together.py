"""Two processes: each learns from its own share of the draws, both end with the same network, and the first writes.

The program that the launcher starts twice is this file.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")

from fastai.callback import progress as _progress  # noqa: F401  adds no_bar
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch import nn

from edge.detect import classifier
from edge.errors import OptionError
from train.data.pictures import Picture
from train.learn import session as sessions
from train.learn.distributed import end_processes, processes, rank, run_on_first, together
from train.learn.examples import PictureCache
from train.learn.hard_negatives import Mined
from train.learn.recipe import Recipe
from train.learn.run_folder import StartedTraining

ITEMS, BATCH, EPOCHS = 32, 4, 2
BOTH = pytest.mark.slow


class Look(Callback):
    """Keeps what each training batch held, a list an epoch, and counts the optimiser's steps."""

    def __init__(self) -> None:
        self.draws: list[list[int]] = []
        self.steps = 0

    def before_train(self) -> None:
        """A new epoch."""
        self.draws.append([])

    def after_batch(self) -> None:
        """Items are their own numbers."""
        if self.training:
            self.draws[-1] += [int(item) for item in self.xb[0][:, 0]]

    def after_step(self) -> None:
        """One more."""
        self.steps += 1


def fitted() -> dict[str, Any]:
    """Return what one process saw and learned; each starts elsewhere and shuffles otherwise."""
    torch.manual_seed(rank())
    items = torch.arange(ITEMS, dtype=torch.float32)[:, None]
    data = torch.utils.data.TensorDataset(items, items.sin())
    dls = DataLoaders(
        *(DataLoader(data, bs=BATCH, shuffle=shuffle) for shuffle in (True, False)), device=torch.device("cpu")
    )
    learn = Learner(dls, nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)), loss_func=nn.MSELoss())
    look = Look()
    with learn.no_bar(), learn.no_logging(), together(learn):
        learn.fit(EPOCHS, 0.05, cbs=[look])
    weights = torch.cat([weights.detach().flatten() for weights in learn.model.parameters()])
    return {"draws": look.draws, "steps": look.steps, "weights": weights.tolist()}


def mined(folder: Path) -> list[list[str]]:
    """The rows that this process would learn from."""

    def mine(*_: Any, **__: Any) -> Mined:
        file = folder / f"mined-by-{rank()}.png"
        file.touch(exist_ok=False)
        return Mined((Picture(file, "no_bear", "hard negatives", ""),), 1, 0.5)

    patched = pytest.MonkeyPatch()
    patched.setattr(sessions, "mine", mine)
    patched.setattr(classifier, "load", lambda: SimpleNamespace(name="bear"))
    catalog: Any = None
    started = StartedTraining("", {}, [], [], None, [], None, False, "")
    session = sessions.Session(catalog, {"tune": [], "test": []}, folder, None, {}, PictureCache(), started)
    session.mine([folder], Recipe())
    return [[row.file.name, row.label] for row in session.more]


def mistake() -> str:
    """The sentence this process gets of the first one's mistake."""

    def wrong() -> None:
        raise OptionError(f"process {rank()} found no picture")

    try:
        run_on_first(wrong, cpu=True)
    except OptionError as error:
        return str(error)
    return ""


def told(folder: Path) -> None:
    """All of it, as a file."""
    atexit.register(lambda: (folder / f"left-{rank()}.json").write_text(json.dumps(threads())))
    found = {"processes": processes(), "mined": mined(folder), "mistake": mistake()} | fitted()
    found["threads"] = threads()
    (folder / f"process-{rank()}.json").write_text(json.dumps(found))
    end_processes()


def threads() -> list[str]:
    """The names of this process's threads, those of C++ too."""
    return [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A folder, and what the two processes reported."""
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("both")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, __file__, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Hard negatives: 1 crops") == 1  # the first alone speaks
    return folder, [json.loads((folder / f"process-{number}.json").read_text()) for number in (0, 1)]


@BOTH
def test_both_processes_end_with_the_same_network(both: tuple[Path, list[dict[str, Any]]]) -> None:
    one, other = both[1]
    assert one["processes"] == other["processes"] == 2
    assert one["weights"] == other["weights"]


@BOTH
def test_each_process_takes_its_own_half_of_every_epoch(both: tuple[Path, list[dict[str, Any]]]) -> None:
    one, other = both[1]
    assert len(one["draws"]) == len(other["draws"]) == EPOCHS
    for left, right in zip(one["draws"], other["draws"], strict=True):
        assert len(left) == len(right) == ITEMS // 2
        assert sorted(left + right) == list(range(ITEMS))
    assert one["steps"] == other["steps"] == EPOCHS * ITEMS // BATCH // 2


@BOTH
def test_the_first_process_mines_and_the_other_learns_from_what_it_wrote(
    both: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, (one, other) = both
    assert one["mined"] == other["mined"] == [["mined-by-0.png", "no_bear"]]
    assert [file.name for file in folder.glob("mined-by-*")] == ["mined-by-0.png"]


@BOTH
def test_a_mistake_of_the_first_process_is_raised_in_both(both: tuple[Path, list[dict[str, Any]]]) -> None:
    assert [each["mistake"] for each in both[1]] == ["process 0 found no picture"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@BOTH
def test_no_thread_of_the_talk_is_left_when_python_ends(both: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, processes_ = both
    for number, process in enumerate(processes_):
        assert any("gloo" in name for name in process["threads"])
        left = json.loads((folder / f"left-{number}.json").read_text())
        assert left
        assert not [name for name in left if "gloo" in name]


def test_one_process_alone_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert processes() == 1
    assert run_on_first(lambda: 5, cpu=True) == 5
    end_processes()


if __name__ == "__main__":
    told(Path(sys.argv[1]))
