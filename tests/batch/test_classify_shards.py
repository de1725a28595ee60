"""``classify`` of many pictures, as a person types it: shards, tables, and the formats."""

from __future__ import annotations

import csv
import json
from functools import partial

import pytest

from edge.batch.local import Outcome
from tests.helpers.card import CUT, card, classified, results_of
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, tiny_card, write_tiny_model

ANIMALS = {"A/1.jpg": BEAR_COLOUR, "A/2.jpg": NO_BEAR_COLOUR, "B/1.jpg": BEAR_COLOUR, "B/cut.jpg": CUT}


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
    classify(folder, "--csv", tmp_path / "whole.csv")
    assert sorted(table.read_text().splitlines()) == sorted((tmp_path / "whole.csv").read_text().splitlines())


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
def test_the_engine_of_this_machine_runs_all_of_them(tmp_path, classify):
    folder, shards, out = card(tmp_path / "card", ANIMALS), tmp_path / "s", tmp_path / "results.json"
    code, _, err = classify(folder, "--shards", shards, "--workers", 2, "--out", out)
    assert (code, "bear in 2 of 3 pictures" in err) == (0, True), err
    assert set(results_of(out)) == set(ANIMALS)
    card(folder, {"B/cut.jpg": BEAR_COLOUR})
    code, _, err = classify("--shards", shards, "--retry-failed", "--out", out, "--force")
    assert (code, "bear in 3 of 4 pictures" in err) == (0, True), err
    folder.rename(tmp_path / "away")
    code, _, err = classify("--shards", shards)
    assert (code, err.count("\n"), "is its disk connected" in err) == (2, 1, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--shards", "s", "--engine", "ray"), "--engine ray: the engines are local and none; docs/engines"),
        (("--shard", "1"), "give that folder too"),
        (("--shards", "s", "--shard", "1", "--csv", "b.csv"), "only looks at a shard"),
        (("--shards", "s"), "holds no shards"),
        (("--shards", "s", "--jsonl"), "--jsonl is for a card without --shards"),
        (("--country", "Slovenia"), "write two letters such as SI"),
        ((), "give pictures, folders or a table"),
    ],
)
def test_what_cannot_work_is_one_sentence(tmp_path, classify, words, why):
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


def test_a_country_names_the_species(tmp_path, classify):
    folder = card(tmp_path / "card", {"a.jpg": BEAR_COLOUR, "b.jpg": NO_BEAR_COLOUR})
    table, results = tmp_path / "bears.csv", tmp_path / "results.json"
    _, out, _ = classify(folder, "--country", "US-GA", "--csv", table, "--out", results)
    words = "bear (brown bears are unusual in US-GA; American black bears live there)"
    assert out.splitlines()[1].endswith(f"BEAR          {words}")
    classify(results, "--csv", tmp_path / "si.csv", "--country", "si")
    for file, species in ((table, words), (tmp_path / "si.csv", "brown bear")):
        with file.open(newline="") as opened:
            assert [row["species"] for row in csv.DictReader(opened)] == [species, ""]


def test_results_are_kept_until_the_other_format_is_written(tmp_path, classify, monkeypatch):
    folder, coco = card(tmp_path / "card", ANIMALS), tmp_path / "bears.coco.json"
    with monkeypatch.context() as patch:
        patch.setattr("edge.batch.results.write_coco", lambda *words: (_ for _ in ()).throw(KeyboardInterrupt))
        assert classify(folder, "--coco", coco)[0] == 130
    kept = tmp_path / "bears.coco.json.results.json"
    assert set(results_of(kept)) == set(ANIMALS)
    code, out, err = classify(folder, "--coco", coco, "--force")
    assert (code, out, kept.exists()) == (0, "", False)
    assert "3 of 4 files are in" in err
    assert len(json.loads(coco.read_bytes())["images"]) == len(ANIMALS)
