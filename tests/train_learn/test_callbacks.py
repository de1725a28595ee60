"""Callbacks beside the training loop: the untouched network's answers, the field's look, averaged weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")

from fastai.callback import progress as _progress  # noqa: F401  adds no_bar
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch import nn

from train.learn.callbacks import DegradeCrops, KnowledgeDistillation, WeightAverage
from train.learn.network import find_backbone


class Asked(nn.Module):
    """A teacher that remembers what it was shown."""

    def forward(self, pictures: Any) -> Any:
        """The mean colour."""
        self.shown = pictures.clone()
        return pictures.mean(dim=(2, 3))


@pytest.mark.parametrize("training", [True, False])
def test_the_untouched_network_answers_batches_that_are_learned_from(training: bool) -> None:
    teacher, pictures = Asked(), torch.rand(2, 3, 8, 8)
    keep = KnowledgeDistillation(teacher)
    keep.learn = SimpleNamespace(training=training, xb=(pictures,), loss_func=SimpleNamespace(teacher=None))
    keep.before_batch()
    if training:
        torch.testing.assert_close(
            keep.learn.loss_func.teacher.float(), pictures.mean(dim=(2, 3)), atol=0.01, rtol=0.01
        )
    else:
        assert keep.learn.loss_func.teacher is None


def looked_at(look: DegradeCrops, pictures: Any, epoch: int, training: bool = True) -> Any:
    """Return a batch as the network sees it in some epoch."""
    look.learn = SimpleNamespace(training=training, epoch=epoch, xb=(pictures,))
    look.before_epoch()
    look.before_batch()
    return look.learn.xb[0]


def test_a_share_of_what_is_learned_from_gets_the_fields_look_another_one_each_epoch() -> None:
    pictures = torch.rand(200, 3, 32, 32)
    look = DegradeCrops(0.4, find_backbone("efficientnet_lite0"), seed=7, done=0)
    shown = looked_at(look, pictures.clone(), 1)
    changed = (shown != pictures).any(3).any(2).any(1)
    assert 0.3 < changed.float().mean() < 0.5
    assert torch.equal(shown, looked_at(look, pictures.clone(), 1))
    assert not torch.equal(shown, looked_at(look, pictures.clone(), 2))
    later = DegradeCrops(0.4, find_backbone("efficientnet_lite0"), seed=7, done=1)  # of a training that goes on
    assert torch.equal(shown, looked_at(later, pictures.clone(), 0))
    assert torch.equal(pictures, looked_at(look, pictures.clone(), 1, training=False))


def test_a_picture_keeps_its_colours_through_the_look() -> None:
    red = torch.tensor([1.5, -0.5, -1.0])[:, None, None].expand(3, 64, 64)  # normalised
    look = DegradeCrops(1.0, find_backbone("efficientnet_lite0"), seed=7, done=0)
    shown = looked_at(look, red.repeat(60, 1, 1, 1), 0).mean(dim=(2, 3))
    assert (shown[:, 0] > shown[:, 2] + 0.3).sum() > 20  # the others are grey, infrared or dark
    assert not (shown[:, 2] > shown[:, 0] + 0.3).any()


def learner() -> Learner:
    """A learner of one number: it learns to double."""
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 32)[:, None]
    data = torch.utils.data.TensorDataset(x, 2 * x)
    dls = DataLoaders(*(DataLoader(data, bs=8) for _ in range(2)))
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    return Learner(dls, model, loss_func=nn.MSELoss())


def test_the_tuning_part_is_scored_with_the_average_and_that_is_what_stays() -> None:
    learn, seen = learner(), []

    class Look(Callback):
        order = 70

        def before_validate(self) -> None:
            seen.append(float(self.model.weight.detach()))

    class Last(Callback):
        order = 11  # before the average puts itself in

        def before_validate(self) -> None:
            self.learn.plain = float(self.model.weight.detach())

    with learn.no_bar(), learn.no_logging():
        learn.fit(3, 0.05, cbs=[WeightAverage(0.9, 3), Look(), Last()])
    final = float(learn.model.weight.detach())
    assert final == pytest.approx(seen[-1])
    assert 0 < final < learn.plain  # the average lags behind weights that rise towards 2
