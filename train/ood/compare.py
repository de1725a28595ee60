"""The methods side by side on the same crops, and the one that wins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edge.errors import OptionError
from train.data.outsiders import Outsider, in_domain, of_catalog
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.data.split import Split
from train.learning.network import BearNet
from train.learning.pictures import Track
from train.learning.run import Run
from train.ood.crops import MOST_TO_FIT, Sample, sample_domain, sample_outsiders
from train.ood.fit import FEWEST, METHODS, USUAL, fit_method, scores
from train.ood.judge import PASSES, Told, area, mean_area, passing, threshold

RESULT = "ood.json"  # in the run's folder; `export` goes by its winner
FEWEST_PICTURES = 10  # of a kind; fewer are left out


@dataclass(frozen=True)
class Judged:
    """One method: what chose it (tuning part), and how it does on the test part."""

    method: str
    tuning: float  # mean AUROC over kinds, outsiders against the tuning part
    mean: float  # the same against the test part
    threshold: float  # that 95 % of the tuning crops pass, of the clean and of the degraded ones
    kinds: tuple[Told, ...]  # against the test part
    passes: dict[str, float]  # shares of the test part's crops that pass: clean, degraded, bears clean, bears degraded


@dataclass(frozen=True)
class Comparison:
    """All methods, the best first, and what they were compared on."""

    learner_sha256: str
    winner: str
    methods: tuple[Judged, ...]
    crops: dict[str, int]  # fit, tune, test, outsiders
    pictures: dict[str, int]
    left_out: dict[str, int]  # kinds with too few pictures
    seed: int

    def to_json(self) -> str:
        """As ``RESULT`` holds it."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def compare_run(run: Run, split: Split, folder: Sequence[Outsider], track: Track) -> Comparison:
    """Compare all methods on a run's parts, its table's outsiders, those of a folder, and covered lenses.

    Raises OptionError where a part is too small.
    """
    seed = run.recipe.seed
    fit, tune, test = (
        sample_domain(run.net, run.backbone, split[part], run.recipe.size, seed, track, f"{part} part", most)
        for part, most in (("train", MOST_TO_FIT), ("tune", 0), ("test", 0))
    )
    for part, sample in (("tune", tune), ("test", test)):
        if not sample.labels:
            raise OptionError(f"{run.folder}: its {part} part holds no picture of the domain to compare with")
    outsiders = [*of_catalog(split["train"], [*split["tune"], *split["test"]]), *folder]
    strange, seen = sample_outsiders(
        run.net, run.backbone, outsiders, unlike_bears(split["test"]), run.recipe.size, seed, track
    )
    return compare(run.net, fit, tune, test, strange, seen, run.settings.get("learner_sha256", ""), seed)


def unlike_bears(rows: Sequence[Row]) -> list[Row]:
    """The in-domain pictures without a bear: what lies behind a covered lens."""
    return [row for row in in_domain(rows) if row.label == "no_bear"]


def compare(
    net: BearNet,
    fit: Sample,
    tune: Sample,
    test: Sample,
    strange: Sample,
    seen: NDArray[np.bool_],
    learner_sha256: str = "",
    seed: int = 0,
) -> Comparison:
    """Fit each method to ``fit``, set its threshold on ``tune``, and judge it.

    The winner has the highest mean AUROC over kinds against the tuning part, outsiders that the network was trained
    on (``seen``) left out of a kind where others of it are there. Raises OptionError without outsiders.
    """
    found = {kind: np.array(strange.labels) == kind for kind in sorted(set(strange.labels))}
    counts = {kind: len(np.unique(strange.pictures[at])) for kind, at in found.items()}
    kinds = {kind: at for kind, at in found.items() if counts[kind] >= FEWEST_PICTURES}
    if not kinds:
        raise OptionError(
            f"no kind of outsider has {FEWEST_PICTURES} pictures or more; give a folder of them with --outsiders DIR"
        )
    unseen = {kind: at & ~seen if (at & ~seen).sum() >= FEWEST_PICTURES else at for kind, at in kinds.items()}
    judged = [
        judge(name, fit_method(name, net, fit.features, fit.labels), tune, test, strange, seen, unseen)
        for name in METHODS
    ]
    judged.sort(key=lambda one: -one.tuning)
    parts = {"fit": fit, "tune": tune, "test": test, "outsiders": strange}
    return Comparison(
        learner_sha256,
        judged[0].method,
        tuple(judged),
        {name: len(part.labels) for name, part in parts.items()},
        {name: len(np.unique(part.pictures)) for name, part in parts.items()},
        {kind: count for kind, count in counts.items() if kind not in kinds},
        seed,
    )


def judge(
    name: str,
    method: nn.Module,
    tune: Sample,
    test: Sample,
    strange: Sample,
    seen: NDArray[np.bool_],
    kinds: dict[str, NDArray[np.bool_]],
) -> Judged:
    """One fitted method; ``kinds`` says which of the strange crops count for each kind."""
    tuned, tested, odd = (scores(method, part.features) for part in (tune, test, strange))
    limit = threshold(tuned, tune.degraded)
    told = []
    chosen_by = []
    for kind, at in kinds.items():
        against = area(odd[at], tested, strange.pictures[at], test.pictures)
        chosen_by.append(area(odd[at], tuned, strange.pictures[at], tune.pictures).value)
        told.append(
            Told(
                kind,
                against.value,
                against.low,
                against.high,
                passing(odd[at], float(np.quantile(tested, PASSES))),
                passing(odd[at], limit),
                int(at.sum()),
                len(np.unique(strange.pictures[at])),
                int(seen[at].sum()),
            )
        )
    bears = np.array([is_bear(label) for label in test.labels], bool)
    groups = {
        "clean": ~test.degraded,
        "degraded": test.degraded,
        "bears, clean": bears & ~test.degraded,
        "bears, degraded": bears & test.degraded,
    }
    passes = {group: passing(tested[at], limit) for group, at in groups.items() if at.any()}
    return Judged(name, float(np.mean(chosen_by)), mean_area(told), limit, tuple(told), passes)


def strangeness(run: Run, split: Split, track: Track) -> tuple[str, nn.Module]:
    """What goes into the run's graph: the name of the winner, fitted to the training part's in-domain crops.

    It is energy where the part is too small to fit anything to.
    """
    method = winner_of(run)
    seen = sample_domain(
        run.net, run.backbone, split["train"], run.recipe.size, run.recipe.seed, track, "fitting ood", MOST_TO_FIT
    )
    if len(seen.labels) < FEWEST:
        method = "energy"
    return method, fit_method(method, run.net, seen.features, seen.labels)


def winner_of(run: Run) -> str:
    """The method that ``RESULT`` in the run's folder names for this very network; ``USUAL`` without one.

    Raises OptionError when the file is damaged or names no method there is.
    """
    path = run.folder / RESULT
    if not path.is_file():
        return USUAL
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        winner, of = str(said["winner"]), said["learner_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        raise OptionError(f"{path}: damaged; make it again with `bear-alarm ood {run.folder}`, or delete it") from None
    if winner not in METHODS:
        raise OptionError(f"{path}: names the method {winner!r}, and there are {', '.join(METHODS)}; delete it")
    return winner if of == run.settings.get("learner_sha256", "") else USUAL


def save(comparison: Comparison, path: Path) -> None:
    """Write the comparison as JSON, whole or not at all."""
    from edge.files import replace_whole

    replace_whole(path, comparison.to_json().encode())
