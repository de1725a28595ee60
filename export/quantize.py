"""fp32 ONNX + calibration crops -> int8, static QDQ, per channel.

Weights int8 per output channel, activations uint8; pooling, both heads and everything after them
stay in float (quantizing Softmax puts sums off by up to 0.26). The heads' weights are only stored
as int8, which keeps the file small.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

RECIPE = (
    "static QDQ, MinMax; body: per-channel int8 weights, uint8 activations (U8S8); "
    "pooling, heads and softmax computed in float, large head weights stored as per-row int8"
)
CALIBRATION_BATCH = 16
LARGE_HEAD = 100_000  # weights; smaller heads are not worth storing in int8


class CropReader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds uint8 crops (N, size, size, 3) to the calibrator, a batch at a time."""

    def __init__(self, crops: NDArray[np.uint8]):
        self._batches: Iterator[dict[str, NDArray[np.uint8]]] = iter(
            {"crops": crops[start : start + CALIBRATION_BATCH]} for start in range(0, len(crops), CALIBRATION_BATCH)
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch, None at the end."""
        return next(self._batches, None)


def quantize(source: Path, target: Path, crops: NDArray[np.uint8]) -> None:
    """Write the int8 version of ``source`` to ``target``, calibrated on ``crops``."""
    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
    root, level = logging.getLogger(), logging.getLogger().level
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        root.setLevel(logging.ERROR)  # the quantizer speaks through the root logger
        try:
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(target),
                CropReader(crops),
                quant_format=QuantFormat.QDQ,
                nodes_to_quantize=_body_nodes(prepared),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        finally:
            root.setLevel(level)
    _shrink_heads(target)


def _body_nodes(path: Path) -> list[str]:
    """The body's convolutions, residual additions and activations, up to the last of them."""
    nodes = list(onnx.load(path).graph.node)
    first = next(n for n, node in enumerate(nodes) if node.op_type == "Conv")
    last = max(n for n, node in enumerate(nodes) if node.op_type in ("Conv", "Clip", "Relu"))
    kinds = ("Conv", "Add", "Clip", "Relu", "MaxPool")
    return [node.name for node in nodes[first : last + 1] if node.op_type in kinds]


def _shrink_heads(path: Path) -> None:
    """Store large fully connected weights as int8 with a scale a row; the product stays in float."""
    model = onnx.load(path)
    graph = model.graph
    stored = {initializer.name: initializer for initializer in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Gemm" and node.input[1] in stored]:
        initializer = stored[node.input[1]]
        weights = numpy_helper.to_array(initializer)  # (rows, features)
        if weights.size < LARGE_HEAD:
            continue
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
