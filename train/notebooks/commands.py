"""The command that copies the notebooks, and says what to type next."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge.installing import extra


def notebooks(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made if need be.")] = Path("notebooks"),
) -> None:
    """Copy the notebooks: clean labels by hand, try a model on pictures, go the whole way from pictures to an alarm.

    A notebook that was changed since is never overwritten.
    """
    from train.notebooks.copying import NAMES, copy_notebooks

    new = copy_notebooks(folder)
    for name in NAMES:
        print(folder / name)
    print(
        f"{len(new)} of {len(NAMES)} files are new. Next, once in this environment: {extra('train', 'notebook')}\n"
        f"    cd {shlex.quote(str(folder))}\n"
        "    jupyter lab whole_way.ipynb      # step by step; clean.ipynb too\n"
        "    voila try.ipynb                  # a page in the browser to try the model",
        file=sys.stderr,
    )
