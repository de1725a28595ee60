"""The network, its loss, and what calibration makes of its logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")

from torch import nn

from edge.errors import OptionError
from train.data.pictures import ALARM_LABELS, BEAR_ANY, LABELS, TRAINING_LABELS
from train.learn.augmentation import degrade
from train.learn.learner import BearLoss
from train.learn.network import BearNet, build, find_backbone, fold_batch_norms, interpolate_weights, load_weights
from train.metrics.calibration import (
    bear_probability,
    fit_frame_temperature,
    fit_temperature,
    fit_threshold,
    probabilities,
)
from train.metrics.rates import lowest_threshold


def small_net() -> BearNet:
    """A BearNet over three features."""
    torch.manual_seed(0)
    return BearNet(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(3, 1000), LABELS, ALARM_LABELS)


def test_labels_are_sums_of_imagenets_classes() -> None:
    net = small_net()
    raw = net(torch.randn(7, 3, 8, 8))
    p = torch.softmax(raw, 1)
    answer = torch.softmax(net.label_logits(raw), 1)
    torch.testing.assert_close(answer.sum(1), torch.ones(7))
    torch.testing.assert_close(answer[:, LABELS.index("black_bear")], p[:, 295] + p[:, 297])
    torch.testing.assert_close(answer[:, LABELS.index("teddy_bear")], p[:, 850])
    bears = p[:, 294:298].sum(1)
    torch.testing.assert_close(answer[:, net.alarm].sum(1), bears)
    torch.testing.assert_close(net.bear_logit(raw), torch.logit(bears), atol=1e-4, rtol=1e-4)


def test_what_is_surely_no_bear_has_a_finite_logit() -> None:
    raw = torch.full((1, 1000), -90.0)
    raw[0, 0] = 90.0
    assert torch.isfinite(small_net().bear_logit(raw)).all()


def test_a_bear_of_unknown_species_trains_by_the_sum() -> None:
    net = small_net()
    loss, raw = BearLoss(net, distill=0.0), torch.randn(3, 1000)
    got = loss(raw, torch.full((3,), TRAINING_LABELS.index(BEAR_ANY)))
    torch.testing.assert_close(got, -torch.log(torch.softmax(raw, 1)[:, 294:298].sum(1)).mean())


def test_distillation_is_nothing_where_nothing_changed() -> None:
    loss, raw = BearLoss(small_net(), distill=0.3), torch.randn(3, 1000)
    target = torch.zeros(3, dtype=torch.long)
    bare = loss(raw, target)
    loss.teacher = raw.clone()
    torch.testing.assert_close(loss(raw, target), bare)
    loss.teacher = raw + torch.randn(3, 1000)
    assert loss(raw, target) > bare


def test_folding_the_batch_norms_changes_no_answer() -> None:
    body, _ = build(find_backbone("efficientnet_lite0"), pretrained=True)
    pictures = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        before = body.eval()(pictures)
        fold_batch_norms(body)
        torch.testing.assert_close(body(pictures), before, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in body.modules())


def test_interpolation_ends_at_both_ends() -> None:
    new, old = nn.Linear(2, 2), nn.Linear(2, 2)
    before = new.weight.detach().clone()
    interpolate_weights(new, old, 0.0)
    torch.testing.assert_close(new.weight, before)
    interpolate_weights(new, old, 1.0)
    torch.testing.assert_close(new.weight, old.weight)


def test_imagenet_weights_come_from_the_wheel_and_know_bears() -> None:
    """Strict loading is the proof that the renaming is one to one."""
    body, head = build(find_backbone("efficientnet_lite0"), pretrained=True)
    assert head.weight.shape == (1000, 1280)
    assert sum(parameter.numel() for parameter in body.parameters()) > 3e6


def test_missing_weights_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OptionError, match=r"resnet18 are not on this machine; download .* --weights FILE"):
        load_weights(find_backbone("resnet18"), None)
    (tmp_path / "other.pth").write_bytes(b"")
    with pytest.raises(OptionError, match="not a PyTorch weight file"):
        load_weights(find_backbone("resnet18"), tmp_path / "other.pth")
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(OptionError, match="not the weights of resnet18"):
        build(find_backbone("resnet18"), pretrained=True, weights=tmp_path / "other.pth")
    with pytest.raises(OptionError, match="unknown backbone"):
        find_backbone("vgg")


def test_temperature_finds_the_right_softness() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5))
    p = probabilities(logits, 1.0)
    labels = [LABELS[rng.choice(5, p=row)] for row in p]
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.15)
    assert fit_temperature(logits * 3, labels) == pytest.approx(3.0, abs=0.4)


def test_the_frame_temperature_goes_by_bear_or_none_whatever_the_species() -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 2, 4000)
    bears = rng.random(4000) < 1 / (1 + np.exp(-odds))
    logits = np.full((4000, len(LABELS)), -30.0)
    logits[np.arange(4000), rng.integers(0, 3, 4000)], logits[:, LABELS.index("no_bear")] = odds, 0.0
    assert fit_frame_temperature(logits, bears) == pytest.approx(1.0, abs=0.15)
    assert fit_frame_temperature(logits * 3, bears) == pytest.approx(3.0, abs=0.4)


def test_temperature_is_that_of_the_crops_as_often_as_they_come() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6000, 5)) + np.array([0, 0, 0, 0, 5.0])  # bears are rare, and known to be
    p = probabilities(logits, 1.0)
    labels = [LABELS[rng.choice(5, p=row)] for row in p]
    assert fit_temperature(logits, labels) == pytest.approx(1.0, abs=0.08)


def test_threshold_keeps_its_promise() -> None:
    rng = np.random.default_rng(1)
    bears = np.arange(1000) < 300
    score = np.where(bears, rng.beta(6, 2, 1000), rng.beta(2, 6, 1000))
    found = fit_threshold(score, bears, 0.01, ["b", "a", "b"])
    assert found.false_positive_rate <= 0.01
    assert (score[~bears] >= found.value - 0.02).mean() > 0.01  # and it is the lowest that does
    assert (found.n_bear, found.n_no_bear, found.sources) == (300, 700, ("a", "b"))


def test_threshold_goes_into_the_middle_of_a_gap() -> None:
    score = np.concatenate([np.full(100, 0.9), np.full(100, 0.1)])
    found = fit_threshold(score, np.arange(200) < 100, 0.01, ["a"])
    assert found.value == pytest.approx(0.5, abs=0.01)
    assert (found.recall, found.false_positive_rate) == (1.0, 0.0)


def test_threshold_goes_towards_the_bears_it_finds_whatever_it_misses() -> None:
    score, bears = np.array([0.9, 0.9, 0.01, 0.1, 0.1, 0.1]), np.arange(6) < 3
    limits = [fit_threshold(score, bears, 0.01, ["a"], of_found=found).value for found in (False, True)]
    assert limits == [pytest.approx(0.1, abs=0.01), pytest.approx(0.5, abs=0.01)]


@pytest.mark.parametrize(("allowed", "passed"), [(0, 0), (1, 1), (3, 1), (4, 4), (6, 6)])
def test_the_lowest_threshold_lets_through_no_more_than_allowed(allowed: int, passed: int) -> None:
    others = np.array([0.1, 0.2, 0.5, 0.5, 0.5, 0.9])
    score, bears = np.concatenate([others, [0.3]]), np.arange(7) == 6
    assert (others >= lowest_threshold(score, bears, allowed)).sum() == passed


def test_bear_probability_sums_the_alarm_labels() -> None:
    rows = np.array([[0.2, 0.3, 0.1, 0.25, 0.15]])
    assert bear_probability(rows) == pytest.approx([0.6])


def test_degraded_crops_are_seeded_pictures() -> None:
    crop = np.random.default_rng(0).integers(0, 255, (224, 224, 3), np.uint8)
    for seed in range(40):
        one = degrade(crop, np.random.default_rng(seed))
        assert one.shape == crop.shape
        assert one.dtype == np.uint8
        np.testing.assert_array_equal(one, degrade(crop, np.random.default_rng(seed)))
