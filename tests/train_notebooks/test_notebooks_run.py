"""The notebooks as they are committed, run from the first cell to the last with a person's choices put in."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("fastai")
pytest.importorskip("onnxscript")
pytest.importorskip("ipykernel")
pytest.importorskip("cleanlab")

from tests.helpers.notebook_world import do_after, read_notebook, result_of, run_notebook, told
from tests.helpers.trained_world import fresh_run
from train.data.decisions import live, read_decisions
from train.notebooks.practice import MISFILED

pytestmark = pytest.mark.slow

# What a person does in the menus. The gallery's widgets are those the browser moves.
MENUS = """
def menu(name, number=None):
    at = number if number is not None else [str(file).endswith(name) for file in cleaner.fns].index(True)
    return cleaner.iw.widget.children[at].children[1]
"""


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A fresh copy of the run and its pictures; nothing was decided."""
    return fresh_run(trained_run, tmp_path)


def test_clean_writes_what_was_chosen_lists_it_and_takes_it_back(run: Path, tmp_path: Path) -> None:
    root = run.parent / "pictures"
    before = {file: file.read_bytes() for file in root.rglob("*.jpg")}
    notebook = read_notebook("clean")
    notebook.cells[1].source = f"RUN = {str(run)!r}"
    do_after(
        notebook,
        "cleaner.widget",
        MENUS,
        "cleaner.dd_cats.value = 'no_bear'; menu('', 0).value = '<Delete>'; menu('', 1).value = 'brown_bear'",
        "labels.write(cleaner)  # before another label",
        "cleaner.dd_cats.value = 'brown_bear'; cleaner.dd_ds.value = 'Valid'; menu('', 0).value = '<Delete>'",
    )
    undo = next(cell for cell in notebook.cells if cell.source.startswith("# labels.undo()"))
    undo.source = undo.source.replace("# labels.undo()", "labels.undo()", 1)
    done = run_notebook(notebook, tmp_path)
    assert "Traceback" not in told(done)
    assert "Written: 1 relabel, 1 delete. 2 decisions in force" in result_of(done, "before another label")
    assert "Written: 1 delete. 3 decisions in force" in told(done)
    assert "brown_bear/" in result_of(done, "labels.decisions()")
    assert "Taken back: brown_bear/" in result_of(done, "labels.undo()")
    assert sorted(row.decision for row in read_decisions(root)) == ["delete", "delete", "relabel", "undo"]
    assert sorted(row.decision for row in live(read_decisions(root))) == ["delete", "relabel"]
    assert {file: file.read_bytes() for file in root.rglob("*.jpg")} == before


def test_a_run_that_is_not_there_is_one_sentence_under_the_cell(tmp_path: Path) -> None:
    from nbclient.exceptions import CellExecutionError

    notebook = read_notebook("clean")
    with pytest.raises(CellExecutionError):
        run_notebook(notebook, tmp_path)
    said = told(notebook)
    assert "runs/bear: not a finished training run" in said
    assert "Traceback" not in said


def test_the_whole_way_ends_with_an_alarm(tmp_path: Path) -> None:
    notebook = read_notebook("whole_way")
    do_after(
        notebook,
        "cleaner.widget",
        MENUS,
        "cleaner.dd_cats.value = 'no_bear'; cleaner.iw.max_n = 99; cleaner.on_change_ds()",
        f"menu({MISFILED!r}).value = 'brown_bear'; cleaner.fns[0].name",
    )
    done = run_notebook(notebook, tmp_path)
    assert "Traceback" not in told(done)
    assert ast.literal_eval(result_of(done, "cleaner.fns[0].name")) == Path(MISFILED).name  # the network doubts it most
    work = tmp_path / "whole-way"
    assert [(row.file, row.after) for row in live(read_decisions(work / "pictures"))] == [(MISFILED, "brown_bear")]
    changed = json.loads((work / "run-cleaned" / "cleaned.json").read_text())
    assert changed["relabelled"] == {"no_bear -> brown_bear": 1}
    assert (work / "bear.onnx").is_file()
    alarms = ast.literal_eval(result_of(done, "EVENTS"))
    assert ("new", "brown_bear") in [(kind, label) for kind, label, _ in alarms]
    assert all(1.4 <= at <= 4 for kind, _, at in alarms if kind == "new")
    shutil.rmtree(work)
