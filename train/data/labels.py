"""Labels by the names that people use: in ``--label dog=no_bear`` and as folders' names."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from edge.errors import OptionError
from train.data.pictures import BEAR_ANY, IN_WORDS, TRAINING_LABELS, called

UNSORTED = "unsorted"  # gathered pictures without a label yet: training skips them


def parse_labels(options: Iterable[str]) -> dict[str, str]:
    """Parse ``["dog=no_bear"]`` to ``{"dog": "no_bear"}``. Raises OptionError with one sentence."""
    aliases = {}
    for option in options:
        name, _, label = option.partition("=")
        label = BEAR_ANY if label == called(BEAR_ANY) else label
        if not name or label not in TRAINING_LABELS:
            raise OptionError(f"--label {option!r} is not NAME=LABEL with a label among {IN_WORDS}")
        aliases[plain_name(name)] = label
    return aliases


def plain_name(name: str) -> str:
    """Write a name as labels are written: "Polar Bear" -> "polar_bear"."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def label_of(name: str, names: Mapping[str, str]) -> str | None:
    """Return the label of a name, such as a folder's, by ``names``; None if it has none."""
    label = names.get(plain_name(name), plain_name(name))
    return label if label in TRAINING_LABELS else None


# Names that people give their folders. A panda is no alarm.
ALIASES = {
    "bear": BEAR_ANY,
    "bears": BEAR_ANY,
    "brown": "brown_bear",
    "grizzly": "brown_bear",
    "grizzly_bear": "brown_bear",
    "black": "black_bear",
    "asiatic_black_bear": "black_bear",
    "polar": "polar_bear",
    "teddy": "teddy_bear",
    "teddys": "teddy_bear",
    "panda": "no_bear",
    "background": "no_bear",
    "empty": "no_bear",
    "nothing": "no_bear",
    "other": "no_bear",
}


def unknown_label(named: str) -> str:
    """Return the sentence about an unknown label: which was meant, or how to define it."""
    near = get_close_matches(plain_name(named), [*TRAINING_LABELS, *ALIASES], 1, 0.75)
    if near:
        return f"unknown label {named!r}; did you mean {near[0]}? Labels are {IN_WORDS}"
    return (
        f"unknown label {named!r}; labels are {IN_WORDS}. Say which one it is with "
        f"--label {shlex.quote(f'{named}=LABEL')}, such as no_bear for any other animal"
    )


def plain_label(words: str, more: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return the label, and a note with the words if they are more exact than the label.

    ``grizzly`` → brown_bear, grizzly; ``dog=no_bear`` → no_bear, dog. Raises OptionError with one sentence.
    """
    name, _, label = words.partition("=")
    known = plain_name(name)
    label = plain_name(label) or (more or {}).get(known) or ALIASES.get(known, known)
    if label not in (*TRAINING_LABELS, UNSORTED):
        raise OptionError(unknown_label(words))
    return label, "" if known == label else name.strip()


def category_labels(options: Iterable[str], categories: Iterable[str]) -> dict[str, str]:
    """Parse ``["ursus americanus=black_bear"]`` to ``{"ursus americanus": "black_bear"}``, for a set's categories.

    A category that is a label, or a known name of one, needs no ``=LABEL``. Raises OptionError.
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
    """Return the label of any known name: ``Bear`` is bear_any."""
    return ALIASES.get(plain_name(words), plain_name(words))
