"""Quantize an fp32 ONNX file to int8 with calibration crops and frames: static QDQ, per channel.

Weights int8 per output channel, activations uint8. Pooling, the head and everything after it stay in float: quantizing
Softmax changes sums by up to 0.26. The heads' weights are only stored as int8, which keeps the file small.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edge.schema import Picture

FLOAT = 3  # convolutions, from the input on, that stay in float: there int8 costs most accuracy and saves no time
AVERAGED = 0.1  # weight of each batch in the average of the ranges; the widest range would be an outlier's
RECIPE = (
    f"static QDQ, MinMax averaged over batches; body after its first {FLOAT} convolutions: per-channel int8 weights, "
    "uint8 activations (U8S8); pooling, heads and softmax computed in float, head weights stored as per-row int8"
)
CALIBRATION_BATCH = 16


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives the calibrator uint8 crops (N, size, size, 3) in batches, each with some frames (H, W, 3)."""

    def __init__(self, crops: NDArray[np.uint8], frames: Sequence[Picture]):
        batches = [crops[start : start + CALIBRATION_BATCH] for start in range(0, len(crops), CALIBRATION_BATCH)]
        mixed = list[NDArray[np.uint8]]()
        for number, batch in enumerate(batches):
            mixed += [batch, *(frame[None] for frame in frames[number :: len(batches)])]
        self._batches: Iterator[dict[str, NDArray[np.uint8]]] = iter([{"crops": batch} for batch in mixed])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next batch, None at the end."""
        return next(self._batches, None)


def quantize(source: Path, target: Path, crops: NDArray[np.uint8], frames: Sequence[Picture] = ()) -> None:
    """Write the int8 version of ``source`` to ``target``, calibrated on crops and on frames of the frame scan.

    The frame scan's own nodes are in a branch, and stay in float.
    """
    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
    root, level = logging.getLogger(), logging.getLogger().level
    onnxruntime.set_default_logger_severity(3)  # it warns of every optional setting
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        root.setLevel(logging.ERROR)  # the quantizer uses the root logger
        try:
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            _name_branch_inputs(prepared)
            quantize_static(
                str(prepared),
                str(target),
                Reader(crops, frames),
                quant_format=QuantFormat.QDQ,
                nodes_to_quantize=_body_nodes(prepared),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"CalibMovingAverage": True, "CalibMovingAverageConstant": AVERAGED},
            )
        finally:
            root.setLevel(level)
            onnxruntime.set_default_logger_severity(2)
    _shrink_heads(target)


def _name_branch_inputs(path: Path) -> None:
    """Give branches their inputs from the graph under separate names.

    The quantizer removes an activation, renames its output, and does not change branches.
    """
    model = onnx.load(path)
    graph = model.graph
    made = {output for node in graph.node for output in node.output}
    for number, branch in reversed([each for each in enumerate(graph.node) if each[1].op_type == "If"]):
        held: dict[str, str] = {}
        for node in (node for attribute in branch.attribute for node in attribute.g.node):
            for n, name in enumerate(node.input):
                if name in made:
                    node.input[n] = held.setdefault(name, f"{name}_for_{branch.name}")
        for name, own in held.items():
            graph.node.insert(number, onnx.helper.make_node("Identity", [name], [own], name=own))
    onnx.save(model, path)


def _body_nodes(path: Path) -> list[str]:
    """Return the names of the body's convolutions, additions and activations, after the first ``FLOAT``."""
    nodes = list(onnx.load(path).graph.node)
    kinds = ("Conv", "Add", "Clip", "Relu", "MaxPool")
    convolutions = [n for n, node in enumerate(nodes) if node.op_type == "Conv"]
    first, last = convolutions[min(FLOAT, len(convolutions) - 1)], convolutions[-1]
    while nodes[last + 1].op_type in kinds:
        last += 1
    return [node.name for node in nodes[first : last + 1] if node.op_type in kinds]


def _shrink_heads(path: Path) -> None:
    """Store fully connected weights as int8 with a scale a row; the product stays in float."""
    model = onnx.load(path)
    graph = model.graph
    # The quantizer sorts the nodes without regard to branches.
    branches_last = sorted(graph.node, key=lambda node: node.op_type == "If")
    del graph.node[:]
    graph.node.extend(branches_last)
    stored = {initializer.name: initializer for initializer in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Gemm" and node.input[1] in stored]:
        initializer = stored[node.input[1]]
        weights = numpy_helper.to_array(initializer)  # (rows, features)
        scale = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
        name = initializer.name
        graph.initializer.remove(initializer)
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.round(weights / scale[:, None]).astype(np.int8), f"{name}_int8"),
                numpy_helper.from_array(scale, f"{name}_scale"),
                numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero"),
            ]
        )
        restore = onnx.helper.make_node(
            "DequantizeLinear",
            [f"{name}_int8", f"{name}_scale", f"{name}_zero"],
            [name],
            name=f"{name}_restore",
            axis=0,
        )
        graph.node.insert(0, restore)
    onnx.checker.check_model(model)
    onnx.save(model, path)
