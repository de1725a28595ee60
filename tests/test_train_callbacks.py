"""What runs beside the training loop: the teacher that sees clearly, averaged weights, an early end, hard negatives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")

from fastai.callback import progress as _progress  # noqa: E402, F401  adds no_bar
from fastai.callback.core import Callback  # noqa: E402
from fastai.data.core import DataLoaders  # noqa: E402
from fastai.data.load import DataLoader  # noqa: E402
from fastai.learner import Learner  # noqa: E402
from torch import nn  # noqa: E402
from train.learning.mining import harder  # noqa: E402
from train.learning.teacher import ClearTeacher  # noqa: E402

from train.learning.callbacks import EarlyStop, WeightAverage  # noqa: E402

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)


def batch(pictures: int) -> Any:
    """Normalised pictures with fine detail, (N, 3, 64, 64)."""
    pixels = torch.from_numpy(np.random.default_rng(0).random((pictures, 3, 64, 64), np.float32))
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class Asked(nn.Module):
    """A teacher that remembers what it was shown."""

    def forward(self, pictures: Any) -> Any:
        """The mean colour."""
        self.shown = pictures.clone()
        return pictures.mean(dim=(2, 3))


def before_batch(callback: Callback, pictures: Any, *, training: bool) -> Any:
    """The batch as the student gets it."""
    loss = SimpleNamespace(teacher=None)
    learn = SimpleNamespace(training=training, xb=(pictures,), loss_func=loss)
    callback.learn = learn
    callback.before_batch()
    return learn


def test_the_teacher_sees_the_clear_batch_and_the_student_a_degraded_one() -> None:
    teacher, pictures = Asked(), batch(8)
    learn = before_batch(ClearTeacher(teacher, 1.0, MEAN, STD, 7), pictures, training=True)
    torch.testing.assert_close(teacher.shown, pictures)
    torch.testing.assert_close(learn.loss_func.teacher, pictures.mean(dim=(2, 3)))
    [seen] = learn.xb
    assert seen.shape == pictures.shape
    assert all(not torch.allclose(one, other) for one, other in zip(seen, pictures, strict=True))
    pixels = seen * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
    assert -0.01 < float(pixels.min()) <= float(pixels.max()) < 1.01


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.5, 20, 44), (1.0, 64, 64)])
def test_a_share_of_the_batch_is_degraded(share: float, low: int, high: int) -> None:
    pictures = batch(64)
    [seen] = before_batch(ClearTeacher(None, share, MEAN, STD, 7), pictures, training=True).xb
    changed = sum(not torch.equal(one, other) for one, other in zip(seen, pictures, strict=True))
    assert low <= changed <= high


def test_nothing_is_degraded_or_asked_while_tuning() -> None:
    teacher, pictures = Asked(), batch(2)
    learn = before_batch(ClearTeacher(teacher, 1.0, MEAN, STD, 7), pictures, training=False)
    assert learn.xb[0] is pictures
    assert learn.loss_func.teacher is None


def test_the_same_seed_degrades_the_same() -> None:
    one, two, three = (
        before_batch(ClearTeacher(None, 0.5, MEAN, STD, seed), batch(8), training=True).xb[0] for seed in (7, 7, 8)
    )
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, three)


@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0, 1)), min_size=1, max_size=20), st.floats(0, 20))
def test_harder_weights_keep_their_sum_and_follow_the_score(rows: list[tuple[float, float]], strength: float) -> None:
    weights, bear = (np.array(column) for column in zip(*rows, strict=True))
    found = harder(weights, bear, strength)
    assert found.sum() == pytest.approx(weights.sum())
    gain = found / weights
    order = np.argsort(bear, kind="stable")
    assert (np.diff(gain[order]) >= -1e-9).all()
    np.testing.assert_allclose(harder(weights, bear, 0.0), weights)


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
        learn.fit(3, 0.05, cbs=[WeightAverage(0.9), Look(), Last()])
    final = float(learn.model.weight.detach())
    assert final == pytest.approx(seen[-1])
    assert 0 < final < learn.plain  # the average lags behind weights that rise towards 2


class Losses(Callback):
    """Puts given tuning losses in the place of the real ones."""

    order = 60.5  # after the recorder, before EarlyStop

    def __init__(self, losses: list[float]):
        self.losses = losses

    def after_epoch(self) -> None:
        """This epoch's."""
        self.learn.final_record[1] = self.losses[self.epoch]
        self.recorder.final_record = self.learn.final_record


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [([3, 2, 1, 4, 5, 6], 2, 5, 3), ([3, 2, 1, 0.5], 2, 4, 4), ([1, 2, 2, 2], 1, 2, 1), ([2, 3, 1, 4, 5, 6], 2, 5, 3)],
)
def test_training_ends_when_the_loss_no_longer_falls_and_the_best_epoch_stays(
    losses: list[float], patience: int, epochs: int, best: int
) -> None:
    learn = learner()
    after: list[float] = []
    said: list[str] = []

    class Note(Callback):
        order = 70

        def before_validate(self) -> None:
            after.append(float(self.model.weight.detach()))

    average = WeightAverage(0.5)
    with learn.no_bar(), learn.no_logging():
        learn.fit(len(losses), 0.05, cbs=[average, Note(), Losses(losses), EarlyStop(average, patience, said.append)])
    assert len(after) == epochs
    assert float(learn.model.weight.detach()) == pytest.approx(after[best - 1])
    assert bool(said) == (epochs < len(losses))
