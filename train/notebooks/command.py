"""``bear-alarm notebooks``, and helpers for the notebooks: errors as sentences, and commands under a cell."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

import typer

from edge.errors import BearAlarmError, OptionError
from edge.installing import extra


def notebooks(
    folder: Annotated[Path, typer.Argument(help="The target folder; it is made if needed.")] = Path("notebooks"),
) -> None:
    """Copy the notebooks: clean labels by hand, try a model on pictures, go the whole way from pictures to an alarm.

    A changed notebook is never overwritten.
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
    """Copy the notebooks into ``folder``, and return the new files.

    Raises OptionError, and copies nothing, if a file of one of these names has another content.
    """
    from edge.files import replace_whole  # not above: --help needs no numpy

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


def plain_errors() -> None:
    """Show a BearAlarmError in this notebook as its sentence, without a traceback. The cell still fails."""
    from IPython import get_ipython

    shell: Any = get_ipython()
    if shell is not None:
        shell.set_custom_exc((BearAlarmError,), _show)


def _show(_shell: Any, _kind: type, error: BaseException, _traceback: TracebackType | None, **_: Any) -> list[str]:
    sys.stderr.write(f"{error}\n")
    return [str(error)]


def bear_alarm(*words: object) -> None:
    """Run ``bear-alarm WORDS`` with this notebook's Python, and show its output under the cell.

    Raises OptionError for another exit code than 0; the reason is in the output.
    """
    command = [sys.executable, "-m", "edge", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout is not None
        for line in running.stdout:
            sys.stdout.write(line)
    if running.returncode:
        typed = " ".join(str(word) for word in words)
        raise OptionError(f"`bear-alarm {typed}` ended with exit code {running.returncode}; see its output above")
