"""Write a Learner as ONNX, with the preprocessing inside.

Input ``crops``: uint8 (N, H, W, 3) BGR, N, H and W dynamic, H and W multiples of 32. Outputs ``probabilities`` float32
(N, labels), temperature inside, and ``ood`` float32 (N,), both of the picture as a whole; and for the frame scan
``windows`` (N, K, labels), probabilities of the windows of the last feature map, and ``heat`` (N, H / 32, W / 32),
where bears are. These two are empty unless the optional input ``scan`` is true, so that crops do not cost more.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from edge.detect.card import CARD_KEY, CELL_PX, Card, FrameRule, input_format
from edge.detect.classifier import SCAN
from train.learn.inference import bear_direction, feature_map, window_features
from train.learn.network import Backbone, BearNet
from train.learn.ood import OodScore

OPSET = 18
FRAME_OUTPUTS = "windows", "heat"
MAX_CELLS = 128  # along a side of the feature map


class Deployed(nn.Module):
    """The network as the device runs it, from BGR bytes to probabilities."""

    def __init__(
        self,
        net: BearNet,
        backbone: Backbone,
        temperature: float,
        frame: FrameRule,
        ood_score: OodScore,
    ):
        super().__init__()
        self.net = copy.deepcopy(net)
        pad_constantly(self.net.body)
        self.ood_score, self.temperature, self.frame = ood_score, temperature, frame
        features = feature_map(self.net, torch.zeros(1, 3, CELL_PX, CELL_PX)).shape[1]
        self.register_buffer("bears", bear_direction(self.net, features)[None, :, None, None])  # (1, F, 1, 1)
        # (x / 255 - mean) / std as one multiplication and one addition
        std = torch.tensor(backbone.std)[:, None, None]
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -torch.tensor(backbone.mean)[:, None, None] / std)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return probabilities (N, L), ood (N,), windows (N, K, L), heat (N, h, w) of crops (N, H, W, 3) uint8 BGR."""
        rgb = crops.permute(0, 3, 1, 2).flip(1).float()
        features = feature_map(self.net, rgb * self.scale + self.shift)
        pooled = features.mean((2, 3))
        answer = torch.softmax(self.net.label_logits(self.net.heads(pooled)) / self.temperature, dim=1)
        windows = window_features(features, self.frame.windows)
        seen = self.net.label_logits(self.net.heads(windows.flatten(0, 1))) / self.frame.temperature
        scanned = torch.softmax(seen, dim=1).unflatten(0, (windows.shape[0], windows.shape[1]))
        return answer, self.ood_score(pooled), scanned, F.conv2d(features, self.bears)[:, 0]


def pad_constantly(body: nn.Module) -> None:
    """Give "same" convolutions constant padding, in place: equal for all sides that are multiples of 32."""
    for name, layer in body.named_children():
        if not isinstance(layer, Conv2dSame):
            pad_constantly(layer)
            continue
        pads: list[int] = []
        for kernel, stride, dilation in zip(layer.kernel_size, layer.stride, layer.dilation, strict=True):
            total = max((kernel - 1) * dilation + 1 - stride, 0)  # if the stride divides the side
            pads = [total // 2, total - total // 2, *pads]  # the last axis first, as torch takes them
        plain = nn.Conv2d(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, 0, layer.dilation, layer.groups,
            layer.bias is not None,
        )  # fmt: skip
        plain.load_state_dict(layer.state_dict())
        setattr(body, name, nn.Sequential(nn.ZeroPad2d(tuple(pads)), plain))


def export_graph(
    net: BearNet,
    backbone: Backbone,
    temperature: float,
    frame: FrameRule,
    path: Path,
    ood_score: OodScore,
) -> None:
    """Write the fp32 graph to ``path``, weights inside the file; ``ood_score`` makes its output ``ood`` (N,)."""
    deployed = Deployed(net, backbone, temperature, frame, ood_score).eval().to(memory_format=torch.contiguous_format)
    least = max(frame.windows)
    example = torch.randint(0, 255, (2, (least + 1) * CELL_PX, (least + 3) * CELL_PX, 3), dtype=torch.uint8)
    h, w = (torch.export.Dim(name, min=least, max=MAX_CELLS) for name in ("h", "w"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            external_data=False,
            dynamic_shapes={"crops": {0: torch.export.Dim("n", min=1, max=4096), 1: CELL_PX * h, 2: CELL_PX * w}},
            input_names=["crops"],
            output_names=["probabilities", "ood", *FRAME_OUTPUTS],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    _remove_traces(path)
    _branch_for_scan(path, len(net.labels))


def _branch_for_scan(path: Path, labels: int) -> None:
    """Move the frame scan's own nodes into a branch for the input ``scan``, which is false by default."""
    model = onnx.load(path)
    graph = model.graph
    makers = {output: number for number, node in enumerate(graph.node) for output in node.output}

    def behind(names: Iterator[str]) -> set[int]:
        found, waiting = set[int](), list(names)
        while waiting:
            number = makers.get(waiting.pop())
            if number is not None and number not in found:
                found.add(number)
                waiting += graph.node[number].input
        return found

    always = behind(output.name for output in graph.output if output.name not in FRAME_OUTPUTS)
    scanning = [graph.node[number] for number in sorted(behind(iter(FRAME_OUTPUTS)) - always)]
    inside = [helper.make_tensor_value_info(f"{name}_{SCAN}", TensorProto.FLOAT, None) for name in FRAME_OUTPUTS]
    for node in scanning:
        for n, output in enumerate(node.output):
            if output in FRAME_OUTPUTS:
                node.output[n] = f"{output}_{SCAN}"
    zeros = (numpy_helper.from_array(np.zeros(shape, np.float32)) for shape in ((0, 0, labels), (0, 0, 0)))
    nothing = [
        helper.make_node("Constant", [], [f"{name}_nothing"], value=value)
        for name, value in zip(FRAME_OUTPUTS, zeros, strict=True)
    ]
    empty = [helper.make_tensor_value_info(f"{name}_nothing", TensorProto.FLOAT, None) for name in FRAME_OUTPUTS]
    branch = helper.make_node(
        "If",
        [SCAN],
        list(FRAME_OUTPUTS),
        name="frame_scan",
        then_branch=helper.make_graph(scanning, "scanned", [], inside),
        else_branch=helper.make_graph(nothing, "crops_only", [], empty),
    )
    kept = [node for number, node in enumerate(graph.node) if number in always]
    del graph.node[:]
    graph.node.extend([*kept, branch])
    del graph.value_info[:]  # also of nodes that moved into the branch
    graph.input.append(helper.make_tensor_value_info(SCAN, TensorProto.BOOL, []))
    graph.initializer.append(numpy_helper.from_array(np.array(False), SCAN))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _remove_traces(path: Path) -> None:
    """Remove the exporter's notes on this machine (source paths, stack traces) from the file."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    onnx.save(model, path)


def put_card(path: Path, card: Card) -> None:
    """Write the card into the file's metadata, replacing an older one, and describe the file's input and outputs.

    Unused operator sets are removed: a runtime may refuse a file because of them.
    """
    model = onnx.load(path)
    model.graph.input[0].doc_string = takes = input_format(card.input_sizes)
    used = {"", *domains(model.graph), *(function.domain for function in model.functions)}
    kept_sets = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept_sets)
    kept = [(entry.key, entry.value) for entry in model.metadata_props if entry.key != CARD_KEY]
    onnx.helper.set_model_props(model, dict(kept) | {CARD_KEY: card.to_json()})
    model.producer_name, model.producer_version = "bear-alarm", card.tool_version
    model.doc_string = f"{takes}. Outputs: probabilities [N, {len(card.labels)}] ({', '.join(card.labels)}), ood [N]"
    model.doc_string += f"; where {SCAN} is true, windows [N, K, {len(card.labels)}] and heat [N, H / 32, W / 32] too."
    onnx.save(model, path)


def domains(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the operator domains of all nodes, also of those inside branches and loops."""
    for node in graph.node:
        yield "" if node.domain == "ai.onnx" else node.domain
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from domains(inner)
