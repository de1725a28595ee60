"""The notebooks, brought to where their user wants them. Needs no torch and no Jupyter."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import OptionError
from edge.files import replace_whole
from edge.installing import extra

# The command that copies the notebooks, and says what to type next.


def notebooks(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made if need be.")] = Path("notebooks"),
) -> None:
    """Copy the notebooks: clean labels by hand, try a model on pictures, go the whole way from pictures to an alarm.

    A notebook that was changed since is never overwritten.
    """

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


HERE = Path(__file__).parent
NAMES = ("whole_way.ipynb", "clean.ipynb", "try.ipynb", "voila.json")


def copy_notebooks(folder: Path) -> list[Path]:
    """Copy the notebooks into ``folder``, which is made; returns the files that were not there before.

    Raises OptionError, and copies nothing, where a file of one of these names is there and is another one.
    """
    texts = {name: (HERE / name).read_bytes() for name in NAMES}
    for name, text in texts.items():
        target = folder / name
        if target.exists() and (target.is_dir() or target.read_bytes() != text):
            raise OptionError(f"{target}: was changed and is not overwritten; name another folder, or move it away")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new = [folder / name for name in NAMES if not (folder / name).exists()]
        for target in new:
            replace_whole(target, texts[target.name])
    except OSError as error:
        raise OptionError(f"{folder}: cannot be written to ({error.strerror}); name another folder") from None
    return new
