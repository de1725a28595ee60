"""``bear-alarm clean`` as a person types it: find, decide, undo, serve, train again, on a tiny set made here."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fastai")
pytest.importorskip("cleanlab")

from tests.helpers.command import ROOT, Ran, bear_alarm
from tests.helpers.trained_world import HIDDEN, NONE, fresh_run
from train.clean import command
from train.clean.embeddings import CACHE
from train.data.catalog import read_catalog
from train.data.decisions import TABLE, append_decisions, decide
from train.learn.hard_negatives import FOLDER
from train.learn.run_folder import STATE

KEPT = "no_bear/camera-1/rock-0.jpg"


def clean(*words: object, code: int = 0) -> Ran:
    """Run the command as a user does."""
    done = bear_alarm("clean", *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def made(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run that was looked over once, so that it keeps the embeddings; ``found.json`` was printed."""
    run = fresh_run(trained_run, tmp_path_factory.mktemp("looked-over"))
    found = clean(run, "--out", run.parent / "clean.html", "--top", 10, "--json")
    (run.parent / "found.json").write_text(found.stdout)
    return run.parent


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A fresh copy of the run and its pictures; nothing was decided."""
    return fresh_run(made, tmp_path)


def held(run: Path) -> dict[str, str]:
    """The decisions that hold, by file."""
    rows = csv.DictReader(io.StringIO(clean(run, "--list").stdout))
    return {row["file"]: f"{row['decision']} {row['after']}".strip() for row in rows}


def test_the_wrong_labels_come_first_and_are_known_the_second_time(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = (run.parent / "found.json").read_text()
    found = {row["file"]: row for row in json.loads(first)}
    assert len(found) == 10
    assert next(iter(found)) == HIDDEN
    assert "bear inside" in found[HIDDEN]["why"]
    assert found[HIDDEN]["suggested"].endswith("_bear")
    assert "no bear here" in found[NONE]["why"]
    html = (run.parent / "clean.html").read_text()
    assert html.count("data:image/jpeg;base64,") >= 10
    assert len(html) < 400_000
    cached = (run / CACHE).stat().st_mtime_ns
    command.clean(run, out=run / "page.html", top=10, as_json=True)
    assert capsys.readouterr().out == first
    assert (run / CACHE).stat().st_mtime_ns == cached, "computed once"


def test_apply_list_undo_and_what_is_decided_is_not_shown_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = run.parent / "pictures"
    catalog = {picture.file.relative_to(pictures).as_posix(): picture for picture in read_catalog(pictures).pictures}
    rows = [
        decide(catalog[HIDDEN], pictures, "relabel", "brown_bear", by="page"),
        decide(catalog[NONE], pictures, "delete", by="page"),
        decide(catalog[KEPT], pictures, "keep", by="page"),
    ]
    page = tmp_path / "page"
    page.mkdir()
    append_decisions(page, rows)
    given = page / TABLE
    given.write_text(given.read_text() + "t,gone.jpg," + "0" * 64 + ",1,delete,no_bear,,page\n")
    before = {file: file.read_bytes() for file in pictures.rglob("*.jpg")}
    printed = clean(run, "--apply", given).stderr
    assert "Added: 1 keep, 1 relabel, 1 delete, 0 undone; 0 were in it already" in printed
    assert "1 skipped" in printed
    assert "0 keep, 0 relabel, 0 delete, 0 undone; 3 were in it already" in clean(run, "--apply", given).stderr
    assert held(run) == {HIDDEN: "relabel brown_bear", NONE: "delete", KEPT: "keep no_bear"}
    command.clean(run, out=run / "page.html", as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert len(shown) == len(catalog) - 3 - 1  # and the broken one
    assert not {HIDDEN, NONE, KEPT} & {row["file"] for row in shown}
    assert "taken back: " + NONE in clean(run, "--undo", NONE).stderr
    assert KEPT in clean(run, "--undo", "last").stderr
    assert held(run) == {HIDDEN: "relabel brown_bear"}
    clean(run, "--undo", "all")
    assert held(run) == {}
    assert "nothing to take back" in clean(run, "--undo", "last", code=2).stderr
    assert {file: file.read_bytes() for file in pictures.rglob("*.jpg")} == before
    assert len((pictures / TABLE).read_text().splitlines()) == 1 + 3 + 3


def test_retrain_prints_what_changed_with_the_runs_own_parts(
    run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    pictures = run.parent / "pictures"
    catalog = {picture.file.relative_to(pictures).as_posix(): picture for picture in read_catalog(pictures).pictures}
    assert "decide something first" in clean(run, "--retrain", code=2).stderr
    rows = [decide(catalog[HIDDEN], pictures, "relabel", "brown_bear"), decide(catalog[NONE], pictures, "delete")]
    append_decisions(pictures, rows)
    hard = {"file": "00000-0123abcd.png", "group": "leaves.mp4", "licence": "CC BY 4.0", "note": "hard negative"}
    reported = json.loads((run / "settings.json").read_text())
    reported["hard_negatives"] = [hard, hard | {"file": "00001-0123abcd.png"}]  # the second is gone
    (run / "settings.json").write_text(json.dumps(reported))
    (run / FOLDER).mkdir()
    cv2.imwrite(str(run / FOLDER / hard["file"]), np.zeros((64, 64, 3), np.uint8))
    new = run.with_name("run-cleaned")
    new.mkdir()
    (new / STATE).write_bytes(b"of a training on other labels that was broken off")
    command.clean(run, retrain=True, as_json=True)
    done = capsys.readouterr()
    report = json.loads(done.out)
    assert report["relabelled"] == {"no_bear -> brown_bear": 1}
    assert report["deleted"] == 1
    assert "1 relabelled (1 no_bear -> brown_bear), 1 deleted" in done.err
    assert not (new / STATE).exists()
    old_settings, settings = (json.loads((folder / "settings.json").read_text()) for folder in (run, new))
    assert settings["recipe"] == old_settings["recipe"]
    assert settings["recipe"]["per_epoch"] == 32
    assert settings["hard_negatives"] == [hard]
    assert settings["counts_by_licence"]["CC BY 4.0"] == 1
    assert (new / FOLDER / hard["file"]).read_bytes() == (run / FOLDER / hard["file"]).read_bytes()
    assert "1 hard negatives are gone" in caplog.text
    parts = {name: part["pictures"] for name, part in settings["parts"].items()}
    assert sum(parts.values()) == sum(part["pictures"] for part in old_settings["parts"].values()) - 1
    assert report["tuning_pictures"] == parts["tune"]
    assert report["before"].keys() == report["after"].keys()
    for part in ("clean", "degraded", "all"):
        assert report["before"][part]["n_bear"] == report["after"][part]["n_bear"] > 0, "the same tuning crops"
    old_parts, new_parts = (
        {row["file"]: row["split"] for row in csv.DictReader((folder / "split.csv").read_text().splitlines())}
        for folder in (run, new)
    )
    assert new_parts.items() <= old_parts.items()
    assert set(old_parts) - set(new_parts) == {NONE}
    assert json.loads((new / "cleaned.json").read_text()) == report
    assert "already has a trained run" in clean(run, "--retrain", code=2).stderr
    assert "choose another --out" in clean(run, "--retrain", "--out", run, code=2).stderr
    assert "have the labels of its training" in clean(new, "--retrain", code=2).stderr


@pytest.mark.slow
def test_serve_prints_its_address_and_ends_with_ctrl_c(run: Path) -> None:
    serving = subprocess.Popen(
        [sys.executable, "-m", "edge", "clean", str(run), "--serve", "--top", "5"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert serving.stdout
    url = serving.stdout.readline().strip()
    try:
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert HIDDEN in answer.read().decode()
    finally:
        serving.send_signal(signal.SIGINT)
        _, printed = serving.communicate(timeout=60)
    assert serving.returncode == 0, printed
    assert "0 decisions in force" in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--undo", "nobody.jpg"), "no decision is about this file"),
        (("--apply", "nowhere.csv"), "nowhere.csv: cannot be read"),
        (("--apply", __file__), "it is no table of decisions"),
        (("--list", "--retrain"), "cannot be combined; do one after the other"),
        (("--out", "/dev/null/clean.html"), "cannot be written"),
        (("--data", "/nowhere"), "give their folder with --data"),
    ],
)
def test_mistakes_are_one_sentence(run: Path, words: tuple[str, ...], sentence: str) -> None:
    pictures = run.parent / "pictures"
    append_decisions(pictures, [decide(read_catalog(pictures).pictures[0], pictures, "keep")])
    printed = clean(run, *words, code=2).stderr
    assert sentence in printed
    assert printed.splitlines()[-1].startswith("bear-alarm: ")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    assert "not a finished training run" in clean(tmp_path, "--list", code=2).stderr
    (tmp_path / "settings.json").write_text("[")
    assert "damaged, not a run's settings.json" in clean(tmp_path, code=2).stderr
