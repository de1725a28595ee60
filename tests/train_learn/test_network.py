"""Any network of timm's, with its own scale and size; weights from a file or the usual place, never a download."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")

from safetensors.torch import save_file

from edge.errors import OptionError
from train.learn.network import build, default_place, find_backbone, weights_file

SMALL = "mobilenetv3_small_050"


def test_a_timm_network_brings_its_own_scale_and_size() -> None:
    found = find_backbone("vit_tiny_patch16_384")
    assert (found.size, found.mean, found.timm_name) == (384, (0.5, 0.5, 0.5), "vit_tiny_patch16_384")
    assert find_backbone(SMALL).mean == pytest.approx((0.485, 0.456, 0.406))


def test_an_unknown_name_offers_others() -> None:
    with pytest.raises(OptionError, match=r"unknown backbone 'resnet19'; choose one of .* such as .*resnet1"):
        find_backbone("resnet19")


@pytest.mark.parametrize("name", ["mobilenetv2_050", "resnet10t", "efficientnet_lite0"])
def test_the_body_gives_what_the_last_layer_takes(name: str) -> None:
    body, head = build(find_backbone(name), pretrained=False, size=64)
    assert body.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, head.in_features)
    assert head.out_features == 1000


@pytest.mark.parametrize(("name", "size"), [(SMALL, 64), ("vit_tiny_patch16_224", 224), ("convnextv2_atto", 80)])
def test_a_network_that_the_frame_scan_cannot_use_is_refused_in_a_sentence(name: str, size: int) -> None:
    """One that works on after its pooling, one without a grid, one whose cells do not fit the size."""
    with pytest.raises(OptionError, match=rf"^{name}: its features .* which the frame scan needs; choose another"):
        build(find_backbone(name), pretrained=False, size=size)


def test_a_size_that_does_not_fit_is_a_sentence() -> None:
    with pytest.raises(OptionError, match=r"does not take pictures of 256 pixels .* give --image-size 224"):
        build(find_backbone("vit_tiny_patch16_224"), pretrained=False, size=256)


def test_weights_come_from_a_safetensors_file_and_must_be_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = timm.create_model(SMALL, pretrained=False)
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    _, head = build(find_backbone(SMALL), pretrained=True, weights=tmp_path / "own.safetensors")
    torch.testing.assert_close(head.weight, network.get_classifier().weight)
    save_file({"conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(OptionError, match=f"not the weights of {SMALL}"):
        build(find_backbone(SMALL), pretrained=True, weights=tmp_path / "other.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(OptionError, match="not a PyTorch weight file"):
        build(find_backbone(SMALL), pretrained=True, weights=tmp_path / "torn.safetensors")


def test_weights_that_the_hub_left_in_its_cache_are_found_and_missing_ones_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    backbone = find_backbone(SMALL)
    with pytest.raises(
        OptionError, match=rf"weights of {SMALL} are not .*huggingface.co/timm/{SMALL}.* --weights FILE"
    ):
        weights_file(backbone, None)
    [hub] = [f"models--{timm.get_pretrained_cfg(SMALL).hf_hub_id.replace('/', '--')}"]
    file = tmp_path / "hub" / hub / "snapshots" / "abc" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert default_place(backbone) == file
