"""The line that a message gives is one for the environment that runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge import installing
from edge.installing import extra, pip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="quoted another way there")


def test_it_is_the_pip_of_the_python_that_runs():
    assert pip("install", "av") == f"{sys.executable} -m pip install av"
    assert extra("train", "gather").endswith("-m pip install 'bear-alarm[train,gather]'")


def test_in_an_environment_of_pipx_it_is_pipx_that_runs_it(tmp_path, monkeypatch):
    venv = tmp_path / "venvs/bear-alarm"
    venv.mkdir(parents=True)
    (venv / "pipx_metadata.json").write_text("{}")
    monkeypatch.setattr(sys, "prefix", str(venv))
    assert extra("pi") == "pipx runpip bear-alarm install 'bear-alarm[pi]'"


def test_an_environment_without_pip_is_one_of_uv(monkeypatch):
    monkeypatch.setattr(installing, "find_spec", lambda name: None)
    assert pip("install", "av") == f"uv pip install --python {sys.executable} av"


def test_a_path_with_a_space_can_be_pasted(monkeypatch, tmp_path):
    python = tmp_path / "my bees/python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    done = subprocess.run(extra("pi"), shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "-m pip install bear-alarm[pi]\n"


def test_no_message_advises_a_pip_that_may_be_anothers():
    """What is said to a person names the environment; only comments and docstrings may say `pip install`."""
    folders = ("edge", "train", "export")
    root = Path(__file__).parent.parent
    said = [
        f"{path.name}: {line.strip()}"
        for folder in folders
        for path in (root / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "pip install" in line and "/bin/pip" not in line and path.name != "installing.py"
    ]
    assert said == []
