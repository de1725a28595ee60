"""Help of the commands that make a model comes without the libraries that make it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.helpers.command import ROOT, bear_alarm

GATHER = ("folder", "card", "clips", "lila", "sort", "inaturalist", "gbif", "commons", "web")
COMMANDS = [
    ["train"], ["clean"], ["export"], ["evaluate"], ["report"], ["compare"], ["notebooks"],
    ["feedback"], ["feedback", "import"], ["gather"],
    *(["gather", each] for each in GATHER),
]  # fmt: skip
LOOK = """
import json, sys
from edge.cli.app import run
heavy = {"torch", "fastai", "timm", "cv2", "numpy", "pandas", "matplotlib", "onnx", "onnxruntime",
         "cleanlab", "sklearn", "PIL", "httpx", "requests", "imagehash", "ddgs", "pygbif", "pyinaturalist"}
found = {}
for words in json.loads(sys.argv[1]):
    try:
        run([*words, "--help"])
    except SystemExit as ended:
        assert not ended.code
    found[" ".join(words)] = sorted(heavy & set(sys.modules))
print("\\n" + json.dumps(found))
"""


def test_help_imports_nothing_heavy() -> None:
    typed = [sys.executable, "-c", LOOK, json.dumps(COMMANDS)]
    done = subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {" ".join(words): [] for words in COMMANDS}


@pytest.mark.parametrize(
    ("words", "option"),
    [(["clean"], "--retrain"), (["feedback", "import"], "--unreviewed-negatives"), (["gather", "web"], "August 2025")],
    ids=str,
)
def test_help_names_the_options(words: list[str], option: str) -> None:
    shown = bear_alarm(*words, "--help")
    assert shown.returncode == 0
    assert option in shown.stdout
