"""A tiny model for tests: tiny.onnx (two kilobytes) tells bears by colour; each test puts its own card inside."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edge.detect.card import (
    CARD_KEY,
    Card,
    CropRule,
    FrameRule,
    GoldenFrame,
    GoldenVector,
    OutOfDomain,
    Parity,
    Threshold,
)
from edge.schema import Picture

TINY = Path(__file__).with_name("tiny.onnx")  # the network without a card; `build_with_onnx` made it
LABELS = ("brown_bear", "black_bear", "polar_bear", "teddy_bear", "no_bear")
SIZE = 32
FRAME = FrameRule((448,), (7, 5), 1.0)
# Mean blue, green, red (0 to 1) -> logits: red is a brown bear, blue a teddy, green none.
WEIGHTS = np.array([[0, 0, 0, 30, 0], [0, 0, 0, 0, 30], [30, 10, 5, 0, 0]], np.float32)

BEAR_COLOUR, TEDDY_COLOUR, NO_BEAR_COLOUR = (20, 20, 230), (230, 20, 20), (20, 230, 20)


def plain(colour: tuple[int, int, int], height: int = 90, width: int = 120) -> Picture:
    """A picture (height, width, 3) of one BGR colour."""
    return np.full((height, width, 3), colour, np.uint8)


def tiny_answer(crops: Picture) -> np.ndarray:
    """Return what the tiny network says of (N, H, W, 3), computed without it: probabilities (N, 5)."""
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
    # A golden frame of one colour: every window of it answers as a crop does.
    frame = GoldenFrame(golden[0].png_base64, (320, 256), sum(golden[0].probabilities[:3]))
    limit = Threshold(0.6, 0.9, 0.01, 20, 100, ("field",))
    return Card(
        card_version=2,
        name="tiny",
        labels=LABELS,
        alarm_labels=LABELS[:3],
        input_sizes=(SIZE,),
        crop=CropRule(1.2, True, "INTER_AREA", "INTER_LINEAR"),
        temperature=1.0,
        thresholds={"crop": limit, "frame": replace(limit, value=0.7)},
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
        frame=FRAME,
        golden_frames=(frame,),
    )


def older_card() -> Card:
    """The same as version 1 had it, without the frame scan."""
    return replace(tiny_card(), card_version=1, frame=None, golden_frames=())


def model_bytes(card: Card | None, *, text: str | None = None, weights: np.ndarray = WEIGHTS) -> bytes:
    """tests/helpers/tiny.onnx with other weights and with the card (or ``text`` in its place), made without onnx.

    An ONNX file is protobuf: the weights lie in it as they are in memory, and a field may be appended.
    """
    data = TINY.read_bytes()
    was, now = (part.astype("<f4").tobytes() for part in (WEIGHTS, weights))
    if weights.shape != WEIGHTS.shape or data.count(was) != 1:
        raise ValueError(f"tests/helpers/tiny.onnx must hold its weights {WEIGHTS.shape} once; given {weights.shape}")
    data = data.replace(was, now)
    carried = text if text is not None else card.to_json() if card else None
    if carried is None:
        return data
    entry = protobuf_field(1, CARD_KEY.encode()) + protobuf_field(
        2, carried.encode()
    )  # StringStringEntryProto: key, value
    return data + protobuf_field(14, entry)  # ModelProto.metadata_props


def protobuf_field(number: int, value: bytes) -> bytes:
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
    """Build the colour network of tiny.onnx again; needs onnx. ``python tests/helpers/tiny.py`` writes it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    answer = [
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceLogSumExp", ["logits", "last"], ["energy"], keepdims=0),
        helper.make_node("Neg", ["energy"], ["ood"]),
    ]
    nodes = [
        helper.make_node("Cast", ["crops"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["bytes"], kernel_shape=[SIZE, SIZE], strides=[SIZE, SIZE]),
        helper.make_node("Div", ["bytes", "full"], ["cells"]),
        helper.make_node("ReduceMean", ["cells", "axes"], ["mean"], keepdims=0),
        *answer,
    ]
    inside = []
    for k in FRAME.windows:
        inside.append(helper.make_node("AveragePool", ["cells"], [f"of{k}"], kernel_shape=[k, k]))
        inside.append(helper.make_node("Reshape", [f"of{k}", "flat"], [f"row{k}"]))
    inside += [
        helper.make_node("Concat", [f"row{k}" for k in FRAME.windows], ["rows"], axis=2),
        helper.make_node("Transpose", ["rows"], ["means"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["means", "weights"], ["scanned"]),
        helper.make_node("Softmax", ["scanned"], ["seen"], axis=2),
        helper.make_node("Split", ["cells"], ["blue", "green", "red"], axis=1, num_outputs=3),
        helper.make_node("Sub", ["red", "green"], ["redder"]),
        helper.make_node("Squeeze", ["redder", "last"], ["warm"]),
    ]
    none = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.zeros(shape, np.float32)))
        for name, shape in (("unseen", (0, 0, 5)), ("cold", (0, 0, 0)))
    ]

    def branch(nodes: list[onnx.NodeProto], *outputs: str) -> onnx.GraphProto:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        return helper.make_graph(nodes, outputs[0], [], values)

    nodes.append(
        helper.make_node(
            "If",
            ["scan"],
            ["windows", "heat"],
            then_branch=branch(inside, "seen", "warm"),
            else_branch=branch(none, "unseen", "cold"),
        )
    )
    constants = {
        "axes": np.array([2, 3], np.int64),
        "last": np.array([1], np.int64),
        "flat": np.array([0, 0, -1], np.int64),
        "full": np.array(255.0, np.float32),
        "weights": WEIGHTS,
        "scan": np.array(False),
    }
    shapes = {
        "probabilities": ["N", len(LABELS)],
        "ood": ["N"],
        "windows": ["N", "K", len(LABELS)],
        "heat": ["N", "h", "w"],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("crops", TensorProto.UINT8, ["N", "H", "W", 3]),
            helper.make_tensor_value_info("scan", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    TINY.write_bytes(build_with_onnx())
