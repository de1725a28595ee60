"""How much of the untouched network stays in the trained one: fixed by the recipe, or chosen on the tuning part.

Two shares: the untouched body's weights in the body (WiSE-FT: Wortsman et al. 2022, "Robust fine-tuning of zero-shot
models"), and ImageNet's own head in the bear logit. The more stays, the better is known what ImageNet knew, and the
less what it never saw: bears of 30 pixels. Both can be chosen after the training, for some looks at the tuning part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from train.catalog.picture import Picture
from train.figures.calibrate import bear_probability, probabilities
from train.learning.backbones import Backbone
from train.learning.far_figure import FarFigure, Looks, far_figure, looks_of, some_of
from train.learning.network import BearNet
from train.learning.probe import answers
from train.learning.recipe import Recipe

BODY_SHARES = (0.0, 0.2, 0.4, 0.6)
HEAD_SHARES = (0.0, 0.25, 0.5, 0.75)
MOST = 200, 400  # tuning bears and others that are looked at


@dataclass(frozen=True)
class Kept:
    """The untouched network's share in body and bear logit, and what they are worth where that was measured."""

    body: float
    head: float
    figure: FarFigure | None = None


def keep_some(net: BearNet, untouched: nn.Module, backbone: Backbone, tune: Sequence[Picture], recipe: Recipe) -> Kept:
    """Move a trained network back in place, as the recipe says or as is best on the tuning part; returns the shares."""
    kept = Kept(recipe.body_kept, net.keep)
    if recipe.choose_kept:
        looks = looks_of(some_of(tune, *MOST), recipe.size)
        kept = best(kept_choices(net, untouched, backbone, looks, recipe.false_positive_rate))
    interpolate(net.body, untouched, kept.body)
    net.keep = kept.head
    return kept


def kept_choices(net: BearNet, untouched: nn.Module, backbone: Backbone, looks: Looks, rate: float) -> list[Kept]:
    """What each pair of shares is worth on ``looks``; ``net`` stays as it is.

    Where ImageNet's head plays no part (``net.keep`` is 0: another head, or nothing pretrained), it stays out.
    """
    trained = {name: weights.clone() for name, weights in net.body.state_dict().items()}
    keep, found = net.keep, list[Kept]()
    for body in BODY_SHARES:
        interpolate(net.body, untouched, body)
        raw = torch.cat([raw for _, raw in answers(net, backbone, looks.crops)])
        for head in HEAD_SHARES if keep else (0.0,):
            net.keep = head
            bear = bear_probability(probabilities(net.label_logits(raw).numpy(), 1.0))
            found.append(Kept(body, head, far_figure(bear, looks, rate)))
        net.body.load_state_dict(trained)
    net.keep = keep
    return found


def best(choices: Sequence[Kept]) -> Kept:
    """The choice with the most ``FarFigure.wide`` summed over all sides, the whole too; of equals the most AUC."""

    def worth(kept: Kept) -> tuple[float, float]:
        figure = kept.figure
        assert figure is not None
        return sum(figure.wide.values()), sum(figure.auc.values())

    return max(choices, key=worth)


def interpolate(body: nn.Module, untouched: nn.Module, share: float) -> None:
    """Move ``body``'s weights by ``share`` of the way to the untouched ones, in place."""
    old = dict(untouched.named_parameters())
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            parameter.lerp_(old[name].to(parameter.device), share)
