"""``compare`` on frames of trail cameras: its endpoint, its limits, and folds that judge what they have not seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.detect.classifier import Classifier
from edge.errors import CatalogError, OptionError
from tests.helpers.benchmark_pool import write_model
from tests.helpers.trail_world import BEARS, OTHERS, fold_runs, trail_pool
from tests.train_evaluate.test_trail_cameras import one
from train.data.catalog import read_catalog
from train.data.split import read_split
from train.evaluate.command import compare as command
from train.evaluate.compare import (
    AT_1,
    DARK,
    NIGHT,
    OWN,
    OWN_ALARMS,
    SMALL,
    STILLS,
    TOYS,
    TRAIL_PRIMARY,
    TRAIL_RULE,
    Guard,
    ModelScores,
    frame_differences,
    judge,
)
from train.evaluate.far_bears import benchmark_scores
from train.evaluate.held_out import split_digest
from train.evaluate.report import compared
from train.evaluate.stills import still_scores
from train.evaluate.trail_cameras import Frame
from train.metrics.paired import Difference


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few crops in each size bin, and few draws, are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.evaluate.far_bears.MIN_CROPS", 3)
        patch.setattr("train.metrics.rates.REPLICATES", 50)
        yield


def frames(bears: float, others: int = 320) -> list[Frame]:
    """Eight bears that score 0.1 to 0.8 times ``bears``, others below 0.3 of eight cameras, every fourth at night."""
    return [
        *(one(bears * number / 10, bear=True, number=number, grey=number < 3) for number in range(1, 9)),
        *(
            one(
                0.3 * number / others,
                number=number,
                camera=f"c{number % 8}",
                night=number % 4 == 0,
                dark_animal=number < 9,
            )
            for number in range(others)
        ),
    ]


def test_the_endpoint_is_recall_up_to_two_percent() -> None:
    found = frame_differences(frames(0.4), frames(1.0))
    assert list(found) == [
        TRAIL_PRIMARY, AT_1, "trail cameras: recall at 2 %", OWN,
        "trail cameras, grey or infrared: recall at its own threshold", OWN_ALARMS, NIGHT, DARK,
    ]  # fmt: skip
    assert (found[OWN].old, found[OWN].new) == (0, 4 / 8)
    assert (found[AT_1].old, found[AT_1].new) == (1 / 8, 6 / 8)
    assert found[TRAIL_PRIMARY].value == pytest.approx(5 / 8)
    assert (found[NIGHT].n, found[DARK].n) == (80, 9)


def test_only_frames_that_both_judged_count_and_too_few_give_no_endpoint() -> None:
    old, new = frames(0.4), frames(1.0)
    assert frame_differences(old, new[3:])[OWN].n == 5
    assert frame_differences(old, new[::-1])[OWN_ALARMS].n == 320
    assert frame_differences(frames(0.4, 149), frames(1.0, 149)) == {}  # 2 % are not three false alarms
    assert frame_differences(old[8:], new[8:]) == {}


def of(old: float, new: float, low: float = -0.5, high: float = 0.5, p: float = 0.5) -> Difference:
    return Difference(old, new, new - old, low, high, p, 100, 50)


@pytest.mark.parametrize(
    ("figure", "difference", "holds", "broken"),
    [
        (STILLS, of(1.0, 0.98), True, False),
        (STILLS, of(1.0, 0.97), False, False),
        (STILLS, of(0.95, 0.96), True, False),  # no worse than before
        (STILLS, of(1.0, 0.90, -0.2, -0.05, 0.001), False, True),
        (TOYS, of(0.0, 0.02), True, False),
        (TOYS, of(0.0, 0.03), False, False),
        (NIGHT, of(0.0, 0.01), True, False),
        (NIGHT, of(0.03, 0.02), True, False),
        (DARK, of(0.0, 0.05, 0.01, 0.1, 0.001), False, True),
        (SMALL, of(0.6, 0.5), True, False),
        (SMALL, of(0.6, 0.5, -0.2, -0.05, 0.01), False, True),
    ],
)
def test_what_a_better_model_may_not_lose(figure: str, difference: Difference, holds: bool, broken: bool) -> None:
    [guard] = TRAIL_RULE.guards_of({figure: difference})
    assert (guard.holds, guard.broken) == (holds, broken)
    better = of(0.5, 0.8, 0.1, 0.5, 0.001)
    verdict = "shown to be better" if holds else "shown to be worse" if broken else "not shown to be better"
    assert judge(better, [guard], TRAIL_PRIMARY)[0] == verdict


def test_the_reason_names_the_endpoint() -> None:
    assert judge(of(0.5, 0.8, 0.1, 0.5, 0.001), [Guard("x", 0.0, 0.0, 0.0)], TRAIL_PRIMARY)[1].startswith(
        f"{TRAIL_PRIMARY}: +30.0"
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folds")
    pool = trail_pool(folder / "pool")
    fold_runs(folder / "good", pool)
    fold_runs(folder / "blind", pool, 4, blind=True)
    return folder


def test_folds_of_two_recipes_are_compared_frame_by_frame(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("train.evaluate.far_bears.MIN_CROPS", 3)
    command(world / "blind", world / "good", world / "pool", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert next(iter(found["figures"])) == TRAIL_PRIMARY
    assert (found["figures"][OWN]["n"], found["figures"][OWN_ALARMS]["n"]) == (BEARS, OTHERS)
    assert found["figures"][OWN_ALARMS]["old"] == 1.0
    assert found["verdict"] == "shown to be better"
    assert found["figures"][STILLS]["n"] == 12  # of the test part that both first folds have
    assert found["checked"].count("in the test parts of fold1@") == 2
    assert (found["old"], found["new"]) == (f"{world / 'blind'} (4 folds)", f"{world / 'good'} (3 folds)")
    assert not any("go by animals made far" in words for words in found["doubts"])


def test_a_file_is_judged_by_its_card_beside_folds(world: Path) -> None:
    with pytest.raises(CatalogError, match="every source here was used"):  # its card names the frames' source
        command(world / "good/fold-1/bear.onnx", world / "blind", world / "pool", source=["cards"])
    with pytest.raises(OptionError, match="the same model"):
        command(world / "good", world / "good", world / "pool")


def test_the_report_of_a_fold_goes_by_its_frames_too(world: Path) -> None:
    catalog = read_catalog(world / "pool")
    run = fold_runs(world / "halves", world / "pool", 2) / "fold-1"
    test = read_split(catalog, run / "split.csv")["test"]
    model = Classifier(run / "bear.onnx")
    last = Classifier(write_model(world / "last.onnx", blind=True, name="last"))
    looked = ModelScores(model.name, model.card, benchmark_scores(model, test), still_scores(model, test))
    files = SimpleNamespace(test=test, settings={"split_sha256": split_digest(run / "split.csv")})
    found, _ = compared(last, model, looked, files, lambda items, _: iter(items))  # type: ignore[arg-type]
    assert found is not None
    assert found.figures[OWN].n == sum(one.of_trail_camera and one.label != "no_bear" for one in test)
