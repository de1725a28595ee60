"""A run's pictures, by its settings. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import CatalogError
from train.data.catalog import read_catalog
from train.data.pictures import Catalog


@dataclass(frozen=True)
class RunFolder:
    """A run's folder and its pictures with their present labels, decisions applied."""

    run: Path
    catalog: Catalog
    settings: dict[str, Any]

    @property
    def root(self) -> Path:
        """Return the folder of the pictures and the decisions."""
        return self.catalog.root

    @property
    def learner(self) -> str:
        """Return the digest of the run's network."""
        return str(self.settings.get("learner_sha256", ""))

    @property
    def name(self) -> str:
        """Return the run's name in decisions: its folder and the first digits of its network's digest."""
        return f"{self.run.resolve().name} {self.learner[:8]}".strip()


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object in a run's folder. Raises CatalogError if it is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogError(
            f"{file.parent}: not a finished training run ({file.name} is missing); make one with `bear-alarm train`"
        ) from None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CatalogError(f"{file}: damaged, not a run's {file.name}; train the run again")
    return found


def read_settings(folder: Path) -> dict[str, Any]:
    """Read a run's settings. Raises CatalogError if they are missing or damaged."""
    settings = read_json(folder / "settings.json")
    for name, kind in (("recipe", dict), ("catalog", str), ("aliases", dict)):
        if not isinstance(settings.get(name) or kind(), kind):
            raise CatalogError(f"{folder / 'settings.json'}: damaged, its {name} cannot be read; train the run again")
    return settings


def run_catalog(settings: Mapping[str, Any], data: Path | None, aliases: Mapping[str, str] | None = None) -> Catalog:
    """Read a run's table of pictures, in ``data`` or in the folder where it was trained; a folder may have moved.

    ``aliases``: instead of the run's own. Raises CatalogError if the pictures are not there.
    """
    path = data or Path(settings.get("catalog") or "(unknown)")
    if path.is_dir():
        path /= settings.get("manifest") or ""
    if not path.exists():
        raise CatalogError(f"{path}: the run's pictures are not there; give their folder with --data")
    return read_catalog(path, aliases or settings.get("aliases") or {}, called=settings.get("called"))


def open_run_folder(run: Path, data: Path | None = None) -> RunFolder:
    """Open a run's folder with its pictures, as ``run_catalog`` finds them. Raises CatalogError if one is missing."""
    settings = read_settings(run)
    return RunFolder(run, run_catalog(settings, data), settings)
