"""A small training, start to end: what ImageNet knew is kept, and what is mistaken for a bear is drawn oftener."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")
pytest.importorskip("timm")

from fastai.callback.core import Callback  # noqa: E402
from torch import nn  # noqa: E402
from train.learning.mining import EVERY, MineHard  # noqa: E402

from train.catalog.picture import ALARM_LABELS, LABELS, Picture  # noqa: E402
from train.learning.backbones import BACKBONES  # noqa: E402
from train.learning.dataloaders import make_dataloaders  # noqa: E402
from train.learning.learner import Seen, seed_everything, train_learner  # noqa: E402
from train.learning.network import BearNet  # noqa: E402
from train.learning.pictures import Example, PictureCache, examples_of  # noqa: E402
from train.learning.recipe import Recipe  # noqa: E402

BACKBONE = BACKBONES["efficientnet_lite0"]
RECIPE = Recipe(size=32, batch=4, per_epoch=16, epochs=2, hard=2.0, distill=0.3, augment="none", resize="squish")
RED, BLUE = (30, 30, 200), (200, 30, 30)  # BGR


class Look(Callback):
    """Keeps what a training does batch by batch; stands where the progress bar does."""

    order = 11  # before the average is taken over

    def __init__(self, untouched: nn.Module):
        self.untouched = untouched.eval()
        self.statistics: list[Any] = []  # the batch norm's, after each batch
        self.asked: dict[bool, list[bool]] = {True: [], False: []}  # by whether the body is frozen
        self.drawn: list[Any] = []  # the examples' weights in each epoch that mines
        self.last: Any = None  # the head's weights before the average is taken

    def after_batch(self) -> None:
        """What the teacher said of the batch, if anything, and what the batch norm keeps."""
        if self.training:
            teacher = self.learn.loss_func.teacher
            self.asked[self.opt.frozen_idx > 0].append(teacher is not None)
            if teacher is not None:
                with torch.no_grad():
                    torch.testing.assert_close(teacher, self.untouched(self.xb[0]))
            self.statistics.append(self.model.body[1].running_mean.clone())
            self.drawn.append(np.array(self.dls.train.weights))

    def after_fit(self) -> None:
        """The weights as the last step left them."""
        self.last = self.model.new_head.weight.detach().clone()


def body() -> nn.Module:
    """Pictures (N, 3, H, W) -> features (N, 8), with a batch norm that has its own statistics."""
    norm = nn.BatchNorm2d(8)
    nn.init.constant_(norm.running_mean, 0.3)
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


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


def trained(rows: Sequence[Picture], recipe: Recipe) -> tuple[Look, Any]:
    """A training that was watched, and its network."""
    seed_everything(recipe.seed)
    own, head, cache = body(), nn.Linear(8, 1000), PictureCache()
    look = Look(copy.deepcopy(nn.Sequential(own, head)))
    dls = make_dataloaders(rows, rows, BACKBONE, recipe, cache)
    learn = train_learner(dls, own, head, recipe, look, [], Seen(examples_of(rows), cache, BACKBONE))
    return look, learn


@pytest.mark.parametrize("pretrained", [True, False])
def test_imagenets_batch_norm_statistics_stay_as_they_were(rows: list[Picture], pretrained: bool) -> None:
    look, learn = trained(rows, Recipe(**(vars(RECIPE) | {"pretrained": pretrained})))
    assert len(look.statistics) == (3 if pretrained else 2) * 4
    assert all(bool((kept == 0.3).all()) for kept in look.statistics) == pretrained
    assert bool((learn.model.body[1].running_mean == 0.3).all()) == pretrained


@pytest.mark.parametrize(("distill", "clear"), [(0.3, False), (0.3, True), (0.0, False)])
def test_the_untouched_network_answers_every_batch_once_the_body_moves(
    rows: list[Picture], distill: float, clear: bool
) -> None:
    augment = "field" if clear else "none"
    changes = {"distill": distill, "clear_teacher": clear, "augment": augment, "degraded": 0.0}
    look, learn = trained(rows, Recipe(**(vars(RECIPE) | changes)))
    assert look.asked[True] == [False] * 4  # frozen, there is nothing to forget
    assert look.asked[False] == [distill > 0] * 8
    assert learn.loss_func.teacher is None  # no answers of the teacher are exported
    body_weights, head_weights = learn.model.body[0].weight, learn.model.old_head.weight
    assert not torch.equal(body_weights, look.untouched[0][0].weight)  # it did move, and the teacher did not with it
    torch.testing.assert_close(head_weights, look.untouched[1].weight)


def test_the_weights_that_are_kept_are_an_average(rows: list[Picture]) -> None:
    look, learn = trained(rows, RECIPE)
    assert not torch.allclose(learn.model.new_head.weight.detach(), look.last, atol=1e-6, rtol=0)


@pytest.mark.parametrize("hard", [2.0, 0.0])
def test_mining_weighs_the_others_anew_and_leaves_the_loader_as_it_was(rows: list[Picture], hard: float) -> None:
    look, learn = trained(rows, Recipe(**(vars(RECIPE) | {"hard": hard})))
    plain = learn.dls.train.weights
    others = np.array([row.label == "no_bear" for row in rows])
    for weights in look.drawn[:4]:
        np.testing.assert_array_equal(weights, plain)  # the head alone: nothing is mined yet
    for weights in look.drawn[4:]:
        np.testing.assert_array_equal(weights[~others], plain[~others])
        assert weights.sum() == pytest.approx(plain.sum())
        assert bool((weights[others] == plain[others]).all()) == (hard == 0)


class Redness(nn.Module):
    """Pictures (N, 3, H, W) -> how red and how blue, (N, 2)."""

    def forward(self, pictures: Any) -> Any:
        """Means of the channels."""
        return pictures.mean(dim=(2, 3))[:, [0, 2]]


def test_what_looks_like_a_bear_and_is_none_is_drawn_oftener_every_second_epoch(
    rows: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.learning.mining.degrade", lambda crop, rng: crop)
    net = BearNet(Redness(), nn.Linear(2, 1000), LABELS, ALARM_LABELS, 0.0)
    with torch.no_grad():
        net.new_head.weight.zero_()
        net.new_head.weight[net.alarm] = torch.tensor([9.0, -9.0])
        net.new_head.bias.zero_()
    net.train()
    examples: list[Example] = examples_of(rows)
    mining = MineHard(3.0, examples, PictureCache(), BACKBONE, 32, 7)
    plain = np.full(len(rows), 1 / len(rows))
    mining.learn = SimpleNamespace(dls=SimpleNamespace(train=SimpleNamespace(weights=plain)), model=net, epoch=0)
    mining.before_fit()
    mining.before_epoch()
    weights = mining.loader.weights
    red, blue = (
        np.array([row.label == "no_bear" and n % 3 == which for n, row in enumerate(rows)]) for which in (2, 1)
    )
    assert weights[red].min() > 2 * weights[blue].max()
    np.testing.assert_array_equal(weights[~(red | blue)], plain[~(red | blue)])
    assert net.training
    mining.loader.weights = plain
    mining.learn.epoch = EVERY - 1
    mining.before_epoch()
    np.testing.assert_array_equal(mining.loader.weights, plain)
    mining.after_fit()
