"""A comparison as a table for a terminal, and as a page."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.detect.crops import cut
from edge.errors import OptionError
from edge.pictures import read_picture
from edge.schema import WHOLE, Picture
from train.data.outsiders import COVERED, Outsider, cover_lens, in_domain, of_catalog
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.data.split import Split
from train.learn.dataloaders import Track
from train.learn.inference import CONTEXT, answers, crops_of
from train.learn.network import Backbone, BearNet
from train.learn.run import Run
from train.metrics import Z95, Auc, auc

# What the methods look at: the network's pooled features and its energy, crop by crop.


@dataclass(frozen=True, eq=False)
class Features:
    """N crops as the network sees them, float32."""

    pooled: Tensor  # (N, F) what the head looks at
    energy: Tensor  # (N,) -logsumexp of the logits
    top: Tensor  # (N,) the largest of the logits that the energy sums

    def where(self, chosen: NDArray[np.bool_]) -> Features:
        """The crops where ``chosen`` (N,)."""
        keep = torch.from_numpy(np.asarray(chosen))
        return Features(self.pooled[keep], self.energy[keep], self.top[keep])

    def __len__(self) -> int:
        return len(self.pooled)


def features_of(net: BearNet, backbone: Backbone, crops: NDArray[np.uint8]) -> Features:
    """The features of uint8 crops (N, size, size, 3) BGR."""
    parts = [(pooled, net.energy(raw), raw.amax(1)) for pooled, raw in answers(net, backbone, crops)]
    if not parts:
        return Features(torch.empty(0, net.head.in_features), torch.empty(0), torch.empty(0))
    # Out of inference mode: the methods' constants are made of these and are exported with the graph.
    pooled, energy, top = (torch.cat(column).clone() for column in zip(*parts, strict=True))
    return Features(pooled, energy, top)


def head_weights(net: BearNet) -> tuple[Tensor, Tensor]:
    """Return weights (1000, F) and biases (1000,) of the head whose logits the energy sums."""
    return net.head.weight.detach().clone(), net.head.bias.detach().clone()


# The crops that out-of-domain scores are fitted and compared on: in-domain ones of a part, and outsiders.


MOST_TO_FIT = 1500  # training pictures a method is fitted on; more moved no figure
MOST_OF_A_KIND = 300  # outsiders of one kind
COVERED_LENSES = 200
ROUND = 64  # pictures decoded before the network looks at their crops: memory stays small


@dataclass(frozen=True, eq=False)
class Sample:
    """Crops as the network sees them, and what they are of."""

    features: Features
    labels: tuple[str, ...]
    degraded: NDArray[np.bool_]  # (N,)
    pictures: NDArray[np.int64]  # (N,) which picture each is of

    def where(self, chosen: NDArray[np.bool_]) -> Sample:
        """The crops where ``chosen`` (N,)."""
        labels = tuple(label for label, keep in zip(self.labels, chosen, strict=True) if keep)
        return Sample(self.features.where(chosen), labels, self.degraded[chosen], self.pictures[chosen])


def sample_domain(
    net: BearNet, backbone: Backbone, rows: Sequence[Row], size: int, seed: int, track: Track, words: str, most: int = 0
) -> Sample:
    """In-domain crops of ``rows``, clean and degraded; outsiders are left out. ``most`` pictures, 0 for all."""
    rows = in_domain(rows)
    if most and len(rows) > most:
        chosen = np.random.default_rng([seed, 1]).choice(len(rows), most, replace=False)
        rows = [rows[n] for n in sorted(chosen)]
    labels, degraded, pictures, parts, waiting = [], [], [], [], list[Picture]()
    for number, row in enumerate(track(rows, words)):
        rng = np.random.default_rng([seed, 2, number])
        crops = crops_of(row, read_picture(row.file), size, CONTEXT, rng, degraded=1)
        waiting += crops
        labels += [row.label] * len(crops)
        degraded += [False] * (len(crops) - 1) + [True]
        pictures += [number] * len(crops)
        if len(waiting) >= ROUND:
            parts.append(features_of(net, backbone, np.stack(waiting)))
            waiting = []
    return Sample(_together(net, backbone, parts, waiting), tuple(labels), np.array(degraded, bool), np.array(pictures))


def sample_outsiders(
    net: BearNet,
    backbone: Backbone,
    outsiders: Sequence[Outsider],
    plain: Sequence[Row],
    size: int,
    seed: int,
    track: Track,
) -> tuple[Sample, NDArray[np.bool_]]:
    """One whole crop of each outsider, labelled by kind, and of ``plain`` pictures behind a covered lens; who was seen.

    A kind of more than ``MOST_OF_A_KIND`` pictures is drawn from, unseen pictures first.
    """
    chosen: list[Outsider] = []
    rng = np.random.default_rng([seed, 3])
    for kind in sorted({one.kind for one in outsiders}):
        these = [one for one in outsiders if one.kind == kind]
        order = sorted(rng.permutation(len(these)), key=lambda n: these[n].seen)
        chosen += [these[n] for n in sorted(order[:MOST_OF_A_KIND])]
    covered = [plain[n] for n in rng.permutation(len(plain))[:COVERED_LENSES]]
    chosen += [Outsider(COVERED, row.file, False) for row in covered]
    parts, waiting = [], list[Picture]()
    for number, one in enumerate(track(chosen, "looking at outsiders")):
        crop = cut(read_picture(one.file), WHOLE, size, CONTEXT)
        waiting.append(cover_lens(crop, np.random.default_rng([seed, 4, number])) if one.kind == COVERED else crop)
        if len(waiting) >= ROUND:
            parts.append(features_of(net, backbone, np.stack(waiting)))
            waiting = []
    count = len(chosen)
    kinds = tuple(one.kind for one in chosen)
    sample = Sample(_together(net, backbone, parts, waiting), kinds, np.zeros(count, bool), np.arange(count))
    return sample, np.array([one.seen for one in chosen], bool)


def _together(net: BearNet, backbone: Backbone, parts: list[Features], waiting: list[Picture]) -> Features:

    if waiting:
        parts = [*parts, features_of(net, backbone, np.stack(waiting))]
    if not parts:
        return features_of(net, backbone, np.empty((0, 8, 8, 3), np.uint8))
    return Features(
        torch.cat([part.pooled for part in parts]),
        torch.cat([part.energy for part in parts]),
        torch.cat([part.top for part in parts]),
    )


# The methods, as small modules that go into the exported graph as they are.
#
# Each maps pooled features (N, F) and energies (N,) to scores (N,), bigger = stranger. No convolution is among their
# operations: int8 quantization ends at the last of those and what follows it, and these stay in float.


class Energy(nn.Module):
    """-logsumexp of the logits (Liu et al. 2020, Energy-based Out-of-distribution Detection)."""

    def forward(self, pooled: Tensor, energy: Tensor) -> Tensor:
        """(N,) scores."""
        return energy


class Principal(nn.Module):
    """A centre (F,) and the D directions around it in which the in-domain features spread most (F, D)."""

    def __init__(self, centre: Tensor, axes: Tensor):
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("axes", axes)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates (N, D) and the squared length of what lies outside them (N,)."""
        moved = pooled - self.centre
        inside = moved @ self.axes
        return inside, torch.abs((moved * moved).sum(1) - (inside * inside).sum(1))


class Mahalanobis(nn.Module):
    """Squared Mahalanobis distance to the nearest label's mean, one covariance for all labels (Lee et al. 2018).

    The covariance keeps its D largest eigenvalues; the smaller ones are shrunk to their mean (the maximum-likelihood
    form of probabilistic PCA, Tipping & Bishop 1999), which keeps the graph small and the inverse sound.
    With ``whole``, the distance to the one Gaussian around all of them is taken off (Ren et al. 2021, relative).
    """

    def __init__(self, axes: Tensor, values: Tensor, rest: float, means: Tensor, whole: Mahalanobis | None = None):
        super().__init__()
        self.register_buffer("axes", axes / values.sqrt())  # (F, D)
        self.register_buffer("spread", values)  # (D,)
        self.register_buffer("means", means)  # (K, F)
        self.rest = rest
        self.whole = whole

    def forward(self, pooled: Tensor, energy: Tensor) -> Tensor:
        """(N,) scores."""
        moved = pooled[:, None, :] - self.means  # (N, K, F)
        inside = moved @ self.axes  # (N, K, D), in standard deviations
        outside = (moved * moved).sum(2) - (inside * inside * self.spread).sum(2)
        distance = ((inside * inside).sum(2) + outside / self.rest).amin(1)
        return distance if self.whole is None else distance - self.whole(pooled, energy)


class Neighbour(nn.Module):
    """Distance to the k-th nearest of some in-domain features, all of length one (Sun et al. 2022)."""

    def __init__(self, bank: Tensor, k: int):
        super().__init__()
        # 1 - cosine as a fully connected layer: an int8 export then stores its weights as int8, a scale a row.
        self.far = nn.Linear(bank.shape[1], len(bank))  # (N, F) -> (N, M)
        self.far.weight = nn.Parameter(-bank.clone(), requires_grad=False)
        self.far.bias = nn.Parameter(torch.ones(len(bank)), requires_grad=False)
        self.k = k

    def forward(self, pooled: Tensor, energy: Tensor) -> Tensor:
        """(N,) distances, 0 to 2."""
        away = self.far(pooled / (pooled.norm(dim=1, keepdim=True) + 1e-9))
        kth = away.topk(self.k, dim=1, largest=False).values[:, -1]
        return torch.sqrt(torch.abs(2 * kth))


class Vim(nn.Module):
    """Virtual-logit matching (Wang et al. 2022): the residual outside the principal space, against the logits.

    The paper's score is the softmax probability of ``scale * residual`` as one more logit; this is its log-odds,
    which orders crops the same and does not saturate.
    """

    def __init__(self, principal: Principal, scale: float):
        super().__init__()
        self.principal = principal
        self.scale = scale

    def forward(self, pooled: Tensor, energy: Tensor) -> Tensor:
        """(N,) scores."""
        return self.scale * torch.sqrt(self.principal(pooled)[1]) + energy


# The methods fitted to in-domain features.


DIMENSIONS = 128  # of the principal space, where there are so many features; 0.66 MB for 1,280
BANK = 512  # in-domain crops kept as neighbours; 0.66 MB for 1,280 features at a byte each
NEAREST = 5  # the neighbour that counts
FEWEST = 20  # crops below which nothing can be fitted
FEWEST_OF_A_LABEL = 5  # crops below which a label has no mean of its own


def fit_energy(net: BearNet, seen: Features, labels: Sequence[str]) -> nn.Module:
    """Energy needs no fitting."""
    return Energy()


def fit_mahalanobis(net: BearNet, seen: Features, labels: Sequence[str]) -> Mahalanobis:
    """Means by label, and the covariance around them."""
    means, members = label_means(seen.pooled, labels)
    return gaussian(seen.pooled - means[members], means)


def fit_relative(net: BearNet, seen: Features, labels: Sequence[str]) -> Mahalanobis:
    """The same, less the distance to one Gaussian around all features."""
    centre = seen.pooled.mean(0)
    by_label = fit_mahalanobis(net, seen, labels)
    by_label.whole = gaussian(seen.pooled - centre, centre[None])
    return by_label


def fit_neighbour(net: BearNet, seen: Features, labels: Sequence[str]) -> Neighbour:
    """Neighbours drawn at random, as many as a graph can carry; a cover of far-apart ones does worse."""
    drawn = torch.randperm(len(seen), generator=torch.Generator().manual_seed(0))[:BANK]
    return Neighbour(normalised(seen.pooled[drawn]), min(NEAREST, len(drawn)))


def fit_every_neighbour(net: BearNet, seen: Features, labels: Sequence[str]) -> Neighbour:
    """The published method, which keeps all features: for comparison, too large for a graph."""
    return Neighbour(normalised(seen.pooled), min(10 * NEAREST, len(seen)))


def fit_vim(net: BearNet, seen: Features, labels: Sequence[str]) -> Vim:
    """The principal space around the point of no bias, and the scale that makes residuals as large as logits."""
    weights, bias = (part.double() for part in head_weights(net))
    origin = -(torch.linalg.pinv(weights) @ bias)
    moved = seen.pooled.double() - origin
    values, axes = torch.linalg.eigh(moved.T @ moved / len(moved))
    principal = Principal(origin.float(), axes[:, -dimensions(values) :].float().contiguous())
    residual = torch.sqrt(principal(seen.pooled)[1]).mean()
    return Vim(principal, float(seen.top.mean() / residual.clamp_min(1e-9)))


Fit = Callable[[BearNet, Features, Sequence[str]], nn.Module]
METHODS: dict[str, Fit] = {
    "energy": fit_energy,
    "mahalanobis": fit_mahalanobis,
    "relative mahalanobis": fit_relative,
    "nearest neighbour": fit_neighbour,
    "vim": fit_vim,
}
# What goes into a graph whose run was not compared; docs/out-of-domain.md says why this one.
USUAL = "nearest neighbour"


def fit_method(name: str, net: BearNet, seen: Features, labels: Sequence[str]) -> nn.Module:
    """The method called ``name``, fitted to in-domain features and their labels. Raises OptionError."""
    if name not in METHODS:
        raise OptionError(f"no out-of-domain method is called {name!r}; there are {', '.join(METHODS)}")
    if len(seen) < FEWEST and name != "energy":
        raise OptionError(f"{len(seen)} in-domain crops are too few to fit {name!r} to; it takes {FEWEST} or more")
    return METHODS[name](net, seen, labels).eval()


def scores(method: nn.Module, features: Features) -> NDArray[np.float64]:
    """(N,) what a method says of features."""
    with torch.inference_mode():
        parts = [
            method(pooled, energy)
            for pooled, energy in zip(features.pooled.split(512), features.energy.split(512), strict=True)
        ]
    return torch.cat(parts).double().numpy() if parts else np.empty(0)


def label_means(pooled: Tensor, labels: Sequence[str]) -> tuple[Tensor, Tensor]:
    """A mean a label (K, F), and which of them each crop belongs to (N,); rare labels share the mean of all."""
    names, members = np.unique(np.asarray(labels), return_inverse=True)
    own = [n for n in range(len(names)) if (members == n).sum() >= FEWEST_OF_A_LABEL]
    means = [pooled[torch.from_numpy(members == n)].mean(0) for n in own]
    if len(own) < len(names):
        means.append(pooled.mean(0))
    place = {n: row for row, n in enumerate(own)}
    return torch.stack(means), torch.tensor([place.get(int(n), len(own)) for n in members])


def dimensions(values: Tensor) -> int:
    """How many directions to keep of ascending eigenvalues: ``DIMENSIONS``, at most half of those there are."""
    return max(1, min(DIMENSIONS, len(values) // 2))


def normalised(pooled: Tensor) -> Tensor:
    """The features at length one."""
    return pooled / pooled.norm(dim=1, keepdim=True).clamp_min(1e-9)


def gaussian(centred: Tensor, means: Tensor) -> Mahalanobis:
    """Distances to the nearest of ``means`` under the covariance of ``centred`` (N, F)."""
    wide = centred.double()
    values, axes = torch.linalg.eigh(wide.T @ wide / len(wide))
    count = dimensions(values)
    rest = float(values[:-count].clamp_min(0).mean().clamp_min(1e-9))
    kept = values[-count:].clamp_min(rest)
    return Mahalanobis(axes[:, -count:].float().contiguous(), kept.float(), rest, means)


# How well a score tells outsiders from the domain: AUROC with intervals by picture, and who passes a threshold.


PASSES = 0.95  # of held-out in-domain crops, clean and degraded ones each, pass the threshold


@dataclass(frozen=True)
class Told:
    """How one method tells one kind of outsider from the domain."""

    kind: str
    auroc: float
    low: float  # 95 % interval
    high: float
    fpr95: float  # share of the outsiders that pass where 95 % of the same in-domain crops do: smaller is better
    passes: float  # share of the outsiders that pass the threshold of the tuning part
    crops: int
    pictures: int
    seen: int  # of the pictures, how many the network was trained on


def area(
    strange: NDArray[np.float64], usual: NDArray[np.float64], of: NDArray[np.integer], of_usual: NDArray[np.integer]
) -> Auc:
    """AUROC of scores (N,) of outsiders against (M,) of the domain, crops of one picture counted together.

    ``of`` and ``of_usual`` say which picture each crop is of. The variance is Obuchowski's (1997, Biometrics 53) for
    clusters that are of one kind each; the interval is taken on the logit scale. Where the two do not overlap at
    all, or a side is one picture, the interval is that of as many pictures (``train.metrics.auc``).
    Raises ValueError where a side is empty.
    """
    if not len(strange) or not len(usual):
        raise ValueError("an AUROC needs scores on both sides")
    above, below = _placements(strange, usual), 1 - _placements(usual, strange)
    value = float(above.mean())
    spread = _clustered(above - value, of) + _clustered(below - value, of_usual)
    m, n = len(np.unique(of)), len(np.unique(of_usual))
    if not 0 < value < 1 or spread <= 0 or min(m, n) < 2:
        plain = auc(_per_picture(strange, of), _per_picture(usual, of_usual))
        assert plain is not None
        return Auc(value, min(plain.low, value), max(plain.high, value), m, n)
    middle, half = math.log(value / (1 - value)), Z95 * math.sqrt(spread) / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-min(max(end, -500.0), 500.0))) for end in (middle - half, middle + half))
    return Auc(value, low, high, m, n)


def threshold(usual: NDArray[np.float64], degraded: NDArray[np.bool_], passes: float = PASSES) -> float:
    """The value that the share ``passes`` of the clean and of the degraded crops does not exceed: the higher of two."""
    parts = [part for part in (usual[~degraded], usual[degraded]) if len(part)]
    return max(float(np.quantile(part, passes, method="inverted_cdf")) for part in parts)


def passing(scores: NDArray[np.floating], limit: float) -> float:
    """The share of scores (N,) that are not above ``limit``."""
    return float((np.asarray(scores) <= limit).mean())


def mean_area(told: Sequence[Told]) -> float:
    """The mean AUROC over kinds, each counting the same."""
    return float(np.mean([one.auroc for one in told]))


def _placements(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each of ours, the share of theirs below it, ties counting half."""
    ranked = np.sort(theirs)
    under = np.searchsorted(ranked, ours, side="left") + np.searchsorted(ranked, ours, side="right")
    share: NDArray[np.float64] = under / (2 * len(ranked))
    return share


def _clustered(deviations: NDArray[np.float64], of: NDArray[np.integer]) -> float:
    """Variance of a mean over crops whose pictures are independent and whose crops are not."""
    _, cluster = np.unique(of, return_inverse=True)
    sums = np.bincount(cluster, deviations)
    count = len(sums)
    return 0.0 if count < 2 else float(count / (count - 1) * (sums**2).sum()) / len(deviations) ** 2


def _per_picture(scores: NDArray[np.float64], of: NDArray[np.integer]) -> list[float]:
    """Mean score a picture."""
    _, cluster = np.unique(of, return_inverse=True)
    return list(np.bincount(cluster, scores) / np.bincount(cluster))


# The methods side by side on the same crops, and the one that wins.


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


TITLE = "Out-of-domain scores compared"
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.3rem .7rem;border-bottom:1px solid #ddd;
text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}tr.best{background:#eef6ea}
small{color:#666}"""


def text(comparison: Comparison) -> str:
    """The table and what it means, in plain lines."""
    return "\n".join([*_table(comparison), "", *sentences(comparison)])


def _table(comparison: Comparison) -> Iterator[str]:
    kinds = [told.kind for told in comparison.methods[0].kinds]
    width = max(24, *(len(kind) + 2 for kind in kinds))
    names = [judged.method for judged in comparison.methods]
    yield "AUROC against the test part [95 %]".ljust(width + 12) + "".join(name.rjust(22) for name in names)
    for row, kind in enumerate(kinds):
        count = comparison.methods[0].kinds[row].pictures
        cells = [judged.kinds[row] for judged in comparison.methods]
        yield f"{kind} ({count})".ljust(width + 12) + "".join(
            f"{cell.auroc:.3f} [{cell.low:.2f}-{cell.high:.2f}]".rjust(22) for cell in cells
        )
    for words, value in (("mean over kinds", "mean"), ("against the tuning part", "tuning")):
        cells_of = [f"{getattr(judged, value):.3f}" for judged in comparison.methods]
        yield words.ljust(width + 12) + "".join(cell.rjust(22) for cell in cells_of)


def sentences(comparison: Comparison) -> list[str]:
    """What a reader needs to know beside the table."""
    best = comparison.methods[0]
    words = [
        f"Best against the tuning part: {best.method}. `bear-alarm export` puts it into the graph.",
        f"Its threshold is {best.threshold:.4g}: 95 % of the clean and of the degraded tuning crops pass.",
        f"Of the test part's crops pass: {passes(best)}.",
        (
            f"Outsiders that pass all the same: {', '.join(f'{t.kind} {100 * t.passes:.0f} %' for t in best.kinds)}; "
            f"where 95 % of the test part's crops pass: {', '.join(f'{100 * t.fpr95:.0f} %' for t in best.kinds)}."
        ),
    ]
    trained = [f"{told.kind} {told.seen} of {told.pictures}" for told in best.kinds if told.seen]
    if trained:
        words.append(f"The network was trained on some of these outsiders, as no_bear: {', '.join(trained)}.")
    if comparison.left_out:
        few = ", ".join(f"{kind} ({count})" for kind, count in comparison.left_out.items())
        words.append(f"Left out, too few pictures: {few}.")
    return words


def passes(judged: Judged) -> str:
    """The shares of the test part that pass, in words."""
    return ", ".join(f"{group} {100 * share:.1f} %" for group, share in judged.passes.items())


def page(comparison: Comparison) -> str:
    """One self-contained HTML page."""
    kinds = [told.kind for told in comparison.methods[0].kinds]
    head = "".join(f"<th>{html.escape(kind)}</th>" for kind in kinds)
    body = "".join(_row(judged, best=n == 0) for n, judged in enumerate(comparison.methods))
    said = "".join(f"<p>{html.escape(line)}</p>" for line in sentences(comparison))
    crops = ", ".join(
        f"{name}: {count} crops of {comparison.pictures[name]} pictures" for name, count in comparison.crops.items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{TITLE}</title><style>{STYLE}</style><h1>{TITLE}</h1>{said}"
        "<table><thead><tr><th>method</th><th>mean AUROC</th><th>against tuning</th>"
        f"{head}<th>of the test part, passes</th></tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{html.escape(crops)}. Intervals 95 %, by picture (Obuchowski 1997). "
        f"Seed {comparison.seed}.</small></p>"
        "</html>\n"
    )


def _row(judged: Judged, *, best: bool) -> str:
    cells = "".join(
        f"<td>{told.auroc:.3f}<br><small>{told.low:.2f}–{told.high:.2f}, FPR95 {told.fpr95:.2f}</small></td>"
        for told in judged.kinds
    )
    shares = html.escape(passes(judged)).replace(", bears", "<br>bears")
    return (
        f"<tr{' class=best' if best else ''}><td>{html.escape(judged.method)}</td><td>{judged.mean:.3f}</td>"
        f"<td>{judged.tuning:.3f}</td>{cells}<td><small>{shares}</small></td></tr>"
    )
