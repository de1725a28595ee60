"""What a person means by ``--label``: a label, a known name for one, or what is on the picture and its label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge.errors import OptionError
from train.catalog.picture import TRAINING_LABELS
from train.catalog.read import ALIASES, UNSORTED, unknown_label


def plain_label(words: str, more: Mapping[str, str] | None = None) -> tuple[str, str]:
    """The label, and a note on what is on the picture where the words say more than the label.

    ``grizzly`` → brown_bear, grizzly; ``dog=no_bear`` → no_bear, dog. Raises OptionError with one sentence.
    """
    name, _, label = words.partition("=")
    known = _plain(name)
    label = _plain(label) or (more or {}).get(known) or ALIASES.get(known, known)
    if label not in (*TRAINING_LABELS, UNSORTED):
        raise OptionError(unknown_label(words))
    return label, "" if known == label else name.strip()


def category_labels(options: Iterable[str], categories: Iterable[str]) -> dict[str, str]:
    """``["ursus americanus=black_bear"]`` → ``{"ursus americanus": "black_bear"}``, for categories a set has.

    A category may stand alone where it is itself a label or a known name of one. Raises OptionError.
    """
    there = list(categories)
    labels: dict[str, str] = {}
    for option in options:
        name = option.partition("=")[0].strip().lower()
        if name not in there:
            raise OptionError(f"--label {option!r}: the set has no category {name!r}; it has {', '.join(there[:30])}")
        labels[name] = plain_label(option)[0]
    return labels


def known_label(words: str) -> str:
    """The label that a table or a person means, by whatever name it is known: ``Bear`` is bear_any."""
    return ALIASES.get(_plain(words), _plain(words))


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
