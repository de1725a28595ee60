"""A training run for what measures one: the one that was named, or a quick one that is made for it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def run_folder(named: Path | None, pictures: Path) -> Iterator[Path]:
    """The folder of a finished run; a quick one of ``pictures`` is gone afterwards."""
    if named is not None:
        yield named
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        subprocess.run(
            [sys.executable, "-m", "edge", "train", str(pictures), "--out", str(folder), "--quick"], check=True
        )
        yield folder
