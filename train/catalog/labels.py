"""What names mean: the ``--label dog=no_bear`` options, and what folders are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edge.errors import OptionError
from train.catalog.picture import BEAR_ANY, IN_WORDS, TRAINING_LABELS, called


def parse_labels(options: Iterable[str]) -> dict[str, str]:
    """``["dog=no_bear"]`` -> ``{"dog": "no_bear"}``. Raises OptionError with one sentence."""
    aliases = {}
    for option in options:
        name, _, label = option.partition("=")
        label = BEAR_ANY if label == called(BEAR_ANY) else label
        if not name or label not in TRAINING_LABELS:
            raise OptionError(f"--label {option!r} is not NAME=LABEL with a label among {IN_WORDS}")
        aliases[plain_name(name)] = label
    return aliases


def plain_name(name: str) -> str:
    """A name as labels are written: "Polar Bear" -> "polar_bear"."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def label_of(name: str, names: Mapping[str, str]) -> str | None:
    """The label that a name, such as a folder's, means by ``names``; None where it means none."""
    label = names.get(plain_name(name), plain_name(name))
    return label if label in TRAINING_LABELS else None
