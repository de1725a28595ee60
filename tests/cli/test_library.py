"""`import edge` as a library: the names it offers, what importing it costs, and the example of docs/library.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import edge

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def test_the_names_that_are_offered_are_there_and_on_the_page():
    offered = {"open_source", "Classifier", "Tracker", "Decider", "Watcher", "Event"}
    assert offered <= set(edge.__all__) <= set(dir(edge))
    assert all(getattr(edge, name).__name__ == name for name in offered)
    assert offered == set(re.findall(r"^\| `(\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    with pytest.raises(AttributeError, match="nonsense"):
        edge.nonsense  # noqa: B018


def test_importing_it_and_the_front_page_load_no_picture_and_no_model():
    code = (
        "import sys, edge, runpy; sys.argv = ['bear-alarm', '--help']\n"
        "try:\n    runpy.run_module('edge', run_name='__main__')\n"
        "finally:\n    sys.stderr.write(' '.join({'cv2', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "bear-alarm" in done.stdout


@pytest.mark.slow
def test_the_example_of_the_page_sees_the_bear_of_the_bundled_clip(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(example.splitlines()) <= 15
    exec(compile(example, str(PAGE), "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["new", "brown_bear"], ["end", "brown_bear"]]
