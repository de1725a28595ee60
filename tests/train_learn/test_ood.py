"""The out-of-domain score against its paper's formula, computed another way, and the threshold most crops pass."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("fastai")
pytest.importorskip("hypothesis")

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor, nn

from train.data.pictures import ALARM_LABELS, LABELS, Picture
from train.learn import ood
from train.learn.network import BearNet, find_backbone
from train.learn.ood import QUANTILE, OodScore, draw_bank, fit_ood_score, ood_threshold

WIDE, SIZE = 16, 32


def domain(count: int = 300, seed: int = 0) -> Tensor:
    """Features (N, WIDE) of two labels, each a cloud along few directions."""
    rng = np.random.default_rng(seed)
    bears = np.arange(count) % 3 == 0
    means = np.where(bears[:, None], 4 + np.arange(WIDE) % 4, 5 - np.arange(WIDE) % 3)
    few = rng.normal(0, 1, (count, 4)) @ rng.normal(0, 1, (4, WIDE))
    return torch.tensor(np.abs(means + few + rng.normal(0, 0.1, (count, WIDE))), dtype=torch.float32)


def scores(score: OodScore, pooled: Tensor) -> np.ndarray:
    """Return its scores of features."""
    with torch.inference_mode():
        found: np.ndarray = score(pooled).numpy()
    return found


def test_what_is_like_nothing_seen_scores_higher() -> None:
    pooled = domain()
    score = draw_bank(pooled[:200])
    usual = scores(score, pooled[200:])
    assert usual.shape == (100,)
    assert np.isfinite(usual).all()
    assert np.ptp(usual) > 0  # never a constant
    odd = scores(score, torch.tensor(np.random.default_rng(1).exponential(3, (100, WIDE)), dtype=torch.float32))
    assert np.median(odd) > np.quantile(usual, 0.95)


def test_it_is_the_distance_to_the_kth_nearest_of_those_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ood, "BANK", 40)
    pooled = domain()
    score = draw_bank(pooled)
    bank = -score.far.weight.numpy()
    assert bank.shape == (40, WIDE)
    unit = pooled.numpy() / np.linalg.norm(pooled.numpy(), axis=1, keepdims=True)
    assert all((np.abs(unit - row).max(1) < 1e-6).any() for row in bank)  # all of them were seen
    away = np.sort(np.linalg.norm(unit[:, None] - bank[None], axis=2), axis=1)[:, ood.NEAREST - 1]
    np.testing.assert_allclose(scores(score, pooled), away, atol=2e-3)
    np.testing.assert_allclose(scores(score, 7 * pooled), away, atol=2e-3)  # only the direction counts


def test_fewer_crops_than_neighbours_still_have_a_score() -> None:
    assert np.isfinite(scores(draw_bank(domain(2)), domain(9))).all()


@pytest.fixture
def rows(tmp_path: Path) -> list[Picture]:
    """Thirty small pictures, six of them thermal ones."""
    found = []
    for n in range(30):
        label, note = ("brown_bear", "") if n % 3 == 0 else ("no_bear", "thermal" if n % 5 == 1 else "deer")
        file = tmp_path / f"{n}.png"
        cv2.imwrite(str(file), np.random.default_rng(n).integers(0, 255, (48, 48, 3), np.uint8))
        found.append(Picture(file, label, "yard", "", note=note))
    return found


def small_net() -> BearNet:
    """A BearNet of one convolution."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 24, 5, stride=3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return BearNet(body, nn.Linear(24, 1000), LABELS, ALARM_LABELS)


def test_it_is_fitted_to_clean_and_degraded_pictures_of_the_domain_alone(rows: list[Picture]) -> None:
    shown: list[str] = []

    def track(some: list[Picture], words: str) -> list[Picture]:
        shown.extend(row.note for row in some)
        return some

    fit = [fit_ood_score(small_net(), find_backbone("resnet18"), rows, SIZE, 7, track) for _ in range(2)]  # type: ignore[arg-type]
    outsiders = sum(row.note == "thermal" for row in rows)
    assert outsiders
    assert len(shown) == 2 * (len(rows) - outsiders)
    assert "thermal" not in shown
    assert torch.equal(fit[0].far.weight, fit[1].far.weight)  # seeded
    others = sum(row.label == "no_bear" for row in rows) - outsiders
    assert len(fit[0].far.weight) == 2 * (len(rows) - outsiders) + others  # a random square of each without a bear


FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(arrays.arrays(float, st.integers(2, 200), elements=FINITE), st.data())
def test_the_share_passes_of_the_clean_and_of_the_degraded(values: np.ndarray, data: st.DataObject) -> None:
    degraded = data.draw(arrays.arrays(bool, len(values)))
    limit = ood_threshold(values, degraded)
    for part in (values[~degraded], values[degraded]):
        if len(part):
            assert (part <= limit).mean() >= QUANTILE - 1e-12
    assert limit in values
