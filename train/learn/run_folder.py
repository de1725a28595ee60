"""A run's pictures, found through its settings. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import CatalogError
from train.data.pictures import Catalog
from train.data.table import read_catalog


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and its pictures as they are labelled now, decisions applied."""

    run: Path
    catalog: Catalog
    settings: dict[str, Any]

    @property
    def root(self) -> Path:
        """Return the folder of the pictures, where the decisions lie."""
        return self.catalog.root

    @property
    def learner(self) -> str:
        """Return the digest of the run's network."""
        return str(self.settings.get("learner_sha256", ""))

    @property
    def name(self) -> str:
        """Return how decisions name the run: its folder and the first digits of its network's digest."""
        return f"{self.run.resolve().name} {self.learner[:8]}".strip()


def open_run_folder(run: Path, data: Path | None = None) -> RunFolder:
    """Open a run's folder, and read its table of pictures in ``data`` or where it was trained from.

    Raises CatalogError when the run or its pictures are not there.
    """
    file = run / "settings.json"
    if not file.is_file():
        raise CatalogError(
            f"{run}: not a finished training run (settings.json is missing); make one with `bear-alarm train`"
        )
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        path = data or Path(settings["catalog"])
        manifest, aliases, called = settings.get("manifest", ""), settings.get("aliases", {}), settings.get("called")
        if path.is_dir():
            path /= manifest
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CatalogError(f"{file}: damaged, not the settings of a run; train the run again") from None
    if not path.exists():
        raise CatalogError(f"{path}: the run's pictures are not there; say where they lie with --data")
    return RunFolder(run, read_catalog(path, aliases, called=called), settings)
