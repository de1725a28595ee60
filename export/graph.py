"""Learner -> ONNX with the preprocessing inside.

Input ``crops``: uint8 (N, size, size, 3) BGR, N dynamic. Outputs ``probabilities`` float32 (N, labels),
temperature inside, and ``ood`` float32 (N,).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from edge.card import CARD_KEY, Card, input_format
from train.learning.backbones import Backbone
from train.learning.network import BearNet
from train.ood.methods import Energy

OPSET = 18


class Deployed(nn.Module):
    """The network as the device runs it, from BGR bytes to probabilities."""

    def __init__(self, net: BearNet, backbone: Backbone, temperature: float, strange: nn.Module | None = None):
        super().__init__()
        self.net = net
        self.strange = strange or Energy()
        self.temperature = temperature
        # (x / 255 - mean) / std as one multiplication and one addition
        std = torch.tensor(backbone.std)[:, None, None]
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -torch.tensor(backbone.mean)[:, None, None] / std)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (N, L) and ood (N,) of uint8 crops (N, H, W, 3) BGR."""
        rgb = crops.permute(0, 3, 1, 2).flip(1).float()
        pooled = self.net.body(rgb * self.scale + self.shift)
        raw = self.net.heads(pooled)
        answer = torch.softmax(self.net.label_logits(raw) / self.temperature, dim=1)
        return answer, self.strange(pooled, self.net.energy(raw))


def export_graph(
    net: BearNet, backbone: Backbone, temperature: float, size: int, path: Path, strange: nn.Module | None = None
) -> None:
    """Write the fp32 graph to ``path``, weights inside the file.

    ``strange`` maps pooled features (N, F) and energies (N,) to the output ``ood`` (N,) (``train.ood.methods``);
    left out, it is the energy.
    """
    deployed = Deployed(net, backbone, temperature, strange).eval().to(memory_format=torch.contiguous_format)
    example = torch.randint(0, 255, (2, size, size, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            external_data=False,
            dynamic_shapes={"crops": {0: torch.export.Dim("n", min=1, max=4096)}},
            input_names=["crops"],
            output_names=["probabilities", "ood"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    _without_traces(path)


def _without_traces(path: Path) -> None:
    """Drop what the exporter notes of this machine (source paths, stack traces) from the file."""
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
    """Write the card into the file's metadata, in place of any it had, and what the file takes beside its input.

    Operator sets that no node uses are dropped: another runtime may refuse a file for naming them.
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
    model.doc_string = f"{takes}. Outputs: probabilities [N, {len(card.labels)}] ({', '.join(card.labels)}), ood [N]."
    onnx.save(model, path)


def domains(graph: onnx.GraphProto) -> Iterator[str]:
    """The operator domains of all nodes, those inside of branches and loops included."""
    for node in graph.node:
        yield "" if node.domain == "ai.onnx" else node.domain
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from domains(inner)
