"""The out-of-domain score: a crop's distance from the training pictures. It is part of the exported graph.

The distance to the nearest training crops (Sun et al. 2022, "Out-of-distribution detection with deep nearest
neighbors"). Outsiders, which are pictures outside the camera's domain by the note in the table, are excluded from the
score, its threshold, and the drift reference. Other scores in comparison: docs/out-of-domain.md.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.schema import Picture
from train.data.pictures import Picture as Row
from train.data.pictures import words_of
from train.learn.examples import Track
from train.learn.inference import answers, cut_crops
from train.learn.network import Backbone, BearNet

log = logging.getLogger(__name__)

METHOD = "nearest neighbour"  # its name in the card
NEAREST = 5  # the k of the k-th nearest neighbour
BANK = 512  # training crops as neighbours; 0.66 MB for 1,280 features of one byte
QUANTILE = 0.95  # of the in-domain tuning crops pass the threshold
MAX_PICTURES = 1500  # training pictures for the bank; more changed no figure
ROUND = 64  # crops at a time, so that memory stays small


class OodScore(nn.Module):
    """Distance (N,), 0 to 2, of pooled features (N, F) to the k-th nearest of a bank (M, F), all at length one."""

    def __init__(self, bank: Tensor, k: int):
        super().__init__()
        # 1 - cosine as a fully connected layer: an int8 export then stores its weights as int8, a scale a row.
        self.far = nn.Linear(bank.shape[1], len(bank))  # (N, F) -> (N, M)
        self.far.weight = nn.Parameter(-bank.clone(), requires_grad=False)
        self.far.bias = nn.Parameter(torch.ones(len(bank)), requires_grad=False)
        self.k = k

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the scores (N,)."""
        away = self.far(pooled / (pooled.norm(dim=1, keepdim=True) + 1e-9))
        kth = away.topk(self.k, dim=1, largest=False).values[:, -1]
        return torch.sqrt(torch.abs(2 * kth))


def draw_bank(pooled: Tensor) -> OodScore:
    """Draw the bank of a score at random from pooled features (N, F); a spread-out choice does worse."""
    drawn = torch.randperm(len(pooled), generator=torch.Generator().manual_seed(0))[:BANK]
    bank = pooled[drawn]
    return OodScore(bank / bank.norm(dim=1, keepdim=True).clamp_min(1e-9), min(NEAREST, len(bank))).eval()


def fit_ood_score(
    net: BearNet, backbone: Backbone, rows: Sequence[Row], size: int, seed: int, track: Track[Row]
) -> OodScore:
    """Fit the score to in-domain training pictures, each clean and once degraded. Raises PictureError."""
    rows = in_domain(rows)
    if len(rows) > MAX_PICTURES:
        chosen = np.random.default_rng([seed, 1]).choice(len(rows), MAX_PICTURES, replace=False)
        rows = [rows[n] for n in sorted(chosen)]
    parts, waiting = list[Tensor](), list[Picture]()
    for _, _, crops in cut_crops(track(rows, "fitting the out-of-domain score"), size, (seed, 2), lambda row: 1):
        waiting += crops
        if len(waiting) >= ROUND:
            parts.append(pooled_features(net, backbone, np.stack(waiting)))
            waiting = []
    if waiting:
        parts.append(pooled_features(net, backbone, np.stack(waiting)))
    return draw_bank(torch.cat(parts))


def pooled_features(net: BearNet, backbone: Backbone, crops: NDArray[np.uint8]) -> Tensor:
    """Return the pooled features (N, F) of uint8 crops (N, size, size, 3) BGR."""
    # Copied out of inference mode: they are exported with the graph.
    return torch.cat([pooled for pooled, _ in answers(net, backbone, crops)]).clone()


def ood_threshold(scores: NDArray[np.float64], degraded: NDArray[np.bool_]) -> float:
    """Return the lowest value that ``QUANTILE`` of the clean crops, and of the degraded, do not exceed."""
    parts = [part for part in (scores[~degraded], scores[degraded]) if len(part)]
    return max(float(np.quantile(part, QUANTILE, method="inverted_cdf")) for part in parts)


# Whole words in the table's notes, with "_" and "-" as spaces. Livestock, pets, birds, boar, deer, foxes, wolves,
# cougars, cars, streets and landscapes are in-domain: a camera in the field sees them.
NOTES = {
    kind: re.compile(rf"\b(?:{words})\b")
    for kind, words in {
        "thermal": r"thermal(?! (?:spring|pool|bath)s?\b)",
        "other continents' animals": (
            r"african|madagascar cat|(?<!mountain )(?<!sea )lions?|water buffalo(?:e?s)?|ostrich(?:es)?|"
            r"tigers?(?! (?:cat|shark|beetle|moth|salamander|snake|swallowtail|trout)s?\b)|"
            r"leopards?(?! (?:frog|lizard|moth|seal|shark|slug)s?\b)|zebras?(?! (?:finch|mussel|swallowtail|tailed))|"
            r"elephants?(?! (?:seal|hawk|hawkmoth)s?\b)|camels?(?! (?:cricket|spider)s?\b)|sloths?(?! bears?\b)|"
            r"(?<!nine banded )armadillos?|"
            r"(?:kangaroo|wallaby|koala|wombat|echidna|cheetah|hyena|meerkat|mongoose|giraffe|warthog|impala|gazelle|"
            r"llama|jaguar|ape|gorilla|chimpanzee|orangutan|gibbon|siamang|guenon|baboon|macaque|langur|monkey|marmoset|"
            r"capuchin|titi|indri)s?|wallabies|patas|colobus|platypus(?:es)?|hippopotamus(?:es)?"
        ),
        "under water": (
            r"(?m:^rays?$)|(?:bat|cownose|devil|eagle|electric|manta|spotted|sting) rays?|stingrays?|hammerheads?|"
            r"tench|goldfish|corals?(?! (?:bean|honeysuckle|root|snake)s?\b)|sea anemones?|anemone ?fish|jellyfish|"
            r"starfish|lionfish|sea (?:urchin|cucumber|slug)s?|puffer ?fish|puffers?(?! (?:coat|jacket)s?\b)|"
            r"rock beauty|coho|barracouta|nautilus|crayfish|\w+ crabs?(?! (?:apple|spider|eating)s?\b)|conch(?:es)?|"
            r"(?:shark|sturgeon|gar|eel|lobster|chiton|whale|dugong)s?"
        ),
        "indoor": r"indoors?|rooms?|kitchens?(?! gardens?\b)|offices?",
        "drawings": r"drawings?|cartoons?|comics?|sketch(?:es)?|clip ?arts?",
    }.items()
}


def kind_of(row: Row) -> str | None:
    """Return the kind of outsider; None for a picture of the domain, as every bear is."""
    if row.label != "no_bear":
        return None
    called = re.sub(r"[_-]", " ", f"{words_of(row.note)}\n{row.named}".lower())
    return next((kind for kind, words in NOTES.items() if words.search(called)), None)


def in_domain(rows: Iterable[Row]) -> list[Row]:
    """Return the pictures of the domain."""
    return [row for row in rows if kind_of(row) is None]
