"""The report's figures against what can be worked out: aims, curves, calibration, int8 beside fp32, odd pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from edge.detect.classifier import Classifier
from tests.helpers.benchmark_pool import make_pool, write_model
from tests.helpers.tiny import tiny_card, write_tiny_model
from tests.train_evaluate.test_report import make_run
from train.evaluate import report_page
from train.evaluate.report import aims, at_least, calibration, find_out, read_files
from train.evaluate.report_page import write_page
from train.evaluate.stills import Judged
from train.metrics.rates import Rate


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few crops in each size bin are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluate.far_bears.MIN_CROPS", 2)
        yield


def plain(items: Iterable[Any], _: str) -> Iterator[Any]:
    """No progress bar."""
    return iter(items)


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (0.99, 0.98, 1.0, "met"),
        (0.99, 0.96, 1.0, "met, the interval leaves it open"),
        (0.96, 0.94, 0.98, "not met, the interval leaves it open"),
        (0.90, 0.85, 0.95, "not met"),
    ],
)
def test_whether_an_aim_is_met(value: float, low: float, high: float, words: str) -> None:
    aim = at_least("recall", Rate(0, 100, value, low, high), 0.975)
    assert aim.words == words
    assert aim.met == (value >= 0.975)


def judged(p: float, bear: bool, number: int) -> Judged:
    """A crop with two labels, the second a bear's."""
    return Judged("crop", f"{number}.jpg", bear, "", "web", False, "", p, False, 30.0, (1 - p, p))


def test_calibration_before_and_after_a_temperature_of_two() -> None:
    rows = [judged(0.8, number % 5 > 0, number) for number in range(100)]
    before, after = calibration(rows, 2.0, [1])["crops as they are"]
    assert after.predicted == pytest.approx((0.8,))
    assert before.predicted == pytest.approx((0.64 / 0.68,))  # the odds of 4 squared
    assert (after.plain, before.plain) == pytest.approx((0, 0.64 / 0.68 - 0.8))
    assert after.error <= 0.03 < before.error


def test_the_aim_of_calibration_goes_by_the_error_without_chance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = read_files(make_run(tmp_path / "run", make_pool(tmp_path / "pool", bears=3, others=4)), None, {})
    found = find_out(run, Classifier(write_model(tmp_path / "m.onnx")), [], None, plain)
    rows = [judged(0.8, number % 5 > 0, number) for number in range(100)]
    right = calibration(rows, 2.0, [1])["crops as they are"][1]
    for error, high, words in ((0.02, 0.025, "met"), (0.02, 0.05, "met, the"), (0.05, 0.06, "not met, the")):
        one = replace(right, plain=0.069, expected=0.068, error=error, low=0.0, high=high)
        (aim,) = (
            aim for aim in aims(replace(found, calibration={"x": (one, one)})) if aim.what.startswith("calibration")
        )
        assert aim.words.startswith(words)
        assert aim.found.startswith(f"{100 * error:.1f} %")
    page = unescape(write_page(found, ""))
    assert "a perfect model's as counted" in page
    assert "too few others for 1 %" in page
    assert "are too few others for 1 %" in page  # of stills


def test_the_det_curve_falls_as_more_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []

    def kept(figure: Figure) -> str:
        drawn.append(figure)
        return ""

    monkeypatch.setattr(report_page, "svg", kept)
    scores, bears = np.array([0.9, 0.8, 0.7, 0.6, 0.2]), np.array([True, True, False, True, False])
    report_page.curves({"stills": (scores, bears)})
    (left, right) = drawn[0].axes
    recall, precision = (np.asarray(values) for values in left.lines[0].get_data())
    passed, missed = (np.asarray(values) for values in right.lines[0].get_data())
    assert list(recall) == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert list(precision) == pytest.approx([1, 1, 2 / 3, 3 / 4, 3 / 5])
    assert list(missed) == pytest.approx(report_page.deviate(np.array([2 / 3, 1 / 3, 1 / 3, 0, 0])))
    assert list(passed) == pytest.approx(report_page.deviate(np.array([0, 0, 0.5, 0.5, 1])))


def test_pictures_that_reach_no_27_pixels_still_make_a_page(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "pool", bears=3, others=3)
    for file in pool.glob("*.jpg"):
        image = cv2.imread(str(file))
        assert image is not None
        cv2.imwrite(str(file), image[:18, :20])
    run = make_run(tmp_path / "run", pool)
    digests = {"split_sha256": json.loads((run / "settings.json").read_text())["split_sha256"]}
    model = write_tiny_model(run / "bear.onnx", replace(tiny_card(), digests=digests))
    last = Classifier(write_model(tmp_path / "old.onnx", name="old"))
    found = find_out(read_files(run, None, {}), Classifier(model), [], last, plain)
    assert found.last is not None
    assert found.last.verdict == "not shown to be better"
    page = write_page(found, "")
    assert "no crops of 27 px and more" in page
    assert "27-45 px: 0 crops of 0 pictures of bears, short of 2." in page
