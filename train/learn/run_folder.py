"""A run's folder: its settings and pictures, and the options of an unfinished training. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edge.errors import CatalogError, OptionError
from edge.files import replace_whole
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


FILE = "unfinished.json"
STATE = "unfinished.pt"  # the weights after the last whole epoch (``train.learn.learner``)


@dataclass(frozen=True)
class StartedTraining:
    """The options of ``bear-alarm train``, and the digest of its pictures."""

    data: str
    recipe: dict[str, Any]
    tune: Sequence[str]
    test: Sequence[str]
    fold: str | None
    labels: Sequence[str]
    weights: str | None
    shippable: bool
    catalog_sha256: str
    hard_negatives: Sequence[dict[str, str]] = ()  # as ``train.learn.hard_negatives.as_notes`` has them

    def write(self, out: Path) -> None:
        """Write it into the run's folder, and remove an older training's state. Raises OptionError."""
        (out / STATE).unlink(missing_ok=True)
        try:
            replace_whole(out / FILE, (json.dumps(asdict(self), indent=1) + "\n").encode(errors="backslashreplace"))
        except OSError as error:
            raise OptionError(f"{out}: cannot be written to ({error.strerror}); choose another --out") from None


def read_started(out: Path) -> StartedTraining:
    """Read the options of a folder's unfinished training. Raises OptionError if there is none."""
    file = out / FILE
    if not file.is_file():
        what = "its training is finished" if (out / "learner.pkl").is_file() else "no unfinished training there"
        raise OptionError(f"--resume {out}: {what}; name the --out folder of an interrupted training")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return StartedTraining(**{field.name: values[field.name] for field in fields(StartedTraining)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(f"{file}: damaged ({type(error).__name__}); start again with --force") from None


def forget(out: Path) -> None:
    """Remove the files that a finished run no longer needs."""
    for name in (FILE, STATE):
        (out / name).unlink(missing_ok=True)


def seed_folder(out: Path, seed: int) -> Path:
    """Return the run's folder of one seed."""
    return out / f"seed-{seed}"
