"""Each out-of-domain method against its paper's formula, computed another way."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from torch import nn

from edge.errors import OptionError
from train.data.pictures import ALARM_LABELS, LABELS
from train.learn import strangeness as fitting
from train.learn.network import BearNet
from train.learn.strangeness import (
    METHODS,
    USUAL,
    Features,
    fit_method,
    fit_neighbour,
    head_weights,
    label_means,
    scores,
)

WIDE = 16


def small_net() -> BearNet:
    """A BearNet whose features are its input."""
    torch.manual_seed(0)
    return BearNet(nn.Flatten(), nn.Linear(WIDE, 1000), LABELS, ALARM_LABELS)


def features(net: BearNet, pooled: np.ndarray) -> Features:
    """What the net makes of pooled features (N, F)."""
    found = torch.tensor(pooled, dtype=torch.float32)
    with torch.inference_mode():
        raw = net.heads(found)
        return Features(found, net.energy(raw), raw.amax(1))


def domain(count: int = 300, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Features (N, WIDE) of two labels, each a cloud along few directions."""
    rng = np.random.default_rng(seed)
    bears = np.arange(count) % 3 == 0
    means = np.where(bears[:, None], 4 + np.arange(WIDE) % 4, 5 - np.arange(WIDE) % 3)
    few = rng.normal(0, 1, (count, 4)) @ rng.normal(0, 1, (4, WIDE))
    return np.abs(means + few + rng.normal(0, 0.1, (count, WIDE))), ["brown_bear" if b else "no_bear" for b in bears]


@pytest.fixture(scope="module")
def net() -> BearNet:
    return small_net()


@pytest.mark.parametrize("name", METHODS)
def test_what_is_like_nothing_seen_scores_higher(net: BearNet, name: str) -> None:
    pooled, labels = domain()
    seen = features(net, pooled[:200])
    method = fit_method(name, net, seen, labels[:200])
    usual = scores(method, features(net, pooled[200:]))
    assert usual.shape == (100,)
    assert np.isfinite(usual).all()
    assert np.ptp(usual) > 0  # never a constant
    if name in {"energy", "relative mahalanobis"}:  # what they are blind to depends on the heads and the labels
        return
    strange = scores(method, features(net, np.random.default_rng(1).exponential(3, (100, WIDE))))
    assert np.median(strange) > np.quantile(usual, 0.95)


def test_energy_is_the_networks_own(net: BearNet) -> None:
    seen = features(net, domain()[0])
    np.testing.assert_array_equal(scores(fit_method("energy", net, seen, []), seen), seen.energy.numpy())


def covariance(centred: np.ndarray, keep: int) -> np.ndarray:
    """The covariance with all but its ``keep`` largest eigenvalues replaced by their mean."""
    values, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    values[:-keep] = values[:-keep].mean()
    shrunk: np.ndarray = axes @ np.diag(values) @ axes.T
    return shrunk


def distances(points: np.ndarray, means: np.ndarray, shrunk: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distances (N,) to the nearest mean."""
    moved = points[:, None] - means
    nearest: np.ndarray = np.einsum("nkf,fg,nkg->nk", moved, np.linalg.inv(shrunk), moved).min(1)
    return nearest


def test_mahalanobis_is_the_distance_under_the_shrunk_covariance(net: BearNet) -> None:
    pooled, labels = domain()
    seen = features(net, pooled)
    is_bear = np.array(labels) == "brown_bear"
    means = np.stack([pooled[is_bear].mean(0), pooled[~is_bear].mean(0)])
    within = pooled - means[np.where(is_bear, 0, 1)]
    expected = distances(pooled, means, covariance(within, WIDE // 2))
    got = scores(fit_method("mahalanobis", net, seen, labels), seen)
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-2)
    whole = distances(pooled, pooled.mean(0)[None], covariance(pooled - pooled.mean(0), WIDE // 2))
    relative = scores(fit_method("relative mahalanobis", net, seen, labels), seen)
    np.testing.assert_allclose(relative, expected - whole, rtol=2e-3, atol=3e-2)


def test_vim_orders_as_the_papers_softmax_does() -> None:
    net = small_net()
    pooled, labels = domain()
    seen = features(net, pooled)
    weights, bias = (part.numpy().astype(float) for part in head_weights(net))
    logits = pooled @ weights.T + bias
    moved = pooled + np.linalg.pinv(weights) @ bias
    _, axes = np.linalg.eigh(moved.T @ moved)
    residual = np.linalg.norm(moved @ axes[:, : WIDE // 2], axis=1)
    virtual = logits.max(1).mean() / residual.mean() * residual
    p = np.exp(virtual) / (np.exp(virtual) + np.exp(logits).sum(1))
    got = scores(fit_method("vim", net, seen, labels), seen)
    np.testing.assert_allclose(1 / (1 + np.exp(-got)), p, rtol=5e-3, atol=1e-4)


def test_the_neighbour_is_the_kth_nearest_of_those_kept(net: BearNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "BANK", 40)
    pooled, labels = domain()
    method = fit_neighbour(net, features(net, pooled), labels)
    bank = -method.far.weight.numpy()
    assert bank.shape == (40, WIDE)
    unit = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    assert all((np.abs(unit - row).max(1) < 1e-6).any() for row in bank)  # all of them were seen
    away = np.sort(np.linalg.norm(unit[:, None] - bank[None], axis=2), axis=1)[:, fitting.NEAREST - 1]
    np.testing.assert_allclose(scores(method, features(net, pooled)), away, atol=2e-3)
    longer = scores(method, features(net, 7 * pooled))  # only the direction counts
    np.testing.assert_allclose(longer, away, atol=2e-3)


def test_rare_labels_share_a_mean() -> None:
    pooled = torch.arange(20.0)[:, None]
    labels = ["a"] * 10 + ["b"] * 8 + ["c", "d"]
    means, members = label_means(pooled, labels)
    assert means[:, 0].tolist() == [4.5, 13.5, 9.5]
    assert members.tolist() == [0] * 10 + [1] * 8 + [2, 2]


def test_too_few_crops_and_unknown_names_are_sentences(net: BearNet) -> None:
    seen = features(net, domain(10)[0])
    with pytest.raises(OptionError, match="10 in-domain crops are too few"):
        fit_method(USUAL, net, seen, ["no_bear"] * 10)
    with pytest.raises(OptionError, match="no out-of-domain method is called 'magic'"):
        fit_method("magic", net, seen, [])
