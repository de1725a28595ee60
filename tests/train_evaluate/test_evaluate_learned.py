"""``evaluate`` warns of the pictures that its model was made from."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.helpers.tiny import tiny_card, write_tiny_model
from tests.train_evaluate.test_evaluate import pool, write_table
from train.data.catalog import read_catalog
from train.evaluate.command import evaluate
from train.evaluate.held_out import split_digest

__all__ = ["pool"]  # a fixture


def test_sources_that_the_model_was_made_from_are_named(tmp_path, pool, capsys, caplog):
    card = replace(
        tiny_card(),
        counts_by_source={"web": 9, "elsewhere": 4},
        digests={"catalog_sha256": read_catalog(pool).digest, "split_sha256": "another"},
        thresholds={mode: replace(one, sources=("trail",)) for mode, one in tiny_card().thresholds.items()},
    )
    model = str(write_tiny_model(tmp_path / "m.onnx", card))
    evaluate(pool, model=model, as_json=True)
    found = json.loads(capsys.readouterr().out)["learned_from"]
    assert found == {"table": True, "trained": {"web": 3}, "tuned": {"trail": 3}}
    assert "WARNING" in caplog.text
    caplog.clear()
    evaluate(pool, model=model, source=["trail"])
    words = caplog.text
    assert "WARNING" in words
    assert "thresholds fitted on trail: 3 pictures" in words
    assert "web" not in words
    split = write_table(
        tmp_path / "split.csv",
        "file,label,source,group,split",
        *(f"{one.file.name},{one.label},{one.source},,test" for one in read_catalog(pool).pictures),
    )
    own = replace(card, digests={"split_sha256": split_digest(split)})
    caplog.clear()
    evaluate(pool, model=str(write_tiny_model(tmp_path / "own.onnx", own)), split="test", split_file=split)
    assert "made from the sources" not in caplog.text


def test_a_model_of_other_sources_is_not_warned_of(tmp_path, pool, capsys):
    model = str(write_tiny_model(tmp_path / "m.onnx", replace(tiny_card(), counts_by_source={"elsewhere": 4})))
    evaluate(pool, model=model, as_json=True)
    assert "learned_from" not in json.loads(capsys.readouterr().out)
