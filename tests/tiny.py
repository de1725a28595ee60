"""A tiny model for tests: tests/tiny.onnx (520 bytes) tells bears by colour; each test puts its own card inside."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edge.card import CARD_KEY, Card, CropRule, GoldenVector, OutOfDomain, Parity, Threshold
from edge.schema import Picture

TINY = Path(__file__).with_name("tiny.onnx")  # the network without a card; `build_with_onnx` made it
LABELS = ("brown_bear", "black_bear", "polar_bear", "teddy_bear", "no_bear")
SIZE = 32
# Mean blue, green, red (0 to 1) -> logits: red is a brown bear, blue a teddy, green none.
WEIGHTS = np.array([[0, 0, 0, 30, 0], [0, 0, 0, 0, 30], [30, 10, 5, 0, 0]], np.float32)

BEAR_COLOUR, TEDDY_COLOUR, NO_BEAR_COLOUR = (20, 20, 230), (230, 20, 20), (20, 230, 20)


def plain(colour: tuple[int, int, int], height: int = 90, width: int = 120) -> Picture:
    """A picture (height, width, 3) of one BGR colour."""
    return np.full((height, width, 3), colour, np.uint8)


def tiny_answer(crops: Picture) -> np.ndarray:
    """What the tiny network says of (N, H, W, 3), computed without it: probabilities (N, 5)."""
    logits = crops.astype(np.float32).mean((1, 2)) / 255 @ WEIGHTS
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def tiny_card() -> Card:
    """A card the tiny network fulfils."""
    golden = []
    for colour in (BEAR_COLOUR, NO_BEAR_COLOUR):
        crop = plain(colour, SIZE, SIZE)
        png = cv2.imencode(".png", crop)[1].tobytes()
        answer = tuple(float(p) for p in tiny_answer(crop[None])[0])
        golden.append(GoldenVector(base64.b64encode(png).decode(), answer, 0.0))
    limit = Threshold(0.6, 0.9, 0.01, 20, 100, ("field",))
    return Card(
        card_version=1,
        name="tiny",
        labels=LABELS,
        alarm_labels=LABELS[:3],
        input_sizes=(SIZE,),
        crop=CropRule(1.2, True, "INTER_AREA", "INTER_LINEAR"),
        temperature=1.0,
        thresholds={"crop": limit, "still": replace(limit, value=0.7)},
        prior=0.2,
        ood=OutOfDomain("energy", 5.0, 0.99),
        backbone="colours",
        precision="fp32",
        quantization=None,
        parity=Parity(2000, 100, ("field",), 1e-6),
        digests={"table": "0" * 64, "split": "1" * 64},
        counts_by_source={"field": 120},
        counts_by_licence={"CC0": 120},
        licence="CC0",
        notice="For tests only.",
        golden=tuple(golden),
        golden_tolerance=0.02,
        created="2026-01-01T00:00:00Z",
        tool_version="0.1.0",
    )


def model_bytes(card: Card | None, *, text: str | None = None, weights: np.ndarray = WEIGHTS) -> bytes:
    """tests/tiny.onnx with other weights and with the card (or ``text`` in its place), made without onnx.

    An ONNX file is protobuf: the weights lie in it as they are in memory, and a field may be appended.
    """
    data = TINY.read_bytes()
    was, now = (part.astype("<f4").tobytes() for part in (WEIGHTS, weights))
    if weights.shape != WEIGHTS.shape or data.count(was) != 1:
        raise ValueError(f"tests/tiny.onnx must hold its weights {WEIGHTS.shape} once; given {weights.shape}")
    data = data.replace(was, now)
    carried = text if text is not None else card.to_json() if card else None
    if carried is None:
        return data
    entry = _field(1, CARD_KEY.encode()) + _field(2, carried.encode())  # StringStringEntryProto: key, value
    return data + _field(14, entry)  # ModelProto.metadata_props


def _field(number: int, value: bytes) -> bytes:
    """A protobuf field of bytes: its number and kind, its length, itself."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def write_tiny_model(path: Path, card: Card | None, *, text: str | None = None, weights: np.ndarray = WEIGHTS) -> Path:
    """``model_bytes`` in a file."""
    path.write_bytes(model_bytes(card, text=text, weights=weights))
    return path


def build_with_onnx() -> bytes:
    """The colour network as tests/tiny.onnx holds it, built anew; needs onnx. ``python tests/tiny.py`` writes it."""
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "full"], ["share"]),
        helper.make_node("MatMul", ["share", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceLogSumExp", ["logits", "last"], ["energy"], keepdims=0),
        helper.make_node("Neg", ["energy"], ["ood"]),
    ]
    constants = {
        "axes": np.array([1, 2], np.int64),
        "last": np.array([1], np.int64),
        "full": np.array(255.0, np.float32),
        "weights": WEIGHTS,
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(LABELS)]),
            helper.make_tensor_value_info("ood", TensorProto.FLOAT, ["N"]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    TINY.write_bytes(build_with_onnx())
