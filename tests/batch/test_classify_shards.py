"""``classify`` of many pictures, as a person types it: shards, tables, and the formats."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from edge.batch.local import Outcome
from edge.files import replace_whole
from tests.helpers.card import CUT, card, classified, clip, results_of
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, tiny_card, write_tiny_model

ANIMALS = {"A/1.jpg": BEAR_COLOUR, "A/2.jpg": NO_BEAR_COLOUR, "B/1.jpg": BEAR_COLOUR, "B/cut.jpg": CUT}
SHARD_REFUSES = (("--csv", "b.csv"), ("--force",), ("--country", "SI"), ("--engine", "local"))


@pytest.fixture
def classify(tmp_path):
    """``bear-alarm classify WORDS``: exit code, standard output, standard error."""
    model = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    return partial(classified, "--model", model)


def test_cut_then_work_then_write(tmp_path, classify):
    folder, shards, table = card(tmp_path / "card", ANIMALS), tmp_path / "s", tmp_path / "bears.csv"
    code, out, err = classify(folder, "--shards", shards, "--engine", "none")
    assert (code, out) == (0, "1\n")
    assert "4 pictures: 1 shard" in err
    code, out, err = classify("--shards", shards, "--engine", "none", "--csv", table)
    assert (code, out, table.exists()) == (2, "", False)
    assert "1 shard of 1 not done (1)" in err
    for said in ("shard 1 is done", "shard 1 was done already"):
        code, out, err = classify("--shards", shards, "--shard", 1)
        assert (code, out, err.strip()) == (0, "", said)
    assert classify("--shards", shards, "--engine", "none")[:2] == (0, "")
    code, _, err = classify("--shards", shards, "--engine", "none", "--csv", table)
    assert (code, "bear in 2 of 3 pictures; 1 could not be read" in err) == (0, True)
    folder.rename(tmp_path / "away")  # the files of results are enough, and what is there is kept
    assert classify("--shards", shards, "--engine", "none")[:2] == (0, "")
    code, _, err = classify("--shards", shards, "--csv", table)
    assert (code, table.read_bytes()) == (0, (tmp_path / "bears.csv.old").read_bytes()), err
    (tmp_path / "away").rename(folder)
    classify(folder, "--csv", tmp_path / "whole.csv")
    assert sorted(table.read_text().splitlines()) == sorted((tmp_path / "whole.csv").read_text().splitlines())


def test_a_cut_that_was_stopped_goes_on(tmp_path, classify, monkeypatch):
    folder, shards = card(tmp_path / "card", ANIMALS), tmp_path / "s"
    monkeypatch.setattr("edge.batch.shards.LEAST", 1)
    stop = "00002.csv"

    def stopped(path, data):
        if path.name == stop:
            raise KeyboardInterrupt
        replace_whole(path, data)

    monkeypatch.setattr("edge.batch.shards.replace_whole", stopped)
    code, _, err = classify(folder, "--shards", shards, "--engine", "none")
    assert (code, "the same command goes on there" in err) == (130, True)
    stop = ""
    assert classify("--shards", shards, "--engine", "none")[:2] == (0, "1\n2\n3\n4\n")
    card(folder, {f"{camera}/1.jpg": BEAR_COLOUR for camera in "CD"})
    stop = "00006.csv"
    assert classify(folder, "--shards", shards, "--engine", "none")[0] == 130
    stop = ""
    assert classify("--shards", shards, "--engine", "none")[:2] == (0, "".join(f"{n}\n" for n in range(1, 7)))


def test_what_could_not_be_read_is_printed_and_no_hindrance(tmp_path, classify):
    folder, shards, table = card(tmp_path / "card", ANIMALS), tmp_path / "s", tmp_path / "bears.csv"
    classify(folder, "--shards", shards, "--engine", "none")
    classify("--shards", shards, "--shard", 1)
    assert classify("--shards", shards, "--engine", "none", "--retry-failed")[:2] == (0, "1\n")
    assert classify("--shards", shards, "--engine", "none", "--retry-failed", "--csv", table)[0] == 0
    assert len(table.read_text().splitlines()) == 1 + len(ANIMALS)
    code, _, err = classify("--shards", shards, "--engine", "none", "--fps", 2)
    assert (code, "holds shards for --fps 1, not 2" in err) == (2, True), err


def test_files_of_the_user_are_replaced_by_force_alone_and_inputs_never(tmp_path, classify):
    shards, listed, csv_ = tmp_path / "s", tmp_path / "list.csv", ("--engine", "none", "--csv")
    folder, notes = card(tmp_path / "card", ANIMALS), tmp_path / "notes.csv"
    listed.write_text("file\ncard/A/1.jpg\n")
    notes.write_text("place,note\n")
    classify(listed, "--shards", shards, "--engine", "none")
    classify("--shards", shards, "--shard", 1)
    for option in ("--csv", "--out", "--coco"):
        for mine in (notes, folder / "A" / "1.jpg"):
            before = mine.read_bytes()
            code, _, err = classify("--shards", shards, "--engine", "none", option, mine)
            assert (code, "is there already" in err, mine.read_bytes()) == (2, True, before), err
        for _ in range(2):
            assert classify("--shards", shards, "--engine", "none", option, tmp_path / f"o{option}")[0] == 0
    code, _, err = classify("--shards", shards, *csv_, listed, "--force")
    assert (code, "is one of the files to look at" in err, listed.read_text()) == (2, True, "file\ncard/A/1.jpg\n")
    assert classify("--shards", shards, *csv_, notes, "--force")[0] == 0
    assert (tmp_path / "notes.csv.old").read_text() == "place,note\n"


def test_a_worker_says_how_far_it_is(tmp_path, classify, monkeypatch):
    monkeypatch.setattr("edge.cli.classify_shards.PROGRESS_S", 0.0)
    classify(card(tmp_path / "card", ANIMALS), "--shards", tmp_path / "s", "--engine", "none")
    assert classify("--shards", tmp_path / "s", "--shard", 1, "--progress")[1] == "1\n2\n3\n4\n"


@pytest.mark.parametrize(
    ("outcome", "ended", "why"),
    [
        (Outcome(failed=[1]), 1, "1 shard failed (1), all others are done"),
        (Outcome(refused="s: only 1.0 MB are free"), 2, "bear-alarm: s: only 1.0 MB are free"),
    ],
)
def test_shards_that_are_not_done_are_no_results(tmp_path, classify, monkeypatch, outcome, ended, why):
    monkeypatch.setattr("edge.batch.local.run_shards", lambda *words, **more: outcome)
    folder = card(tmp_path / "card", ANIMALS)
    code, _, err = classify(folder, "--shards", tmp_path / "s", "--csv", tmp_path / "bears.csv")
    assert (code, err.splitlines()[-1].startswith(why), (tmp_path / "bears.csv").exists()) == (ended, True, False), err


@pytest.mark.slow
def test_the_engine_of_this_machine_runs_all_of_them(tmp_path, classify, monkeypatch):
    folder, shards, out = card(tmp_path / "card", ANIMALS), tmp_path / "s", tmp_path / "results.json"
    code, _, err = classify(folder, "--shards", shards, "--workers", 2, "--out", out)
    assert (code, "bear in 2 of 3 pictures" in err) == (0, True), err
    assert set(results_of(out)) == set(ANIMALS)
    card(folder, {"B/cut.jpg": BEAR_COLOUR})
    (tmp_path / "statistics.py").write_text("raise SystemExit('not the library')")
    monkeypatch.chdir(tmp_path)
    code, _, err = classify("--shards", shards, "--retry-failed")
    assert (code, "0 of 4" in err, "bear in 3 of 4 pictures" in err) == (0, False, True), err
    assert err.splitlines()[-1] == f"for a table of them: bear-alarm classify --shards {shards} --csv bears.csv"
    (shards / "00001.json").unlink()
    folder.rename(tmp_path / "away")
    code, _, err = classify("--shards", shards)
    assert (code, "is its disk connected" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_ends_its_processes(tmp_path, classify, number):
    folder = card(tmp_path / "card", {f"{n}.jpg": BEAR_COLOUR for n in range(2)})
    clip(folder / "long.avi", [NO_BEAR_COLOUR] * 20_000)
    words = [*classify.args, folder, "--shards", tmp_path / "s", "--fps", "10"]
    command = [sys.executable, "-m", "edge", "classify", *map(str, words)]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    process = psutil.Process(driver.pid)
    while not (children := process.children()):
        assert driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(number)
    err = driver.communicate()[1]
    assert (driver.returncode, err.splitlines()[-1]) == (
        130, "stopped with 0 of 3 files done; the same command goes on there",
    )  # fmt: skip
    assert not any(child.is_running() for child in children)


def test_no_file_that_can_be_read_is_no_card_without_bears(tmp_path, classify):
    folder, shards = card(tmp_path / "card", {"a.jpg": CUT, "b.jpg": CUT}), tmp_path / "s"
    classify(folder, "--shards", shards, "--engine", "none")
    classify("--shards", shards, "--shard", 1)
    code, _, err = classify("--shards", shards)
    assert (code, "none of the 2 files could be read; the last: b.jpg: truncated" in err) == (2, True), err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--shards", "s", "--engine", "ray"), "--engine ray: the engines are local and none; docs/engines"),
        (("--shard", "1"), "give that folder too"),
        *((("--shards", "s", "--shard", "1", *more), "only looks at a shard") for more in SHARD_REFUSES),
        (("--shards", ".", "--csv", "b.csv"), "b.csv: lies in the --shards folder"),
        (("--shards", "s"), "holds no shards"),
        (("--shards", "s", "--jsonl"), "--jsonl is for a card without --shards"),
        ((), "give pictures, folders or a table"),
    ],
)
def test_what_cannot_work_is_one_sentence(tmp_path, classify, monkeypatch, words, why):
    monkeypatch.chdir(tmp_path)
    code, out, err = classify(*words)
    assert (code, out, err.count("\n"), why in err) == (2, "", 1, True), err


def test_a_table_of_pictures_in_place_of_a_folder(tmp_path, classify):
    card(tmp_path / "card", ANIMALS)
    (tmp_path / "list.csv").write_text("file,place\ncard/A/1.jpg,valley\ncard/no.jpg,hill\n")
    code, _, err = classify(tmp_path / "list.csv", "--csv", tmp_path / "bears.csv")
    assert (code, "1 of its 2 files are not there" in err) == (0, True), err
    with (tmp_path / "bears.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["verdict"]) for row in rows] == [("card/A/1.jpg", "bear"), ("card/no.jpg", "")]


def test_results_are_kept_until_the_other_format_is_written(tmp_path, classify, monkeypatch):
    folder, coco = card(tmp_path / "card", ANIMALS), tmp_path / "bears.coco.json"
    with monkeypatch.context() as patch:
        patch.setattr("edge.batch.results.write_coco", lambda *words: (_ for _ in ()).throw(KeyboardInterrupt))
        assert classify(folder, "--coco", coco)[0] == 130
    kept = tmp_path / ".bears.coco.json.classify-results.json"
    assert set(results_of(kept)) == set(ANIMALS)
    code, out, err = classify(folder, "--coco", coco, "--force")
    assert (code, out, kept.exists()) == (0, "", False)
    assert "3 of 4 files are in" in err
    assert len(json.loads(coco.read_bytes())["images"]) == len(ANIMALS)
