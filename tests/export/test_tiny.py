"""The tests' tiny model is committed as a file, so that the device's tests need no onnx; here it is built again."""

from __future__ import annotations

import pytest

from edge.detect.card import CARD_KEY
from tests.helpers.tiny import build_with_onnx, model_bytes, tiny_card

onnx = pytest.importorskip("onnx")


def test_the_committed_network_is_the_one_that_onnx_builds():
    built, committed = onnx.load_from_string(build_with_onnx()), onnx.load_from_string(model_bytes(None))
    assert committed.graph == built.graph


def test_a_card_put_in_by_hand_is_read_by_onnx():
    carrying = onnx.load_from_string(model_bytes(tiny_card()))
    onnx.checker.check_model(carrying)
    assert {entry.key: entry.value for entry in carrying.metadata_props} == {CARD_KEY: tiny_card().to_json()}
