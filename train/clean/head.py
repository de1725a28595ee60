"""Probabilities out of fold: a linear head on the embeddings that never saw the source it judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from train.data.pictures import LABELS, TRAINING_LABELS
from train.learn.learner import allowed_labels

DECAY = 1e-2  # L2 penalty on the weights, of standardised features
STEPS = 60


def out_of_fold(
    features: NDArray[np.float32],
    labels: Sequence[str],
    folds: NDArray[np.intp],
    trusted: NDArray[np.bool_] | None = None,
    decay: float = DECAY,
) -> NDArray[np.float64]:
    """(N, len(LABELS)) probabilities of pictures, each from a head fitted without its fold.

    ``features`` (N, F), ``labels`` among TRAINING_LABELS, ``folds`` (N,); only ``trusted`` (N,) pictures are
    learned from, by default all.
    """
    learn_from = np.ones(len(labels), bool) if trusted is None else trusted
    result = np.zeros((len(labels), len(LABELS)))
    targets = np.array([TRAINING_LABELS.index(label) for label in labels])
    with _one_thread():
        for fold in np.unique(folds):
            inside, held = (folds != fold) & learn_from, folds == fold
            mean, std = features[inside].mean(axis=0), features[inside].std(axis=0) + 1e-3
            known = torch.from_numpy((features[inside] - mean) / std)
            asked = torch.from_numpy((features[held] - mean) / std)
            weights, bias = fit(known, torch.from_numpy(targets[inside]), decay)
            result[held] = torch.softmax((asked @ weights + bias).double(), dim=1).numpy()
    return result


def fit(features: torch.Tensor, targets: torch.Tensor, decay: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (F, L) and bias (L,) of a multinomial logistic regression by L-BFGS.

    ``features`` (N, F) standardised, ``targets`` (N,) into TRAINING_LABELS. A picture known only as "bear" allows
    every alarm label: its loss is -log of their summed probability. Bears and others count as much together,
    whatever their number.
    """
    count = len(LABELS)
    allowed = allowed_labels()[targets]  # (N, L)
    bears = allowed[:, : LABELS.index("teddy_bear")].any(dim=1)
    weight = torch.where(bears, 0.5 / bears.sum().clamp(min=1), 0.5 / (~bears).sum().clamp(min=1))
    weights = torch.zeros(features.shape[1], count, requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        log_p = F.log_softmax(features @ weights + bias, dim=1)
        right = torch.logsumexp(log_p.masked_fill(~allowed, -1e4), dim=1)
        total = -(weight * right).sum() + decay * weights.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    return weights.detach(), bias.detach()


@contextmanager
def _one_thread() -> Iterator[None]:
    """So small a problem is done before threads have found each other; on a busy machine a hundred times before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def right_probability(probabilities: NDArray[np.float64], labels: Sequence[str]) -> NDArray[np.float64]:
    """(N,) probability of the given label, of all alarm labels together for "bear"."""
    allowed = allowed_labels().numpy()[[TRAINING_LABELS.index(label) for label in labels]]
    right: NDArray[np.float64] = np.clip((probabilities * allowed).sum(axis=1), 1e-9, 1.0)
    return right
