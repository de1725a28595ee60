"""The exported graph answers as the network does, also the out-of-domain score; int8 leaves that part in float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("timm")

from timm.layers import Conv2dSame
from torch import Tensor, nn

from edge.detect.card import FrameRule
from edge.detect.classifier import SCAN
from export.describe import answers
from export.graph import domains, export_graph, pad_constantly, put_card
from export.quantize import quantize
from export.verify import scan_of_file, session_of
from tests.helpers.tiny import tiny_card
from train.data.pictures import ALARM_LABELS, LABELS
from train.learn.inference import ask_crops, ask_frame
from train.learn.network import BearNet, build, find_backbone
from train.learn.ood import OodScore, draw_bank, pooled_features
from train.metrics.calibration import probabilities

SIZE, WIDE = 64, 256
BACKBONE = find_backbone("efficientnet_lite0")


FRAME = FrameRule((128,), (3, 2), 1.7)


class SmallBody(nn.Sequential):
    """Two convolutions, 32 pixels a cell; the mean of the cells."""

    def __init__(self, wide: int):
        super().__init__(
            nn.Conv2d(3, 8, 4, stride=4), nn.ReLU6(), Conv2dSame(8, wide, 9, stride=8, padding="same"), nn.ReLU6()
        )

    def forward_features(self, pictures: Tensor) -> Tensor:
        """The map of features."""
        found: Tensor = super().forward(pictures)
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        """The pooled features."""
        return self.forward_features(pictures).mean((2, 3))


@pytest.fixture(scope="module")
def net() -> BearNet:
    """A body of two convolutions and a head."""
    torch.manual_seed(1)
    return BearNet(SmallBody(WIDE), nn.Linear(WIDE, 1000), LABELS, ALARM_LABELS).eval()


def crops(count: int, seed: int) -> np.ndarray:
    """Uint8 crops (N, SIZE, SIZE, 3) of coloured patches."""
    coarse = np.random.default_rng(seed).integers(0, 255, (count, 4, 4, 3), np.uint8)
    return coarse.repeat(SIZE // 4, 1).repeat(SIZE // 4, 2)


@pytest.fixture(scope="module")
def score(net: BearNet) -> OodScore:
    """The out-of-domain score of some crops."""
    return draw_bank(pooled_features(net, BACKBONE, crops(600, 0)))


@pytest.fixture(scope="module")
def file(net: BearNet, score: OodScore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An fp32 graph."""
    path = tmp_path_factory.mktemp("graphs") / "fp32.onnx"
    export_graph(net, BACKBONE, 1.3, FRAME, path, score)
    return path


@pytest.mark.parametrize("count", [1, 7])
def test_the_graph_answers_as_the_network_does(net: BearNet, score: OodScore, file: Path, count: int) -> None:
    shown = crops(count, 5)
    p, ood = answers(file, shown)
    np.testing.assert_allclose(p, probabilities(ask_crops(net, BACKBONE, shown), 1.3), atol=1e-5)
    assert ood.dtype == np.float32
    assert ood.shape == (count,)
    np.testing.assert_allclose(ood, score(pooled_features(net, BACKBONE, shown)).numpy(), atol=2e-3)
    assert len(set(ood.tolist())) == count  # never a constant


def test_the_file_states_what_it_takes_and_names_no_operators_it_does_not_use(file: Path, tmp_path: Path) -> None:
    int8 = tmp_path / "int8.onnx"
    quantize(file, int8, crops(64, 2))
    named = {opset.domain for opset in onnx.load(int8).opset_import}
    assert len(named) > 1  # what the quantizer adds, else this shows nothing
    before, _ = answers(int8, crops(4, 3))
    put_card(int8, tiny_card())
    model = onnx.load(int8)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} == {""} | {node.domain for node in model.graph.node}
    for words in (model.graph.input[0].doc_string, model.doc_string):
        assert all(fact in words for fact in ("uint8", "NHWC", "BGR"))
    np.testing.assert_array_equal(answers(int8, crops(4, 3))[0], before)


def reference(net: BearNet, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the windows and the map of one frame (H, W, 3) are by hand: each window's crop of the map, averaged."""
    pixels = torch.from_numpy(frame[None, ..., ::-1].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        cells = net.body.forward_features(pixels)[0]
        h, w = cells.shape[1:]
        means = [
            cells[:, y : y + k, x : x + k].mean((1, 2))
            for k in FRAME.windows
            for y in range(h - k + 1)
            for x in range(w - k + 1)
        ]
        logits = net.label_logits(net.heads(torch.stack(means))).numpy()
        weights, bears = net.head.weight, net.sums[:, net.alarm].any(1)
        direction = weights[bears].mean(0) - weights[~bears].mean(0)
        return probabilities(logits, FRAME.temperature), torch.einsum("fhw,f->hw", cells, direction).numpy()


@pytest.mark.parametrize("size_hw", [(96, 128), (128, 96), (160, 224)])
def test_the_frame_scan_answers_as_the_network_does_window_by_window(net: BearNet, file: Path, size_hw: tuple) -> None:
    session = session_of(file)
    frame = np.random.default_rng(3).integers(0, 255, (*size_hw, 3), np.uint8)
    windows, heat, ood = session.run(["windows", "heat", "ood"], {"crops": frame[None], SCAN: np.array(True)})
    expected, cells = reference(net, frame)
    np.testing.assert_allclose(windows[0], expected, atol=1e-5)
    np.testing.assert_allclose(heat[0], cells, atol=1e-4)
    assert ood.shape == (1,)
    logits, own = ask_frame(net, BACKBONE, frame, FRAME.windows)
    np.testing.assert_allclose(probabilities(logits, FRAME.temperature), expected, atol=1e-5)
    np.testing.assert_allclose(own, cells, atol=1e-4)


def test_crops_do_not_pay_for_windows_nor_need_room_for_them(file: Path) -> None:
    session = session_of(file)
    assert [each.name for each in session.get_inputs()] == ["crops"]  # the switch need not be given
    windows, heat = session.run(["windows", "heat"], {"crops": crops(2, 1)})  # 2 x 2 cells: no window of 3
    assert (windows.size, heat.size) == (0, 0)


def test_int8_keeps_the_frame_scan_and_its_windows_in_float(file: Path, tmp_path: Path) -> None:
    frames = [np.random.default_rng(n).integers(0, 255, (96, 128, 3), np.uint8) for n in range(20)]
    quantize(file, tmp_path / "int8.onnx", crops(64, 2), frames)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    [branch] = [node for node in graph.node if node.op_type == "If"]
    inside = [node.op_type for attribute in branch.attribute for node in attribute.g.node]
    assert "AveragePool" in inside
    assert not {"QuantizeLinear"} & set(inside)
    exact, coarse = (
        np.concatenate([scan_of_file(path)(frame) for frame in frames]) for path in (file, tmp_path / "int8.onnx")
    )
    assert np.abs(exact - coarse).max() < 0.1
    assert np.corrcoef(exact[:, 0], coarse[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("size_wh", [(224, 224), (448, 256), (640, 384)])
def test_constant_pads_are_timms_same_pads_where_sides_are_multiples_of_32(size_wh: tuple[int, int]) -> None:
    body, _ = build(BACKBONE, pretrained=False)
    picture = torch.randn(1, 3, size_wh[1], size_wh[0])
    with torch.no_grad():
        before = body.eval().forward_features(picture)
        pad_constantly(body)
        after = body.forward_features(picture)
    assert not any(isinstance(layer, Conv2dSame) for layer in body.modules())
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def test_operators_inside_a_branch_count_as_used() -> None:
    inside = onnx.helper.make_graph(
        [onnx.helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], "then", [], []
    )
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inside, else_branch=inside)
    assert set(domains(onnx.helper.make_graph([node], "g", [], []))) == {"", "com.microsoft"}


def test_int8_computes_the_out_of_domain_score_in_float(file: Path, tmp_path: Path) -> None:
    quantize(file, tmp_path / "int8.onnx", crops(64, 2))
    graph = onnx.load(tmp_path / "int8.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert "QuantizeLinear" in kinds
    # Nothing is quantized on the way from the pooled features to the output.
    makers = {output: node for node in graph.node for output in node.output}
    waiting, way = ["ood"], []
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.op_type not in {"ReduceMean", "GlobalAveragePool"}:
            way.append(node.op_type)
            waiting += node.input
    assert {"Sqrt", "Gemm"} <= set(way)
    assert "QuantizeLinear" not in way
    shown = crops(200, 3)
    exact, coarse = (answers(path, shown)[1] for path in (file, tmp_path / "int8.onnx"))
    assert np.corrcoef(exact, coarse)[0, 1] > 0.9


def test_the_neighbours_are_stored_small(score: OodScore, file: Path, tmp_path: Path) -> None:
    quantize(file, tmp_path / "int8.onnx", crops(64, 2))
    bank = score.far.weight
    stored = [onnx.numpy_helper.to_array(each) for each in onnx.load(tmp_path / "int8.onnx").graph.initializer]
    assert any(each.dtype == np.int8 and each.shape == tuple(bank.shape) for each in stored)
    assert not any(each.dtype == np.float32 and each.shape == tuple(bank.shape) for each in stored)
