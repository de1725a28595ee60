"""Dealing pictures to parts so that no camera or source is cut, and each part gets its share of every kind."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from train.catalog.picture import Picture, is_bear

if TYPE_CHECKING:
    from train.catalog.split import Split


def kind(picture: Picture) -> str:
    """Return the label, all bears as one."""
    return "bear" if is_bear(picture.label) else picture.label


def deal(
    pictures: Sequence[Picture],
    by: Callable[[Picture], str],
    seed: int,
    shares: Mapping[str, float],
    kind_of: Callable[[Picture], str] = kind,
) -> Split:
    """Whole units, largest first, each to the part that then lies closest to its share of every kind.

    ``by`` names a picture's unit, ``shares`` what each part is to get of the whole. Where units are few, each part
    gets bears and others before any gets more.
    """
    units: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        units[by(picture)].append(picture)
    order = sorted(units)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda name: -len(units[name]))
    totals = Counter(map(kind_of, pictures))
    filled = {name: Counter[str]() for name in shares}
    split: Split = {name: [] for name in shares}
    left = {bears: sum(holds(units[unit], bears=bears) for unit in order) for bears in (False, True)}
    for unit in order:
        kinds = Counter(map(kind_of, units[unit]))

        def distance(part: str, kinds: Counter[str] = kinds) -> float:
            """Measure how much fuller than its share the part would be, over the kinds this unit brings."""
            return max((filled[part][kind] + kinds[kind]) / (shares[part] * totals[kind]) for kind in kinds)

        # Few units: what is left must still give every part bears and others.
        open_to = list(shares)
        for bears in (False, True):
            if not holds(units[unit], bears=bears):
                continue
            lacking = [name for name in shares if not holds(split[name], bears=bears)]
            if len(lacking) >= left[bears]:
                open_to = [name for name in lacking if name in open_to] or lacking
            left[bears] -= 1
        part = min(open_to, key=distance)
        filled[part].update(kinds)
        split[part] += units[unit]
    return split


def holds(part: Iterable[Picture], *, bears: bool) -> bool:
    """Return True if there are pictures with bears, or without."""
    return any(is_bear(picture.label) == bears for picture in part)
