"""``report``: one page that needs nothing else, with every miss on it, and sentences where it cannot be made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("matplotlib")


from edge.detect.classifier import Classifier
from edge.errors import CatalogError, OptionError
from tests.helpers.benchmark_pool import make_pool, painted, write_model
from tests.helpers.tiny import FRAME, NO_BEAR_COLOUR, tiny_answer, tiny_card, write_tiny_model
from train.data.catalog import read_catalog
from train.data.split import write_split
from train.evaluate.command import report
from train.evaluate.report import exported, find_out, read_files
from train.evaluate.report_page import (
    confusion_counts,
    deviate,
    loss,
    misses,
    operating_points,
    svg,
    thumbnail,
    top_losses,
    write_page,
)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few crops in each size bin are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluate.far_bears.MIN_CROPS", 5)
        yield


def plain(items: Iterable[Any], _: str) -> Iterator[Any]:
    """No progress bar."""
    return iter(items)


def make_run(folder: Path, pool: Path) -> Path:
    """A finished run on ``pool``, all of it its test part, without a Learner."""
    folder.mkdir()
    catalog = read_catalog(pool)
    digest = write_split({"train": [], "tune": [], "test": list(catalog.pictures)}, catalog.root, folder / "split.csv")
    settings = {
        "recipe": {"seed": 3, "backbone": "colours"},
        "catalog": str(pool),
        "manifest": "MANIFEST.csv",
        "called": catalog.called,
        "catalog_sha256": catalog.digest,
        "split_sha256": digest,
        "created": "2026-01-01T00:00:00+00:00",
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    history = [
        {"train_loss": 1.0, "valid_loss": 0.9, "bear_recall": 0.5, "false_positive_rate": 0.1, "error_rate": 0.4}
    ]
    (folder / "metrics.json").write_text(json.dumps({"history": history * 2}))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool with one bear that looks like a fox, its run, and the model exported from it."""
    folder = tmp_path_factory.mktemp("report")
    pool = make_pool(folder / "pool", bears=6, others=8)
    cv2.imwrite(str(pool / "bear3.jpg"), painted(NO_BEAR_COLOUR, 70))
    run = make_run(folder / "run", pool)
    digests = {"split_sha256": json.loads((run / "settings.json").read_text())["split_sha256"]}
    card = replace(tiny_card(), name="tiny <b>", digests=digests, counts_by_source={"elsewhere": 120})
    write_tiny_model(run / "bear.onnx", card)
    write_model(folder / "old.onnx", blind=True, name="old")
    return folder


class Addresses(HTMLParser):
    """Every address a page names, and the tags it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        self.anchors |= {value or "" for name, value in attrs if name == "id"}


@pytest.fixture(scope="module")
def html(place: Path) -> str:
    out = place / "page.html"
    report(place / "run", last=place / "old.onnx", out=out)
    return out.read_text(encoding="utf-8")


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    found = Addresses()
    found.feed(html)
    assert found.addresses
    for address in found.addresses:
        assert address.startswith(("data:image/jpeg;base64,", "data:image/png;base64,", "#"))
        assert not address.startswith("#") or address[1:] in found.anchors
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert not re.search(r"@import|url\((?!#)", html)
    assert "width=device-width" in html
    assert "tiny &lt;b&gt;@" in html
    assert "tiny <b>@" not in html


def test_the_page_holds_every_section(html: str) -> None:
    for words in (
        "Every bear missed among stills",
        "False positives by animal",
        "Trail-camera bears, x of n",
        "DET",
        "ECE",
        "answer",
        "Top losses",
        "day or infrared",
        "There are no clips",
        "This model is fp32.",
        "epoch",
        "is not shown to be better than old@",  # six bears are too few
    ):
        assert words in html, words
    section = html[html.index('<section id="misses">') : html.index('<section id="far">')]
    assert "bear3.jpg" in section
    assert section.count("<img") == 1
    assert "not met" in html


def test_figures_on_the_page_are_those_of_the_model(place: Path) -> None:
    run = read_files(place / "run", None, {})
    path = exported(run)
    assert path == place / "run" / "bear.onnx"
    found = find_out(run, Classifier(path), [], None, plain)
    assert found.last is None
    rows, columns, counts = confusion_counts(found)
    assert counts.sum() == 6 + 8 + 1 + 2 + 2  # two boxes on the trail camera
    assert counts[rows.index("no_bear"), columns.index("no_bear")] == 10
    assert "bear3.jpg" in misses(found)[0][1]
    assert "bear3.jpg" in top_losses(found)[0][1]
    before, after = found.calibration["crops as they are"]
    assert before.error == pytest.approx(after.error)  # its temperature is 1
    write_page(found, "bear-alarm report run")


def test_the_page_has_the_gate_of_an_int8_file(place: Path, tmp_path: Path) -> None:
    run = read_files(place / "run", None, {})
    digests = {"split_sha256": run.settings["split_sha256"]}
    parity = replace(tiny_card().parity, int8_max_abs_dp=0.1, int8_recall_loss_upper95=0.002, int8_recall_loss=0.001)
    card = replace(tiny_card(), precision="int8", quantization="none", parity=parity, digests=digests)
    model = write_tiny_model(tmp_path / "m.onnx", card)
    words = write_page(find_out(run, Classifier(model), [], None, plain), "")
    assert "+0.20" in words  # the gate's bound


def test_a_run_that_was_not_exported_is_asked_itself(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastai")
    import train.learn.inference
    import train.learn.run

    run = make_run(tmp_path / "fresh", place / "pool")
    limit = {"value": 0.6, "recall": 0.9, "false_positive_rate": 0.01, "n_bear": 5, "n_no_bear": 5, "sources": ["a"]}
    (run / "metrics.json").write_text(json.dumps({"thresholds": {"all": limit}}))
    recipe = SimpleNamespace(size=32, backbone="colours")
    run_read = SimpleNamespace(recipe=recipe, net=None, backbone=None, temperature=1.5, frame=FRAME)
    monkeypatch.setattr(train.learn.run, "read_run", lambda _: run_read)
    asked: list[int] = []

    def ask_crops(_: Any, __: Any, crops: np.ndarray) -> np.ndarray:
        asked.append(len(crops))
        return 1.5 * np.log(np.clip(tiny_answer(crops), 1e-9, 1))

    def ask_frame(_: Any, __: Any, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h, w = frame.shape[0] // 32, frame.shape[1] // 32
        count = sum((h - k + 1) * (w - k + 1) for k in FRAME.windows)
        answer = np.log(np.clip(tiny_answer(frame[None]), 1e-9, 1))
        return np.repeat(answer, count, 0), np.zeros((h, w), np.float32)

    monkeypatch.setattr(train.learn.inference, "ask_crops", ask_crops)
    monkeypatch.setattr(train.learn.inference, "ask_frame", ask_frame)
    report(run)
    html = (run / "report.html").read_text(encoding="utf-8")
    assert "fresh, not exported" in html
    assert asked
    assert html.count("bear3.jpg") >= 1
    (run / "metrics.json").write_text("{}")
    with pytest.raises(CatalogError, match=r"metrics\.json: missing or damaged"):
        report(run)


def test_pictures_without_a_benchmark_still_make_a_page(place: Path, tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "pool", bears=3, others=0)
    table_ = (pool / "MANIFEST.csv").read_text().splitlines()
    (pool / "MANIFEST.csv").write_text("\n".join(line for line in table_ if "toy" not in line) + "\n")
    run = make_run(tmp_path / "run", pool)
    report(run, model=place / "old.onnx", last=place / "old.onnx")
    page_ = (run / "report.html").read_text(encoding="utf-8")
    assert "These pictures allow no benchmark" in page_
    assert "The last model is not put beside this one: the benchmark finds no other animals" in page_


def test_pictures_that_came_later_are_left_out(place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pool = make_pool(tmp_path / "pool", bears=2, others=2)
    run = make_run(tmp_path / "run", pool)
    cv2.imwrite(str(pool / "new.jpg"), painted(NO_BEAR_COLOUR, 1))
    with (pool / "MANIFEST.csv").open("a") as table_:
        table_.write("test,new.jpg,no_bear,web,,CC0,0,fox\n")
    found = read_files(run, None, {})
    assert "1 pictures were added after" in caplog.text
    assert all(picture.file.name != "new.jpg" for picture in found.test)
    (pool / "new.jpg").unlink()
    rows = (pool / "MANIFEST.csv").read_text().replace("bear0.jpg,black_bear", "bear0.jpg,no_bear").splitlines()[:-1]
    (pool / "MANIFEST.csv").write_text("\n".join(rows) + "\n")
    read_files(run, None, {})
    assert "pictures or labels changed" in caplog.text


def test_mistakes_are_one_sentence(place: Path, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"not a finished training run \(settings\.json is missing\)"):
        report(tmp_path)
    with pytest.raises(OptionError, match="cannot be written"):
        report(place / "run", out=tmp_path / "nowhere" / "page.html")
    with pytest.raises(CatalogError, match="give their folder with --data"):
        report(place / "run", data=tmp_path / "gone")
    odd = make_run(tmp_path / "odd", place / "pool")
    (odd / "settings.json").write_text(json.dumps(json.loads((odd / "settings.json").read_text()) | {"recipe": [1]}))
    with pytest.raises(CatalogError, match=r"settings\.json: damaged, its recipe cannot be read"):
        report(odd)
    damaged = make_run(tmp_path / "damaged", place / "pool")
    (damaged / "settings.json").write_text("[1]")
    with pytest.raises(CatalogError, match="damaged"):
        report(damaged)
    moved = make_run(tmp_path / "moved", place / "pool")
    (moved / "split.csv").write_text((moved / "split.csv").read_text().replace(",test\n", ",train\n", 1))
    with pytest.raises(CatalogError, match=r"split\.csv: changed since the run was trained"):
        report(moved)
    unsplit = make_run(tmp_path / "unsplit", place / "pool")
    (unsplit / "split.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CatalogError, match=r"split\.csv: column .* is missing"):
        report(unsplit)


def test_operating_points_by_hand() -> None:
    scores, bears = np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, False, True, False])
    passed, recall, precision = operating_points(scores, bears)
    assert passed.tolist() == [0, 0.5, 1]
    assert recall.tolist() == [0.5, 1, 1]  # the two at 0.8 are passed together
    assert precision.tolist() == pytest.approx([1, 2 / 3, 0.5])
    assert deviate(np.array([0.5]))[0] == pytest.approx(0)
    assert np.isfinite(deviate(np.array([0.0, 1.0]))).all()


def test_a_bear_of_unknown_species_loses_nothing_for_its_species(place: Path) -> None:
    run = read_files(place / "run", None, {})
    found = find_out(run, Classifier(place / "run" / "bear.onnx"), [], None, plain)
    row = next(row for row in found.stills.rows if row.mode == "crop" and row.file.endswith("far.png"))
    assert loss(row, "bear_any", found.classifier.card) == pytest.approx(-np.log(row.score))
    assert loss(row, "no_bear", found.classifier.card) > 3


def test_words_are_escaped_wherever_they_enter(place: Path) -> None:
    run = read_files(place / "run", None, {})
    run = replace(run, settings=run.settings | {"recipe": {"seed": "<i>seed"}, "created": "<i>created"})
    found = find_out(run, Classifier(place / "run" / "bear.onnx"), [], None, plain)
    rows = tuple(replace(row, note="<i>note", source="<i>source") for row in found.stills.rows)
    stills = replace(found.stills, rows=rows)
    words = write_page(replace(found, stills=stills, doubts=("<i>doubt",), last_why="<i>why"), "<i>command")
    assert "<i>" not in words
    for where in ("seed", "created", "note", "source", "doubt", "why", "command"):
        assert f"&lt;i&gt;{where}" in words


def test_plots_and_pictures_are_small() -> None:
    assert len(thumbnail(np.random.default_rng(0).integers(0, 255, (2000, 1000, 3), np.uint8))) < 20_000
    from matplotlib.figure import Figure

    drawn = svg(Figure(figsize=(1, 1)))
    assert drawn.startswith("<svg")
    assert "metadata" not in drawn
