"""Notebooks run headless, a run to open in them, and Voilà on the loopback address."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "train" / "notebooks"
SMALL = {"OMP_NUM_THREADS": "1", "COLUMNS": "120", "JUPYTER_PLATFORM_DIRS": "1"}


def read_notebook(name: str) -> Any:
    """A notebook as it is committed."""
    import nbformat

    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def cell_with(notebook: Any, words: str) -> int:
    """Return where the first code cell with these words stands."""
    return next(n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code" and words in cell.source)


def do_after(notebook: Any, words: str, *sources: str) -> None:
    """Put code cells behind the one with these words: what a person does there."""
    import nbformat

    at = cell_with(notebook, words) + 1
    notebook.cells[at:at] = [nbformat.v4.new_code_cell(source) for source in sources]


def run_notebook(notebook: Any, folder: Path, timeout_s: int = 1500) -> Any:
    """Run every cell in ``folder`` with this Python; returns the notebook with its outputs.

    Raises nbclient's CellExecutionError where a cell fails.
    """
    import warnings

    from nbclient import NotebookClient

    before = {name: os.environ.get(name) for name in SMALL}
    os.environ.update(SMALL)
    try:
        with warnings.catch_warnings(action="ignore"):  # of pyzmq and tornado, which are theirs to mend
            client = NotebookClient(notebook, timeout=timeout_s, resources={"metadata": {"path": str(folder)}})
            return client.execute()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def told(notebook: Any) -> str:
    """Everything that stands under the cells, as text."""
    words = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            words += [output.get("text", ""), *output.get("traceback", ())]
            words.append(output.get("data", {}).get("text/plain", ""))
    return "\n".join(words)


def result_of(notebook: Any, words: str) -> str:
    """Return what the first code cell with these words gives, as text."""
    outputs = notebook.cells[cell_with(notebook, words)].outputs
    return str(next(o.data["text/plain"] for o in outputs if o.output_type == "execute_result"))


@contextmanager
def voila(notebook: Path, **env: str) -> Iterator[str]:
    """Voilà with one notebook, started in its folder as the guide says; the page's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voila", notebook.name, "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    log = notebook.with_suffix(".log")
    with log.open("w") as words:
        running = subprocess.Popen(
            command, cwd=notebook.parent, stdout=words, stderr=subprocess.STDOUT, env=os.environ | SMALL | env
        )
    try:
        until = time.monotonic() + 120
        while not _answers(port):
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        running.terminate()
        running.wait(30)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
