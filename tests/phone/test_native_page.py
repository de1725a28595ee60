"""docs/native.md: what it says of the model file is so, and its 20 lines read the card."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edge.decide.evidence import Rule
from edge.detect.card import CARD_KEY
from edge.detect.classifier import BUNDLED
from tests.helpers.command import ROOT

PAGE = (ROOT / "docs" / "native.md").read_text(encoding="utf-8")
KINDS = {"tensor(uint8)": "uint8", "tensor(bool)": "bool", "tensor(float)": "float32"}


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    """The bundled model."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(BUNDLED), options, providers=["CPUExecutionProvider"])


def test_the_tables_name_every_input_and_output_with_its_type_and_rank(session: ort.InferenceSession):
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    told = {name: (kind, 0 if shape == "scalar" else len(shape.split(","))) for name, kind, shape in rows}
    nodes = [*session.get_inputs(), *session.get_overridable_initializers(), *session.get_outputs()]
    assert told == {node.name: (KINDS[node.type], len(node.shape)) for node in nodes}


def test_the_fields_of_the_card_that_it_names_are_there(session: ort.InferenceSession):
    card = json.loads(session.get_modelmeta().custom_metadata_map[CARD_KEY])
    part = PAGE.partition("## The card")[2].partition("```")[0]
    named = [
        word for row in re.findall(r"^\| (`.+?`) \|", part, re.MULTILINE) for word in re.findall(r"`([^`]+)`", row)
    ]
    assert len(named) >= 15
    for path in named:
        held = card
        for step in path.split("."):
            assert step in held, path
            held = held[step]


def test_the_constants_of_the_decision_are_the_rule_s():
    rule = Rule(0.5, 0.5)
    assert f"S ≥ {rule.alarm_at:g}" in PAGE
    assert f"e^(−dt/{rule.forget_s:g} s)" in PAGE
    assert f"−{rule.cap:g}, {rule.cap:g})" in PAGE


def test_the_entries_of_golden_pictures_have_the_fields_that_it_names(session: ort.InferenceSession):
    card = json.loads(session.get_modelmeta().custom_metadata_map[CARD_KEY])
    (row,) = re.findall(r"^\| `golden`, (.*)$", PAGE, re.MULTILINE)
    for kind, fields in (("golden", ["probabilities", "ood"]), ("golden_frames", ["size_wh", "bear"])):
        assert set(card[kind][0]) == {"png_base64", *fields}
        assert base64.b64decode(card[kind][0]["png_base64"]).startswith(b"\x89PNG")
        assert all(f"`{field}`" in row for field in ["png_base64", *fields])


def test_without_its_default_the_switch_is_an_input_that_must_be_given(session: ort.InferenceSession):
    assert [node.name for node in session.get_inputs()] == ["crops"]
    assert [node.name for node in session.get_overridable_initializers()] == ["scan"]
    data = BUNDLED.read_bytes()
    name = b"\x42\x04scan"  # field 8, four bytes
    assert data.count(name) == 1
    options = ort.SessionOptions()
    options.log_severity_level = 3
    changed = ort.InferenceSession(data.replace(name, b"\x42\x04____"), options, providers=["CPUExecutionProvider"])
    assert [node.name for node in changed.get_inputs()] == ["crops", "scan"]
    crops = np.full((1, 224, 224, 3), 90, np.uint8)
    for scan, output in ((False, "probabilities"), (True, "windows")):
        given = {"crops": crops, "scan": np.array(scan)}
        assert np.array_equal(changed.run([output], given)[0], session.run([output], given)[0])
    with pytest.raises(ValueError, match="scan"):
        changed.run(["probabilities"], {"crops": crops})


@pytest.mark.needs_tool("node")
def test_its_lines_of_javascript_read_the_card(tmp_path: Path, session: ort.InferenceSession):
    (lines,) = re.findall(r"^```js\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    code = lines + 'process.stdout.write(JSON.stringify(card(require("node:fs").readFileSync(process.argv[2]))));\n'
    (tmp_path / "card.cjs").write_text(code, encoding="utf-8")
    ran = subprocess.run(["node", tmp_path / "card.cjs", BUNDLED], capture_output=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == json.loads(session.get_modelmeta().custom_metadata_map[CARD_KEY])
    (tmp_path / "cut.onnx").write_bytes(BUNDLED.read_bytes()[:1_000_003])
    ran = subprocess.run(
        ["node", tmp_path / "card.cjs", tmp_path / "cut.onnx"], capture_output=True, check=False, timeout=60
    )
    assert ran.returncode != 0
