"""What tests of gathering offer, and how they look at what became of it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from train.data.gather.importer import PictureImporter
from train.data.gather.offers import THERE, Failed, Offer
from train.data.table import Table


def found(number: int, **more: Any) -> Offer:
    """A picture of a web source."""
    values: dict[str, Any] = {
        "label": "brown_bear", "source": "s", "group": "g", "name": str(number), "url": f"https://example.org/{number}.jpg",
        "licence": "CC BY 4.0", "author": "A. Author", "page": f"https://example.org/{number}",
    }  # fmt: skip
    return Offer(**(values | more))


def rows(root: Path, name: str = "MANIFEST.csv") -> list[dict[str, str]]:
    """A table as it lies on the disk."""
    with (root / name).open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def keep(root: Path, *offers: tuple[Offer, bytes | Failed]) -> list[str]:
    """Offer pictures in one run; what became of each."""
    with Table(root) as table:
        importer = PictureImporter(table)
        kinds = [importer.take(each, data) if importer.wants(each) else THERE for each, data in offers]
        importer.write()
        return kinds
