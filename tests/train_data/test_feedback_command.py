"""`bear-alarm feedback import` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.cli.app import as_command
from edge.errors import BearAlarmError
from tests.helpers.command import ROOT, Ran, bear_alarm
from tests.helpers.feedback_evidence import negative, review
from tests.train_data.test_feedback_broken import event
from train.data.catalog import read_catalog
from train.data.feedback_command import app


@pytest.fixture(autouse=True)
def utc(time_zone: Callable[[str], None]) -> None:
    """Days are those of this clock."""
    time_zone("UTC")


def run(*words: object) -> Ran:
    return bear_alarm("feedback", *words, COLUMNS="200")


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    """Two reviewed events, one that nobody has reviewed, and a random negative."""
    root = tmp_path / "evidence"
    event(root, 1)
    event(root, 2)
    (event(root, 3) / "review.json").unlink()
    negative(root, 5)
    return root


def test_it_imports_and_prints_what_and_what_next(evidence: Path, tmp_path: Path) -> None:
    done = run("import", evidence, "--into", tmp_path / "data", "--site", "apiary")
    assert (done.returncode, done.stdout) == (0, "")
    printed = done.stderr.splitlines()
    assert printed[0] == "2 new pictures of 3 events and 1 negative: 2 no_bear in 1 group (camera and day)."
    assert printed[1].startswith("No review yet, and skipped: 1 event; `bear-alarm events review")
    assert printed[2].startswith("No review yet, and skipped: 1 random negative; ")
    assert printed[-1] == f"Next: bear-alarm train {tmp_path / 'data'}"
    assert {row.source for row in read_catalog(tmp_path / "data").pictures} == {"apiary"}
    again = run("import", evidence, "--into", tmp_path / "data", "--unreviewed-negatives", "--json")
    found = json.loads(again.stdout)
    assert (found["known"], found["taken_unreviewed"], found["dry_run"]) == (2, 1, False)
    assert "Imported as empty without a review: 1 random negative; a bear that was missed" in again.stderr
    assert "2 of them are in the table already, and skipped." in again.stderr


def test_a_dry_run_prints_the_same_and_changes_nothing(evidence: Path, tmp_path: Path) -> None:
    done = run("import", evidence, "--into", tmp_path / "data", "--dry-run", "--json")
    assert done.returncode == 0
    assert "Would import 2 new pictures" in done.stderr
    assert "Next:" not in done.stderr
    assert not (tmp_path / "data").exists()
    wet = run("import", evidence, "--into", tmp_path / "data", "--json")
    assert json.loads(done.stdout) | {"dry_run": False} == json.loads(wet.stdout)


def test_only_the_cameras_that_are_named_come_in(evidence: Path, tmp_path: Path) -> None:
    done = run("import", evidence, "--into", tmp_path / "data", "--camera", "gate")
    assert done.returncode == 2
    assert "--camera 'gate': no such camera in" in done.stderr
    assert "it has yard" in done.stderr
    done = run("import", evidence, "--into", tmp_path / "data", "--camera", "yard", "--camera", "yrad")
    assert done.returncode == 2
    assert "--camera 'yrad': no such camera in" in done.stderr
    assert not (tmp_path / "data").exists(), "nothing of the other camera was written either"
    assert run("import", evidence, "--into", tmp_path / "data", "--camera", "yard").returncode == 0


def test_a_label_that_is_forgotten_is_reported(evidence: Path, tmp_path: Path) -> None:
    review(next(evidence.glob("*/*-yard-*/")), "relabelled", "fox", at="2026-01-03T09:00:00.000Z")
    into = ("--into", tmp_path / "data")
    assert run("import", evidence, *into, "--label", "fox=no_bear").returncode == 0
    before = (tmp_path / "data" / "MANIFEST.csv").read_bytes()
    done = run("import", evidence, *into, "--json")
    assert (done.returncode, len(json.loads(done.stdout)["kept"])) == (0, 1)
    assert "unchanged: " in done.stderr
    assert "removed from the table" not in done.stderr
    assert (tmp_path / "data" / "MANIFEST.csv").read_bytes() == before


def test_a_mistake_is_one_sentence(evidence: Path, tmp_path: Path) -> None:
    into = ("--into", str(tmp_path / "data"))
    for words, printed in (
        ((), "feedback what?"),
        (("import", "nowhere", *into), "nowhere: no such folder or archive"),
        (("import", str(evidence), *into, "--time-zone", "Mars/Base"), "no such time zone"),
        (("import", str(evidence), *into, "--label", "fox"), "--label 'fox' is not NAME=LABEL"),
        (("import", str(evidence), *into, "--site", " "), "--site is empty"),
    ):
        with pytest.raises(BearAlarmError) as error:
            as_command("feedback", app).main(args=list(words), standalone_mode=False)
        assert printed in str(error.value)
        assert "\n" not in str(error.value)
    wrong: list[tuple[tuple[str, ...], str]] = [(("export",), "No such command"), (("import", str(evidence)), "--into")]
    for typed, printed in wrong:
        done = run(*typed)
        assert (done.returncode, done.stdout) == (2, "")
        assert printed in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_an_import_needs_no_torch(evidence: Path, tmp_path: Path) -> None:
    block = "import sys\nfor name in ('torch', 'fastai', 'timm', 'pandas'): sys.modules[name] = None\n"
    code = block + "from edge.cli.main import main\nmain()"
    words = [sys.executable, "-c", code, "feedback", "import", str(evidence), "--into", str(tmp_path / "data")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_review_of_a_path_comes_in(evidence: Path, tmp_path: Path) -> None:
    unit = negative(evidence, 15)
    review(unit, "relabelled", "fox")
    done = run("import", evidence, "--into", tmp_path / "data", "--label", "fox=no_bear", "--json")
    assert json.loads(done.stdout)["left_out"] == []
    assert any(row.note.startswith("fox; negative=") for row in read_catalog(tmp_path / "data").pictures)
