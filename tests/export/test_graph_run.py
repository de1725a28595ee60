"""A whole export of a network nobody trained: which score goes into the files, and what their cards state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("fastai")

from torch import nn

from edge.detect.card import Card, FrameRule
from edge.detect.classifier import Classifier
from edge.detect.stills import look
from edge.pictures import read_picture
from edge.schema import WHOLE, Region
from export.artefact import export_run
from export.verify import parity_crops
from tests.export.test_graph import SmallBody
from train.data.catalog import read_catalog
from train.data.pictures import ALARM_LABELS, LABELS, Catalog, is_bear, table_digest
from train.data.split import split_catalog, write_split
from train.learn.inference import SIDES, WINDOWS
from train.learn.network import BearNet
from train.learn.ood import fit_ood_score, pooled_features
from train.learn.predict import answering_learner
from train.learn.recipe import Recipe
from train.learn.run import Run

SIZE, TEMPERATURE, FRAME_TEMPERATURE = 32, 0.75, 1.4


def plain(items: Any, words: str) -> Any:
    """No progress bar."""
    return iter(items)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Catalog]:
    """Brown and green pictures of five cameras, and a run with an untrained network on them."""
    folder = tmp_path_factory.mktemp("export")
    for number, (label, colour) in enumerate((("brown_bear", (40, 60, 110)), ("no_bear", (60, 140, 70)))):
        for camera in range(5):
            for n in range(12):
                rng = np.random.default_rng([number, camera, n])
                file = folder / f"pictures/{label}/camera{camera}/{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                coarse = np.clip(rng.normal(colour, 25, (6, 6, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(file), cv2.resize(coarse, (40, 40), interpolation=cv2.INTER_LINEAR))
    catalog = read_catalog(folder / "pictures")
    split = split_catalog(catalog, 1)
    run = folder / "run"
    run.mkdir()
    digest = write_split(split, catalog.root, run / "split.csv")
    pictures = [row for part in split.values() for row in part]
    settings = {
        "catalog_sha256": table_digest(pictures, catalog.root),
        "split_sha256": digest,
        "counts_by_source": {"pictures": 120},
        "counts_by_licence": {"": 120},
        "learner_sha256": "abc",
    }
    torch.manual_seed(3)
    net = BearNet(SmallBody(24), nn.Linear(24, 1000), LABELS, ALARM_LABELS)
    recipe = Recipe(size=SIZE)
    learner = answering_learner(net.eval(), TEMPERATURE, FRAME_TEMPERATURE, split["train"], split["tune"], recipe, {})
    return Run(run, learner, recipe, settings), catalog


@pytest.fixture(scope="module")
def exported(made: tuple[Run, Catalog]) -> dict[Path, Card]:
    run, catalog = made
    return export_run(run, catalog, run.folder / "bear.onnx", ["fp32", "int8"], force=True, track=plain)


def test_the_card_names_which_score_it_is_and_what_its_threshold_was_fitted_on(exported: dict[Path, Card]) -> None:
    assert len(exported) == 2
    for card in exported.values():
        assert card.temperature == TEMPERATURE  # the run's: it is fitted once
        assert card.frame == FrameRule(SIDES, WINDOWS, FRAME_TEMPERATURE)
        assert (card.ood.method, card.ood.quantile) == ("nearest neighbour", 0.95)
        assert card.ood.pictures == card.thresholds["frame"].n_bear + card.thresholds["frame"].n_no_bear
        assert card.ood.crops is not None
        assert card.ood.crops >= 3 * card.ood.pictures
        assert card.ood.sources == ("pictures",)
        assert card.drift is not None
        assert card.drift.crops == card.ood.crops
        assert card.parity.crops >= 2000


def test_the_device_reads_it_and_answers_as_the_network_does(
    made: tuple[Run, Catalog], exported: dict[Path, Card]
) -> None:
    run, catalog = made
    path = run.folder / "bear.onnx"
    classifier = Classifier(path)
    assert classifier.card == exported[path]
    crops = np.random.default_rng(5).integers(0, 255, (6, SIZE, SIZE, 3), np.uint8)
    _, ood = classifier(crops)
    score = fit_ood_score(run.net, run.backbone, run.split(catalog)["train"], SIZE, run.recipe.seed, plain)
    np.testing.assert_allclose(ood, score(pooled_features(run.net, run.backbone, crops)).numpy(), atol=2e-3)
    assert (ood > classifier.card.ood.threshold).mean() > 0.5  # noise is nothing like the pictures


def test_the_learner_answers_as_fp32_does_and_as_int8_but_for_what_its_card_states(
    made: tuple[Run, Catalog], exported: dict[Path, Card]
) -> None:
    run, catalog = made
    rows = run.split(catalog)["test"]
    crops = parity_crops(rows, SIZE, run.recipe.seed, plain).crops
    rgb = [np.ascontiguousarray(crop[..., ::-1]) for crop in crops]
    files = {card.precision: Classifier(path) for path, card in exported.items()}
    stated = files["int8"].card.parity.int8_max_abs_dp
    assert stated is not None
    with run.learner.no_bar():
        found, _ = run.learner.get_preds(dl=run.learner.dls.test_dl(rgb))
        np.testing.assert_allclose(found, files["fp32"](crops)[0], atol=1e-4)
        assert np.abs(found.numpy() - files["int8"](crops)[0]).max() == pytest.approx(stated, abs=1e-4)
        for row in rows[:6]:
            whole = Region(WHOLE, "scan")
            [score] = files["fp32"].score(read_picture(row.file), [whole])
            np.testing.assert_allclose(run.learner.predict(row.file)[2], score.probabilities, atol=1e-4)


def test_the_frame_scan_is_judged_and_its_threshold_is_what_classify_goes_by(
    made: tuple[Run, Catalog], exported: dict[Path, Card]
) -> None:
    run, catalog = made
    split = run.split(catalog)
    for path, card in exported.items():
        classifier, frame = Classifier(path), card.parity.frame
        assert frame is not None
        assert frame.crops == frame.pictures == len(split["test"])
        assert frame.fp32_max_abs_dp <= 1e-4
        assert (frame.note is None) == (card.precision == "fp32")  # so few bears bound no loss, and its note names that
        found = [look(classifier, read_picture(row.file)) for row in split["tune"]]
        limit = card.thresholds["frame"]
        hit = np.array([one.bear >= limit.value for one in found])
        bears = np.array([is_bear(row.label) for row in split["tune"]])
        assert [one.alarm for one in found] == hit.tolist()
        assert hit[bears].mean() == pytest.approx(limit.recall)
        assert hit[~bears].mean() == pytest.approx(limit.false_positive_rate)
