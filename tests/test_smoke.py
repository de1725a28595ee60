"""Each command once in a process of its own, on what a training left: what it imports, and when, shows only there.

`train` and `export` make what is used here, in processes too; `watch`, `classify`, `snapshot`, `model`, `schema`,
`events`, `alert`, `doctor`, `service`, `config` and `feedback` are started as processes by their own tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import in_a_process
from tests.helpers.yard import yard_clip

pytest.importorskip("fastai")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ("evaluate {made}/pictures --model {model}/bear.onnx", "Wilson"),
        ("compare {model}/bear.fp32.onnx {model}/bear.onnx {made}/pictures {test_part}", "bear"),
        ("clean {made}/run --list", "decision"),
        ("gather folder {made}/pictures --out {here}/gathered --licence own", "truncated"),
        ("notebooks {here}/notebooks", "try.ipynb"),
        ("tune {here}/yard.avi", "alarm"),
        ("why 14 --trace {here}/trace.jsonl", "bear"),
    ],
    ids=lambda value: value.split()[0] if "{" in value else "",
)
def test_a_command_does_its_work_as_a_process(
    trained_run: Path, exported_model: Path, tmp_path: Path, words: str, printed: str
) -> None:
    test_part = f"--split-file {trained_run}/run/split.csv --split test"
    filled = words.format(made=trained_run, model=exported_model, here=tmp_path, test_part=test_part).split()
    if filled[0] == "tune":
        yard_clip(tmp_path / "yard.avi")
    if filled[0] == "why":
        assert in_a_process("watch", "demo", "--no-evidence", "--trace", filled[-1], cwd=tmp_path).returncode == 0
    done = in_a_process(*filled, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout + done.stderr
