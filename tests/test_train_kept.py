"""What is kept of the untouched network: fixed by the recipe, or the best on the tuning part."""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from torch import Tensor, nn  # noqa: E402

from train.catalog.picture import ALARM_LABELS, LABELS, Picture  # noqa: E402
from train.learning.backbones import BACKBONES, IMAGENET_BEARS  # noqa: E402
from train.learning.far_figure import SIDES_PX, FarFigure, looks_of  # noqa: E402
from train.learning.kept import (  # noqa: E402
    BODY_SHARES,
    HEAD_SHARES,
    Kept,
    best,
    keep_some,
    kept_choices,
)
from train.learning.network import BearNet  # noqa: E402
from train.learning.recipe import Recipe  # noqa: E402

BACKBONE = BACKBONES["efficientnet_lite0"]
SIZE = 32


class Colours(nn.Module):
    """Mean red, green and blue, each times a weight."""

    def __init__(self, red: float, green: float, blue: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([float(red), float(green), float(blue)]))

    def forward(self, pictures: Tensor) -> Tensor:
        """(N, 3)."""
        return pictures.mean(dim=(2, 3)) * self.weight


def net_of(body: nn.Module, *, red_head: float = 4.0, old_red: float = 0.0, keep: float = 0.5) -> BearNet:
    """Red speaks for a bear in the new head; in ImageNet's as much as ``old_red``."""
    old = nn.Linear(3, 1000)
    nn.init.zeros_(old.weight)
    nn.init.zeros_(old.bias)
    net = BearNet(body, old, LABELS, ALARM_LABELS, keep)
    with torch.no_grad():
        net.new_head.weight.zero_()
        net.new_head.bias.zero_()
        net.new_head.weight[LABELS.index("brown_bear"), 0] = red_head
        old.weight[list(IMAGENET_BEARS), 0] = old_red
    return net


@pytest.fixture
def tune(tmp_path: Path) -> list[Picture]:
    """Red bears and blue others, each a little different."""
    rows = []
    for n in range(12):
        image = np.full((150, 150, 3), 60, np.uint8)
        image[..., 2 if n % 2 else 0] = 150 + 5 * n
        file = tmp_path / f"{n}.png"
        cv2.imwrite(str(file), image)
        rows.append(Picture(file, "brown_bear" if n % 2 else "no_bear", "a", ""))
    return rows


def test_the_body_that_finds_bears_is_kept_whichever_it_is(tune: list[Picture]) -> None:
    knows, knows_not = Colours(1, 0, 0), Colours(-1, 0, 0)  # the second takes red for no bear
    recipe = Recipe(size=SIZE, choose_kept=True)
    learned = net_of(copy.deepcopy(knows))
    assert keep_some(learned, knows_not, BACKBONE, tune, recipe).body == 0.0
    forgot = net_of(copy.deepcopy(knows_not))
    kept = keep_some(forgot, knows, BACKBONE, tune, recipe)
    assert kept.body == 0.6
    torch.testing.assert_close(forgot.body.weight[0], torch.tensor(0.2))  # -1, six tenths of the way to 1


def test_imagenets_head_is_kept_as_far_as_it_helps(tune: list[Picture]) -> None:
    recipe = Recipe(size=SIZE, choose_kept=True)
    for old_red, head in ((-8.0, 0.0), (8.0, 0.75)):
        net = net_of(Colours(1, 0, 0), red_head=4.0 if old_red < 0 else -20.0, old_red=old_red)
        kept = keep_some(net, copy.deepcopy(net.body), BACKBONE, tune, recipe)
        assert kept.head == net.keep == head
        assert kept.figure is not None
        assert min(kept.figure.recall.values()) == 1.0


def test_looking_changes_nothing_and_a_head_without_part_stays_out(tune: list[Picture]) -> None:
    net = net_of(Colours(1, 0, 0))
    before, looks = copy.deepcopy(net.state_dict()), looks_of(tune, SIZE)
    found = kept_choices(net, Colours(0, 1, 0), BACKBONE, looks, 0.01)
    assert [(each.body, each.head) for each in found] == [(body, head) for body in BODY_SHARES for head in HEAD_SHARES]
    assert net.keep == 0.5
    for name, weights in net.state_dict().items():
        assert torch.equal(weights, before[name])
    alone = net_of(Colours(1, 0, 0), keep=0.0)
    assert {each.head for each in kept_choices(alone, Colours(0, 1, 0), BACKBONE, looks, 0.01)} == {0.0}


def test_without_being_asked_it_is_what_the_recipe_says(tune: list[Picture]) -> None:
    net = net_of(Colours(1, 0, 0))
    assert keep_some(net, Colours(0, 0, 1), BACKBONE, tune, Recipe(size=SIZE, body_kept=0.25)) == Kept(0.25, 0.5)
    torch.testing.assert_close(net.body.weight.detach(), torch.tensor([0.75, 0.0, 0.25]))


def test_of_equal_recalls_the_larger_area_wins() -> None:
    def kept(body: float, wide: float, auc: float) -> Kept:
        return Kept(body, 0.5, FarFigure({}, dict.fromkeys(SIDES_PX, auc), dict.fromkeys(SIDES_PX, wide)))

    assert best([kept(0.0, 0.8, 0.99), kept(0.2, 0.9, 0.90), kept(0.4, 0.9, 0.95)]).body == 0.4
