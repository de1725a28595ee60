"""Find pictures that a model was neither trained nor tuned on, by its card."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.detect.card import Card
from edge.detect.classifier import Classifier
from edge.errors import CatalogError, ModelError
from train.data.decisions import digest_of
from train.data.pictures import Catalog, Picture
from train.data.split import read_split
from train.learn.recipe import recipe_values

log = logging.getLogger(__name__)


def known_sources(card: Card) -> set[str]:
    """Return the sources that a model was trained on, and those of its thresholds."""
    return set(card.counts_by_source).union(*(limit.sources for limit in card.thresholds.values()))


@dataclass(frozen=True)
class Learned:
    """The pictures of a table whose sources are on the model's card."""

    table: bool  # the table is that of its training
    trained: dict[str, int]  # source -> number of pictures
    tuned: dict[str, int]  # the same, for sources of the thresholds only

    @property
    def pictures(self) -> int:
        """Return the number of pictures from sources on the card."""
        return sum(self.trained.values()) + sum(self.tuned.values())


def learned(card: Card, catalog: Catalog, test_of: str | None = None) -> Learned | None:
    """Find the pictures of a table from sources that the model was trained or tuned on; None if there are none.

    ``test_of`` as in ``unseen``: the test part of the model's own run is held out, whatever its sources.
    """
    if test_of is not None and card.digests.get("split_sha256") == test_of:
        return None
    counts = catalog.count("source")
    trained = {source: count for source, count in counts.items() if source in card.counts_by_source}
    known = known_sources(card) - trained.keys()
    tuned = {source: count for source, count in counts.items() if source in known}
    table = card.digests.get("catalog_sha256") == catalog.digest
    return Learned(table, trained, tuned) if trained or tuned else None


def held_out(pictures: Iterable[Picture], cards: Sequence[Card]) -> list[Picture]:
    """Return the pictures of sources on none of the cards; log the skipped ones.

    Raises CatalogError if none are left: then only a run's own split.csv can tell what was held out.
    """
    pictures = list(pictures)
    known = set().union(*(known_sources(card) for card in cards)) if cards else set()
    left = [picture for picture in pictures if picture.source not in known]
    out = sorted({picture.source for picture in pictures} & known)
    if out and not left:
        raise CatalogError(
            f"every source here was used to train or tune the model ({', '.join(out)}); give pictures of other "
            "sources, or the part it has not seen, by its own run: --split-file RUN/split.csv --split test"
        )
    if out:
        log.warning(
            "skipped %d pictures of %d sources that were used to train or tune: %s",
            len(pictures) - len(left),
            len(out),
            ", ".join(out),
        )
    return left


@dataclass(frozen=True)
class Unseen:
    """Pictures that some models have not seen, and how that was checked."""

    pictures: tuple[Picture, ...]
    checked: str  # what was checked, in words after "pictures"
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judge:
    """A model, and pictures to judge it on, which it has not seen."""

    classifier: Classifier
    pictures: tuple[Picture, ...]

    def on(self, pictures: Iterable[Picture]) -> Judge:
        """Return the model with only those of its pictures that are among these."""
        files = {picture.file for picture in pictures}
        return Judge(self.classifier, tuple(picture for picture in self.pictures if picture.file in files))


def in_common(pictures: Iterable[Picture], sides: Iterable[Sequence[Judge]]) -> list[Picture]:
    """Return the pictures that every side has a model for."""
    known = [{picture.file for judge in side for picture in judge.pictures} for side in sides]
    return [picture for picture in pictures if all(picture.file in files for files in known)]


def judges_of(folder: Path, catalog: Catalog) -> list[Judge]:
    """Load the models of a run, or of the folds ``fold-1`` … in ``folder``, each with its ``split.csv``'s test part.

    The first has its whole test part, the others only trail cameras' frames that no earlier one has. Raises ModelError
    if there is no such run, CatalogError if a model is not of its folder's run, or the folds have different recipes.
    """
    runs = [folder] if (folder / "split.csv").is_file() else sorted(folder.glob("fold-*"))
    found: list[Judge] = []
    taken: set[Path] = set()
    for run in runs:
        split, model = run / "split.csv", run / "bear.onnx"
        for file in (split, model):
            if not file.is_file():
                raise ModelError(
                    f"{file}: no such file; make it with `train --out {run}` and `export {run} --out {model}`"
                )
        classifier = Classifier(model)
        if classifier.card.digests.get("split_sha256") != split_digest(split):
            raise CatalogError(f"{model}: was not exported from the run in {run}; export that run again")
        test = [one for one in read_split(catalog, split)["test"] if one.file not in taken]
        pictures = [one for one in test if one.of_trail_camera or not found]
        taken |= {one.file for one in pictures}
        found.append(Judge(classifier, tuple(pictures)))
    check_one_recipe(runs)
    if not found:
        raise ModelError(f"{folder}: no run and no folder fold-1 in it; name a model file, or the folder of the folds")
    return found


def check_one_recipe(runs: Sequence[Path]) -> None:
    """Raise CatalogError if two runs have different recipes, apart from the seed.

    A run without its settings is not checked. Raises OptionError for settings that cannot be read.
    """
    recipes = {run: recipe_values(run / "settings.json") for run in runs if (run / "settings.json").is_file()}
    (first, values), *others = recipes.items() or [(None, {})]
    for run, recipe in others:
        for name in sorted((values.keys() | recipe.keys()) - {"seed"}):
            if values.get(name) != recipe.get(name):
                raise CatalogError(
                    f"{run}: trained with {name} {recipe.get(name)}, {first} with {values.get(name)}; folds must have "
                    "one recipe: train one of them again"
                )


def split_digest(path: Path) -> str:
    """Return the SHA-256 of a ``split.csv``, as on the cards of its run's models. Raises CatalogError."""
    try:
        return digest_of(path)
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror})") from None


def unseen(
    pictures: Iterable[Picture],
    models: Sequence[Classifier],
    test_of: str | None = None,
    folds: Iterable[Sequence[Judge]] = (),
) -> Unseen:
    """Return the pictures that none of the models was trained or tuned on; ``folds`` are checked already.

    ``test_of``: the SHA-256 of the split, if the pictures are a run's test part. For a model of another split, pictures
    of sources on its card are skipped. Raises CatalogError if none are left.
    """
    pictures = list(pictures)
    own = [model for model in models if test_of is not None and model.card.digests.get("split_sha256") == test_of]
    foreign = [model for model in models if model not in own]
    left = held_out(pictures, [model.card for model in foreign])
    if not left:
        raise CatalogError("both models together have seen every picture here; give pictures that neither has seen")
    checked = [f"in the test part of the run of {_names(own)}"] if own else []
    cards = [f"the card of {name}" for name in dict.fromkeys(model.name for model in foreign)]
    if len(cards) == 1:
        checked.append(f"of sources that {cards[0]} does not name")
    elif cards:
        checked.append(f"of sources that neither {' nor '.join(cards)} names")
    checked += [f"in the test parts of {_names(judge.classifier for judge in side)}" for side in folds]
    gone = len(pictures) - len(left)
    out = f"{gone} pictures of sources on the card of {_names(foreign)} are skipped"
    return Unseen(tuple(left), ", ".join(checked), (out,) if gone else ())


def _names(models: Iterable[Classifier]) -> str:
    return " and ".join(dict.fromkeys(model.name for model in models))
