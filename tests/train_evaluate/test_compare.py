"""``compare``: paired tests against what can be counted out, and verdicts that only evidence can bring about."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from edge.detect.classifier import Classifier
from tests.helpers.benchmark_pool import make_pool, write_model
from tests.helpers.command import Ran, bear_alarm
from train.data.catalog import read_catalog
from train.evaluate.command import compare as command
from train.evaluate.compare import FAR_RULE, PRIMARY, Guard, ModelScores, compare, judge, score_model
from train.evaluate.held_out import Unseen
from train.evaluate.text import comparison_text, figure_line
from train.metrics.paired import (
    Difference,
    Pair,
    auc_difference,
    mean_recall_difference,
    rate_difference,
    recall_difference,
    sign_flips,
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few crops in each size bin, and few draws, are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluate.far_bears.MIN_CROPS", 1)
        patch.setattr("train.metrics.rates.REPLICATES", 300)
        yield


@given(st.lists(st.integers(-3, 3), max_size=8))
def test_sign_flips_against_counting_them_all(sums: list[int]) -> None:
    signs = itertools.product((-1, 1), repeat=len(sums))
    sizes = [abs(sum(s * d for s, d in zip(flip, sums, strict=True))) for flip in signs]
    expected = sum(size >= abs(sum(sums)) for size in sizes) / len(sizes)
    assert sign_flips(np.array(sums, np.int64)) == pytest.approx(expected)


def test_with_one_crop_a_picture_it_is_mcnemars_exact_test() -> None:
    old, new = np.array([1] * 2 + [0] * 10 + [1] * 20, bool), np.array([0] * 2 + [1] * 10 + [1] * 20, bool)
    found = rate_difference(old, new, range(32))
    assert found is not None
    assert found.p == pytest.approx(2 * sum(math.comb(12, k) for k in range(3)) / 2**12)
    assert found.value == pytest.approx(8 / 32)
    assert found.low < found.value < found.high


def pair(seed: int, gain: float = 0.0, pictures: int = 60, copies: int = 3) -> Pair:
    """Two models on bears and others; ``gain`` moves the new one's bears up."""
    rng = np.random.default_rng(seed)
    bear = np.repeat([True] * pictures + [False] * 2 * pictures, copies)
    picture = np.repeat(np.arange(3 * pictures), copies)
    common = rng.normal(0, 0.7, 3 * pictures)[picture] + 1.5 * bear
    old, new = (common + rng.normal(0, 0.6, len(bear)) for _ in range(2))
    return Pair(old, new + gain * bear, bear, picture)


MEASURES = pytest.mark.parametrize("difference", [recall_difference, mean_recall_difference])


@MEASURES
def test_a_model_that_is_better_is_shown_to_be(difference: Callable[..., Difference | None]) -> None:
    found = difference(pair(0, gain=1.5), 0.05)
    assert found is not None
    assert found.gain
    assert not found.loss
    worse = pair(0, gain=1.5)
    back = difference(Pair(worse.new, worse.old, worse.bear, worse.picture), 0.05)
    assert back is not None
    assert back.loss
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    area = auc_difference(pair(0, gain=1.5))
    assert area is not None
    assert area.gain


@MEASURES
def test_equals_are_seldom_found_different(difference: Callable[..., Difference | None]) -> None:
    found = [difference(pair(seed), 0.05) for seed in range(60)]
    reported = sum(one is not None and (one.gain or one.loss) for one in found)
    assert reported <= 8  # 5 % of 60 are 3; more than 8 come once in 200 times


def test_equal_areas_are_seldom_found_different() -> None:
    areas = [auc_difference(pair(seed)) for seed in range(200)]
    assert 1 <= sum(one is not None and one.p <= 0.05 for one in areas) <= 22


@given(st.integers(0, 50), st.sampled_from([np.exp, np.tanh, lambda x: 3 * x - 7]))
@settings(max_examples=15, deadline=None)
def test_only_the_order_of_scores_matters(seed: int, monotone: Any) -> None:
    one = pair(seed, pictures=15)
    other = Pair(one.old, monotone(one.new), one.bear, one.picture)
    assert rankdata(monotone(one.new)) == pytest.approx(rankdata(one.new))
    for difference in (recall_difference, mean_recall_difference):
        assert difference(one, 0.1) == difference(other, 0.1)


def of(low: float, high: float, p: float) -> Difference:
    return Difference(0.5, 0.5 + (low + high) / 2, (low + high) / 2, low, high, p, 300, 100)


@pytest.mark.parametrize(
    ("primary", "lost", "verdict"),
    [
        (of(0.02, 0.10, 0.001), (-0.01, 0.01), "shown to be better"),
        (of(0.02, 0.10, 0.001), (-0.01, 0.03), "not shown to be better"),  # too much may be lost elsewhere
        (of(0.02, 0.10, 0.001), (0.03, 0.06), "shown to be worse"),  # and here it is lost
        (of(-0.01, 0.10, 0.030), (-0.01, 0.01), "not shown to be better"),
        (of(0.01, 0.10, 0.080), (-0.01, 0.01), "not shown to be better"),
        (of(-0.10, -0.01, 0.010), (-0.01, 0.01), "shown to be worse"),
    ],
)
def test_the_rule(primary: Difference, lost: tuple[float, float], verdict: str) -> None:
    found, why = judge(primary, [Guard("stills", lost[1], lost[0], 0.02)], PRIMARY)
    assert found == verdict
    assert "points" in why


def test_without_the_primary_endpoint_no_model_is_better() -> None:
    assert judge(None, [Guard("stills", 0.01, -0.01, 0.02)], PRIMARY)[0] == "not shown to be better"
    verdict, why = judge(None, [Guard("stills", 0.06, 0.03, 0.02)], PRIMARY)
    assert verdict == "shown to be worse"
    assert "at least 3.0 points" in why


@pytest.mark.parametrize(
    ("what", "margin", "sign"),
    [
        ("recall at 1 %, 27 px and more", 0.05, -1),
        ("stills: recall at 1 %", 0.02, -1),
        ("stills: false positives at its own threshold", 0.01, 1),
        ("false positives at its own crop threshold, 27 px and more", 0.02, 1),
    ],
)
def test_what_a_better_model_may_lose(what: str, margin: float, sign: int) -> None:
    def guard(least: float, most: float) -> Guard:
        low, high = sorted((sign * least, sign * most))
        return FAR_RULE.guards_of({what: of(low, high, 0.5)})[0]

    assert guard(-0.5, margin - 0.001).holds
    assert not guard(-0.5, margin + 0.001).holds
    assert not guard(margin - 0.001, 0.5).broken
    assert guard(margin + 0.001, 0.5).broken


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0, "p < 0.001"), (0.0005, "p < 0.001"), (0.001, "p 0.001"), (1.0, "p 1.000")]
)
def test_no_chance_is_shown_as_none(p: float, shown: str) -> None:
    for name in ("stills: recall at 1 %", "AUC, 27 px and more"):
        assert shown in figure_line(name, of(0.01, 0.03, p))


@pytest.fixture
def tiny_pool(tmp_path: Path) -> Path:
    """Pictures of 20 pixels: no subject reaches 27."""
    folder = make_pool(tmp_path / "tiny", bears=3, others=3)
    for file in folder.glob("*.jpg"):
        image = cv2.imread(str(file))
        assert image is not None
        cv2.imwrite(str(file), image[:18, :20])
    return folder


def test_pictures_that_reach_no_27_pixels_show_nothing(
    tiny_pool: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as left:
        command(shop / "blind.onnx", shop / "good.onnx", tiny_pool, require_better=True)
    assert left.value.exit_code == 1
    words = capsys.readouterr().out
    assert "is not shown to be better than" in words.splitlines()[0]
    assert "no crops of 27 px and more" in words


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, a model that knows bears and one that takes foxes for them."""
    folder = tmp_path_factory.mktemp("shop")
    make_pool(folder / "pool", bears=12, others=14)
    write_model(folder / "good.onnx", name="good")
    write_model(folder / "blind.onnx", blind=True, name="blind")
    write_model(folder / "web.onnx", name="web", source="web")
    return folder


@pytest.fixture(scope="module")
def looked(shop: Path) -> tuple[ModelScores, ModelScores, Unseen]:
    pictures = list(read_catalog(shop / "pool").pictures)
    good, blind = (score_model(Classifier(shop / f"{name}.onnx"), pictures) for name in ("good", "blind"))
    return good, blind, Unseen(tuple(pictures), "of nowhere else")


def test_a_worse_model_is_shown_to_be_worse(looked: tuple[ModelScores, ModelScores, Unseen]) -> None:
    good, blind, pictures = looked
    found = compare(good, blind, pictures)
    assert found.verdict == "shown to be worse"
    words = comparison_text(found)
    assert words.startswith(f"{found.new} is shown to be worse than {found.old}.")
    assert "NOT MET" in words
    assert "of nowhere else:" in words
    assert "too few others for 1 % among stills: 17 pictures, 300 are needed" in words
    assert "of 2)" in words  # the trail camera's boxes are counts
    back = compare(blind, good, pictures)
    assert back.verdict == "shown to be better"
    assert back.figures[PRIMARY].value == pytest.approx(-found.figures[PRIMARY].value)


def test_too_few_pictures_show_nothing(looked: tuple[ModelScores, ModelScores, Unseen], shop: Path) -> None:
    pictures = looked[2].pictures
    few = [*pictures[:2], *pictures[12:14], *pictures[-3:]]
    good, blind = (score_model(Classifier(shop / f"{name}.onnx"), few) for name in ("good", "blind"))
    found = compare(blind, good, Unseen(tuple(few), ""))
    assert found.figures[PRIMARY].value == 1
    assert found.verdict == "not shown to be better"


def typed(shop: Path, *words: str) -> Ran:
    return bear_alarm("compare", *words, cwd=shop)


def test_a_better_model_may_be_shipped(
    looked: tuple[ModelScores, ModelScores, Unseen],
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {one.name: one for one in looked[:2]}
    both = Barrier(2, timeout=60)  # broken where one model waits for the other to be done

    def no_progress(model: Classifier, *_: object) -> ModelScores:
        both.wait()
        return known[model.name]

    monkeypatch.setattr("train.evaluate.compare.score_model", no_progress)
    models = shop / "blind.onnx", shop / "good.onnx"
    command(*models, shop / "pool", as_json=True, require_better=True)
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "shown to be better"
    assert next(iter(found["figures"])) == PRIMARY
    assert found["sources"] == ["coco", "trail", "web"]
    with pytest.raises(typer.Exit) as left:
        command(*models[::-1], shop / "pool", require_better=True)
    assert left.value.exit_code == 1


def test_pictures_that_a_model_has_seen_prove_nothing(shop: Path) -> None:
    seen = typed(shop, "good.onnx", "web.onnx", "pool")
    assert seen.returncode == 2
    assert "skipped" in seen.stderr
    assert "no bears that fill the frame" in seen.stderr
    assert "Traceback" not in seen.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("gone.onnx", "good.onnx", "pool"), "no such model file"),
        (("good.onnx", "blind.onnx", "nowhere"), "no such folder"),
        (("good.onnx", "pool/bear0.jpg", "pool"), "not an ONNX model"),
        (("good.onnx", "blind.onnx", "pool", "--split", "best"), "--split is 'best'"),
    ],
)
def test_mistakes_are_one_sentence(shop: Path, words: tuple[str, ...], why: str) -> None:
    ran = typed(shop, *words)
    assert ran.returncode == 2
    assert why in ran.stderr
    assert "Traceback" not in ran.stderr
