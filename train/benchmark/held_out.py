"""Which pictures a model has neither been trained nor tuned on, by what its card says."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from edge.card import Card
from edge.errors import CatalogError
from train.catalog.picture import Picture

log = logging.getLogger(__name__)


def known_sources(card: Card) -> set[str]:
    """The sources that a model was trained on, and those its thresholds were fitted on."""
    return set(card.counts_by_source).union(*(limit.sources for limit in card.thresholds.values()))


def held_out(pictures: Iterable[Picture], cards: Sequence[Card]) -> list[Picture]:
    """The pictures of sources that none of the cards knows; what is left out is told.

    Raises CatalogError when nothing is left: then only a run's own split.csv can say what was held out.
    """
    pictures = list(pictures)
    known = set().union(*(known_sources(card) for card in cards)) if cards else set()
    left = [picture for picture in pictures if picture.source not in known]
    out = sorted({picture.source for picture in pictures} & known)
    if out and not left:
        raise CatalogError(
            f"every source here was used to train or tune the model ({', '.join(out)}); give pictures of other "
            "sources, or the part it did not see: --split-file RUN/split.csv --split test"
        )
    if out:
        log.warning(
            "left out %d pictures of %d sources that were used to train or tune: %s",
            len(pictures) - len(left),
            len(out),
            ", ".join(out),
        )
    return left
