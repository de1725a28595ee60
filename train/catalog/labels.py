"""The ``--label dog=no_bear`` options."""

from __future__ import annotations

from collections.abc import Iterable

from edge.errors import OptionError
from train.catalog.picture import TRAINING_LABELS


def parse_labels(options: Iterable[str]) -> dict[str, str]:
    """``["dog=no_bear"]`` -> ``{"dog": "no_bear"}``. Raises OptionError with one sentence."""
    aliases = {}
    for option in options:
        name, _, label = option.partition("=")
        if not name or label not in TRAINING_LABELS:
            raise OptionError(f"--label {option!r} is not NAME=LABEL with a label among {', '.join(TRAINING_LABELS)}")
        aliases[name.strip().lower().replace(" ", "_").replace("-", "_")] = label
    return aliases
