"""The line that a message gives is one for the environment that runs."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.installing import extra, origin, pip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="quoted another way there")


@pytest.fixture(autouse=True)
def from_an_index(monkeypatch):
    """An installed package of which nothing is noted, as from an index."""
    noted(monkeypatch, None)


def noted(monkeypatch, what):
    text = what if what is None or isinstance(what, str) else json.dumps(what)
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: SimpleNamespace(read_text=lambda file: text))


def test_an_extra_comes_from_where_the_package_came_from(monkeypatch, tmp_path):
    folder = tmp_path / "my bees"
    folder.mkdir()
    here = {"url": folder.as_uri(), "dir_info": {}}
    noted(monkeypatch, here)
    assert origin() == [str(folder)]
    assert extra("train").endswith(f"-m pip install '{folder}[train]'")
    noted(monkeypatch, here | {"dir_info": {"editable": True}})
    assert origin() == ["-e", str(folder)]
    wheel = folder / "bear_alarm-1.0-py3-none-any.whl"
    wheel.touch()
    noted(monkeypatch, {"url": wheel.as_uri(), "archive_info": {}})
    assert origin() == [str(wheel)]


@pytest.mark.parametrize(
    "what", [None, "no JSON", {"url": "file:///gone/bees"}, {"url": "https://example.org/bees.git", "vcs_info": {}}]
)
def test_what_pip_was_given_is_gone_or_elsewhere(monkeypatch, what):
    noted(monkeypatch, what)
    assert origin() == ["bear-alarm"]


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
    monkeypatch.setattr("edge.installing.find_spec", lambda name: None)
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
    """Messages name the environment; only comments and docstrings may have `pip install`."""
    folders = ("edge", "train", "export")
    root = Path(__file__).parents[2]
    printed = [
        f"{path.name}: {line.strip()}"
        for folder in folders
        for path in (root / folder).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "pip install" in line and "/bin/pip" not in line and path.name != "installing.py"
    ]
    assert printed == []
