"""A small training, start to end: what ImageNet knew is kept."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")
pytest.importorskip("timm")

from fastai.callback.core import Callback
from torch import nn

from train.data.pictures import Picture
from train.learn import callbacks
from train.learn.dataloaders import make_dataloaders
from train.learn.learner import seed_everything, train_learner
from train.learn.network import BACKBONES, fold_batch_norms
from train.learn.recipe import Recipe

BACKBONE = BACKBONES["efficientnet_lite0"]
RECIPE = Recipe(size=32, batch=4, per_epoch=16, epochs=2, frozen=0.0, untouched=0.0, degraded=0.0, zoom_out=0.0)
RED, BLUE = (30, 30, 200), (200, 30, 30)  # BGR


class Look(Callback):
    """Keeps what a training does batch by batch; is in the progress bar's place."""

    order = 11  # before the average is taken over

    def __init__(self) -> None:
        self.asked: list[bool] = []  # whether the untouched network answered, of each batch
        self.last: Any = None  # the head's weights before the average is taken

    def after_batch(self) -> None:
        """Note whether the untouched network answered for it."""
        if self.training:
            self.asked.append(self.learn.loss_func.teacher is not None)

    def after_fit(self) -> None:
        """The weights as the last step left them."""
        self.last = self.model.head.weight.detach().clone()


class Body(nn.Module):
    """Pictures (N, 3, H, W) -> features (N, 8): a convolution with a batch norm, and another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.BatchNorm2d(8)
        nn.init.constant_(self.norm.running_mean, 0.3)
        self.second = nn.Conv2d(8, 8, 9, stride=8, padding=4)

    def forward_features(self, pictures: Any) -> Any:
        """(N, 8, H / 32, W / 32)."""
        return torch.relu(self.second(torch.relu(self.norm(self.first(pictures)))))

    def forward(self, pictures: Any) -> Any:
        """(N, 8)."""
        return self.forward_features(pictures).mean(dim=(2, 3))


@pytest.fixture
def rows(tmp_path: Path) -> list[Picture]:
    """Red bears, and others red and blue."""
    found = []
    rng = np.random.default_rng(0)
    for n, (label, colour) in enumerate([("brown_bear", RED), ("no_bear", BLUE), ("no_bear", RED)] * 4):
        file = tmp_path / f"{n}.png"
        cv2.imwrite(str(file), np.clip(colour + rng.normal(0, 20, (40, 40, 3)), 0, 255).astype(np.uint8))
        found.append(Picture(file, label, f"camera{n % 2}", ""))
    return found


def trained(rows: Sequence[Picture], **changes: Any) -> tuple[Look, Any, Any]:
    """A training that was watched, its network, and the one it began with."""
    recipe = replace(RECIPE, **changes)
    seed_everything(recipe.seed)
    body, head, look = Body(), nn.Linear(8, 1000), Look()
    before = copy.deepcopy(nn.ModuleList([body, head]))
    dls = make_dataloaders(rows, rows, BACKBONE, recipe)
    learn = train_learner(dls, body, head, recipe, BACKBONE, look, [])
    return look, learn.model, before


def test_from_scratch_the_batch_norms_learn_and_pretrained_they_are_folded(rows: list[Picture]) -> None:
    _, scratch, _ = trained(rows, pretrained=False)
    assert not bool((scratch.body.norm.running_mean == 0.3).all())
    _, known, _ = trained(rows)
    assert isinstance(known.body.norm, nn.Identity)


@pytest.mark.parametrize("distill", [0.3, 0.0])
def test_the_untouched_network_answers_every_batch(rows: list[Picture], distill: float) -> None:
    look, _, _ = trained(rows, distill=distill)
    assert look.asked == [distill > 0] * 8


def test_the_untouched_network_sees_crops_before_the_field_gets_at_them(
    rows: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "degrade", lambda image, rng: np.zeros_like(image))  # black
    seen: list[list[float]] = []
    first = Body.forward

    def forward(body: Body, pictures: Any) -> Any:
        seen.append([float(pictures.amax()), torch.is_grad_enabled()])
        return first(body, pictures)

    monkeypatch.setattr(Body, "forward", forward)
    trained(rows, degraded=1.0, epochs=1)
    taught = next(brightest for brightest, learning in seen if not learning)
    learned = next(brightest for brightest, learning in seen if learning)
    assert taught > 0
    assert learned < -0.9  # what black is, normalised


def test_the_weights_that_are_kept_are_an_average(rows: list[Picture]) -> None:
    look, net, _ = trained(rows)
    assert not torch.allclose(net.head.weight.detach(), look.last, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("untouched", "same"), [(1.0, True), (0.0, False)])
def test_training_goes_part_of_the_way_back(rows: list[Picture], untouched: float, same: bool) -> None:
    _, net, (_, head) = trained(rows, untouched=untouched)
    assert torch.allclose(net.head.weight, head.weight) == same


def test_the_first_convolutions_stay(rows: list[Picture]) -> None:
    _, net, (body, _) = trained(rows, pretrained=True, frozen=0.5, untouched=0.0)
    fold_batch_norms(body.eval())
    torch.testing.assert_close(net.body.first.weight, body.first.weight)
    assert not torch.allclose(net.body.second.weight, body.second.weight)
    assert all(parameter.requires_grad for parameter in net.parameters())  # a later training may change all
