"""Pictures that a model knows prove nothing of it: whose split file it is decides; what was checked is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

from edge.detect.classifier import Classifier
from edge.errors import CatalogError
from tests.helpers.benchmark_pool import make_pool
from tests.helpers.tiny import tiny_card, write_tiny_model
from tests.train_evaluate.test_report import make_run
from train.data.catalog import read_catalog
from train.evaluate.command import compare as command
from train.evaluate.held_out import split_digest, unseen
from train.evaluate.report import find_out, read_files
from train.evaluate.report_page import write_page


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few crops in each size bin are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluate.far_bears.MIN_CROPS", 3)
        yield


def plain(items: Iterable[Any], _: str) -> Iterator[Any]:
    """No progress bar."""
    return iter(items)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool that is one run's test part, and models that know parts of it, or were split by that run."""
    folder = tmp_path_factory.mktemp("unseen")
    run = make_run(folder / "run", make_pool(folder / "pool", bears=4, others=5))
    digest = {"split_sha256": split_digest(run / "split.csv")}
    for name, sources, digests in (
        ("own", ("web", "coco", "trail"), digest),
        ("web", ("web",), {}),
        ("coco", ("coco",), {}),
        ("all", ("web", "coco", "trail"), {"split_sha256": "another run's"}),
        ("strange", ("elsewhere",), {}),
    ):
        card = replace(tiny_card(), name=name, counts_by_source=dict.fromkeys(sources, 9), digests=digests)
        write_tiny_model(folder / f"{name}.onnx", card)
    return folder


def test_a_split_file_speaks_for_the_models_of_its_run_alone(place: Path) -> None:
    own, web, coco, strange = (Classifier(place / f"{name}.onnx") for name in ("own", "web", "coco", "strange"))
    pictures = read_catalog(place / "pool").pictures
    digest = split_digest(place / "run" / "split.csv")
    both = unseen(pictures, (own, own), digest)
    assert len(both.pictures) == len(pictures)
    assert (both.checked, both.warnings) == (f"in the test part of the run of {own.name}", ())
    part = unseen(pictures, (coco, own), digest)
    assert {picture.source for picture in part.pictures} == {"web", "trail"}
    assert (
        part.checked
        == f"in the test part of the run of {own.name}, of sources that the card of {coco.name} does not name"
    )
    assert part.warnings == (f"2 pictures of sources on the card of {coco.name} are skipped",)
    none = unseen(pictures, (strange, coco))
    assert none.checked == f"of sources that neither the card of {strange.name} nor the card of {coco.name} names"
    with pytest.raises(CatalogError, match="every source here was used"):
        unseen(pictures, (own, web))  # without its split file the card of the first names them all


def test_compare_leaves_out_what_the_other_model_learned(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import train.evaluate.compare as judging

    look, shown = judging.score_model, []

    def score_model(model: Any, pictures: Any, *_: Any) -> Any:
        shown.append({picture.source for picture in pictures})
        return look(model, pictures)

    monkeypatch.setattr(judging, "score_model", score_model)
    split = {"split": "test", "split_file": place / "run" / "split.csv"}
    command(place / "coco.onnx", place / "own.onnx", place / "pool", **split)  # type: ignore[arg-type]
    assert shown == [{"web", "trail"}] * 2
    words = capsys.readouterr().out
    assert "of sources that the card of coco@" in words
    assert "Note: 2 pictures of sources on the card of coco@" in words
    with pytest.raises(CatalogError, match="every source here was used to train or tune the model"):
        command(place / "all.onnx", place / "own.onnx", place / "pool", **split)  # type: ignore[arg-type]


def test_the_part_a_model_was_tuned_on_spares_no_model(place: Path, tmp_path: Path) -> None:
    tuned = (place / "run" / "split.csv").read_text().replace(",test\n", ",tune\n")
    (tmp_path / "split.csv").write_text(tuned)
    own = tmp_path / "own.onnx"
    digest = {"split_sha256": split_digest(tmp_path / "split.csv")}
    write_tiny_model(
        own, replace(tiny_card(), counts_by_source=dict.fromkeys(("web", "coco", "trail"), 9), digests=digest)
    )
    with pytest.raises(CatalogError, match="every source here was used"):
        command(own, place / "all.onnx", place / "pool", split="tune", split_file=tmp_path / "split.csv")


def test_the_report_compares_on_what_the_last_model_has_not_seen(place: Path) -> None:
    run = read_files(place / "run", None, {})
    own = Classifier(place / "own.onnx")
    found = find_out(run, own, [], Classifier(place / "coco.onnx"), plain)
    assert found.last is not None
    assert found.last.pictures == len(run.test) - 2
    assert found.last.sources == ("trail", "web")
    page = write_page(found, "")
    assert "of sources that the card of coco@" in page
    assert "Note: 2 pictures of sources on the card of coco@" in page
    assert "may have seen" not in page
    none = find_out(run, own, [], Classifier(place / "all.onnx"), plain)
    assert none.last is None
    assert "The last model is not put beside this one: every source here was used to train or tune" in write_page(
        none, ""
    )


def test_the_page_names_which_model_may_have_seen_its_pictures(place: Path) -> None:
    run = read_files(place / "run", None, {})
    page = write_page(find_out(run, Classifier(place / "web.onnx"), [], None, plain), "")
    assert (
        "was not exported from run, and may have seen these test pictures: it was trained or tuned on pictures of web."
        in page
    )
    other = replace(run, settings=run.settings | {"learner_sha256": "mine"})
    card = Classifier(place / "own.onnx")
    object.__setattr__(card, "card", replace(card.card, digests=card.card.digests | {"learner_sha256": "another"}))
    words = write_page(find_out(other, card, [], None, plain), "")
    assert "was exported from another training than run, on the same split." in words
