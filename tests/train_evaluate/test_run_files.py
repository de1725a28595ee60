"""Which model file a report takes for a run's: by its name, its card, and whether it is whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from tests.helpers.benchmark_pool import make_pool
from tests.helpers.tiny import tiny_card, write_tiny_model
from tests.train_evaluate.test_report import make_run
from train.evaluate.report import exported, read_files


def test_which_file_was_exported_from_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_run(tmp_path / "run.2", make_pool(tmp_path / "pool", bears=1, others=1))
    settings = json.loads((folder / "settings.json").read_text())
    (folder / "settings.json").write_text(json.dumps(settings | {"learner_sha256": "mine"}))
    run, split = read_files(folder, None, {}), {"split_sha256": settings["split_sha256"]}
    card = replace(tiny_card(), digests=split)
    write_tiny_model(tmp_path / "run.onnx", card)
    assert exported(run) is None  # that one is beside the folder called run
    write_tiny_model(tmp_path / "run.2.onnx", card)
    assert exported(run) == tmp_path / "run.2.onnx"
    write_tiny_model(tmp_path / "run.2.onnx", replace(card, digests={**split, "learner_sha256": "another"}))
    assert exported(run) is None
    write_tiny_model(tmp_path / "run.2.onnx", replace(card, digests={**split, "learner_sha256": "mine"}))
    assert exported(run) == tmp_path / "run.2.onnx"
    short = (tmp_path / "run.2.onnx").read_bytes()[:300]
    (tmp_path / "run.2.onnx").unlink()
    (folder / "bear.onnx").write_bytes(short)
    assert exported(run) is None
    assert "bear.onnx: " in caplog.text
    assert "not an ONNX model" in caplog.text
