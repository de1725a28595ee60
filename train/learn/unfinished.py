"""Options of an unfinished training, for `train --resume`: RUN/unfinished.json.

A file of its own because it needs no torch: ``train --resume`` reads it before torch loads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edge.errors import OptionError
from edge.files import replace_whole

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
