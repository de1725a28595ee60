"""``compare``: what it refuses at once, and what it prints of a guard."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import OptionError
from tests.helpers.benchmark_pool import write_model
from train.evaluate.command import compare
from train.evaluate.compare import Comparison, Guard
from train.evaluate.text import comparison_text


def test_a_model_is_not_compared_with_itself(tmp_path: Path) -> None:
    write_model(tmp_path / "one.onnx", name="one")
    (tmp_path / "copy.onnx").write_bytes((tmp_path / "one.onnx").read_bytes())
    with pytest.raises(OptionError, match="the same model, one@"):  # before any picture is looked for
        compare(tmp_path / "one.onnx", tmp_path / "copy.onnx", tmp_path / "nowhere")


def test_a_guard_states_whether_it_is_worse_or_only_not_known() -> None:
    guards = Guard("clearly", 0.3, 0.2, 0.1), Guard("perhaps", 0.3, -0.2, 0.1), Guard("well", 0.0, -0.1, 0.1)
    text = comparison_text(Comparison("a", "b", "not shown to be better", "", 9, ("web",), {}, guards))
    printed = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "NOT MET" in printed["clearly"]
    assert "NOT MET" not in printed["perhaps"]
    assert "too few" in printed["perhaps"]
    assert printed["well"].endswith("allowed 10")
