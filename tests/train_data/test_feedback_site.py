"""The whole way round in seconds: a camera's first days are watched, reviewed, imported; its later days go better."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.detect.crops import cut
from edge.pictures import read_picture
from tests.helpers.feedback_loop import CONTEXT, Days, Judge, fit, review_all, watch_days
from tests.helpers.feedback_site import Site, elsewhere, scenes
from train.data.catalog import read_catalog
from train.data.feedback import ImportOptions, ImportResult, import_evidence
from train.data.feedback_evidence import open_evidence
from train.data.pictures import Catalog, is_bear
from train.learn.examples import cut_example, examples_of

pytestmark = pytest.mark.slow
FIRST_DAYS, LATER_DAYS = range(1, 3), range(4, 6)


class Thumbnails:
    """Features that need no network: shape as a small grey picture, colour as a smaller one."""

    size, keep = 64, 0.0

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (N, 412) and no logits of its own."""
        rows = []
        for crop in crops:
            grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), (16, 16), interpolation=cv2.INTER_AREA)
            colour = cv2.resize(crop, (6, 6), interpolation=cv2.INTER_AREA).astype(np.float32)
            level = grey.astype(np.float32) - grey.mean()
            texture = [crop[:32].std(), crop[32:].std(), *cv2.Laplacian(crop, cv2.CV_32F).std(axis=(0, 1))]
            edges = cv2.resize(np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)), (7, 6)).ravel()
            rows.append(np.concatenate([level.ravel(), colour.ravel() - colour.mean(), edges, texture]))
        return np.asarray(rows, np.float32), np.zeros(len(crops), np.float32)


def base() -> tuple[list[NDArray[np.uint8]], list[bool]]:
    """Crops of other places."""
    found = elsewhere(7, 180)
    return [cut(image, box, 64, CONTEXT) for image, box, _ in found], [bear for *_, bear in found]


def learn(crops: list[NDArray[np.uint8]], bears: list[bool]) -> Judge:
    features, _ = Thumbnails()(np.stack(crops))
    return replace(fit(Thumbnails(), features, np.array(bears), seed=1, steps=200), threshold=0.5)


class Round:
    """Once round the loop: what was before, what was imported, what came after."""

    def __init__(self, folder: Path) -> None:
        site = Site(5, size_wh=(640, 360), fps=4.0, lasts_s=5.0)
        crops, bears = base()
        before = learn(crops, bears)
        self.first: Days = watch_days(site, scenes(FIRST_DAYS), before, folder / "evidence", clips=False)
        review_all(self.first)
        with open_evidence(folder / "evidence") as evidence:
            self.result: ImportResult = import_evidence(
                evidence, folder / "data", ImportOptions(site="the gate", zone=UTC)
            )
        self.catalog: Catalog = read_catalog(folder / "data")
        for row in self.catalog.pictures:
            for example in examples_of([row]):
                pixels = cut_example(read_picture(row.file), example.box_xywh)
                crops.append(cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA).astype(np.uint8))
                bears.append(is_bear(row.label))
        after = learn(crops, bears)
        self.before: Days = watch_days(site, scenes(LATER_DAYS), before)
        self.after: Days = watch_days(site, scenes(LATER_DAYS), after)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Round:
    """The loop, walked once."""
    return Round(tmp_path_factory.mktemp("round"))


def test_the_first_days_cry_wolf_and_what_came_of_them_is_grouped_by_camera_and_day(once: Round) -> None:
    assert once.first.false_alarms >= 2
    assert once.first.found >= 1
    assert once.result.groups == {"gate/2026-05-01", "gate/2026-05-02"}
    assert {row.source for row in once.catalog.pictures} == {"the gate"}
    assert {row.label for row in once.catalog.pictures} == {"no_bear", "bear_any"}


def test_the_later_days_have_fewer_false_alarms_and_no_bear_is_lost(once: Round) -> None:
    assert once.before.false_alarms >= 2
    assert once.after.false_alarms < once.before.false_alarms
    assert once.after.found >= once.before.found
    assert np.mean(once.after.sign_p) < np.mean(once.before.sign_p) - 0.1
