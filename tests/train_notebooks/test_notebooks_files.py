"""The notebooks as files: clean, copied and never overwritten, documented, and how Binder finds them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from edge.errors import OptionError
from tests.helpers.command import bear_alarm
from tests.helpers.notebook_world import NOTEBOOKS, ROOT
from train.notebooks.command import NAMES, copy_notebooks

BINDER = ROOT / ".binder"
PAGE = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda file: file.name)
def test_a_notebook_is_committed_without_outputs(file: Path) -> None:
    notebook = json.loads(file.read_text(encoding="utf-8"))
    assert file.name in NAMES
    assert notebook["nbformat"] == 4
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            assert len(cell["source"]) <= 15, "logic belongs into a module"
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])


def test_links_between_the_notebooks_lead_somewhere() -> None:
    for file in NOTEBOOKS.glob("*.ipynb"):
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", file.read_text(encoding="utf-8")):
            assert (NOTEBOOKS / link).is_file(), f"{file.name}: {link}"


def test_copying_makes_the_folder_and_is_harmless_twice(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert [file.name for file in copy_notebooks(folder)] == list(NAMES)
    assert all((folder / name).read_bytes() == (NOTEBOOKS / name).read_bytes() for name in NAMES)
    assert copy_notebooks(folder) == []
    (folder / "clean.ipynb").unlink()
    assert [file.name for file in copy_notebooks(folder)] == ["clean.ipynb"]


def test_a_changed_notebook_is_never_overwritten_and_nothing_else_is_copied(tmp_path: Path) -> None:
    (tmp_path / "try.ipynb").write_text("mine")
    with pytest.raises(OptionError, match=r"try\.ipynb: was changed and is not overwritten"):
        copy_notebooks(tmp_path)
    assert (tmp_path / "try.ipynb").read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == ["try.ipynb"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="cannot be written to"):
        copy_notebooks(tmp_path / "file" / "below")


def test_the_command_prints_what_to_type_next_and_refuses_with_a_sentence(tmp_path: Path) -> None:
    done = bear_alarm("notebooks", tmp_path / "my notebooks")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "my notebooks" / name) for name in NAMES]
    assert f"cd '{tmp_path}/my notebooks'" in done.stderr
    assert "jupyter lab whole_way.ipynb" in done.stderr
    assert "voila try.ipynb" in done.stderr
    (tmp_path / "my notebooks" / "clean.ipynb").write_text("changed")
    refused = bear_alarm("notebooks", tmp_path / "my notebooks")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "was changed" in refused.stderr
    assert refused.stdout == ""
    assert bear_alarm("notebooks", "--nonsense").returncode == 2


def test_binder_installs_what_the_page_needs_and_no_torch() -> None:
    lines = [line for line in (BINDER / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines == [".[notebook]"]
    assert (ROOT / "pyproject.toml").is_file()  # what the dot means: Binder installs in the repository's root
    packaging = pytest.importorskip("packaging.requirements")
    needed = {packaging.Requirement(line).name for line in EXTRAS["notebook"]}
    assert {"voila", "ipywidgets", "ipykernel", "anywidget", "pillow", "jupyterlab"} == needed
    version = re.fullmatch(r"python-(\d+\.\d+)\n", (BINDER / "runtime.txt").read_text())
    assert version
    assert tuple(map(int, version[1].split("."))) >= (3, 11)
    assert {file.name for file in BINDER.iterdir()} == {"requirements.txt", "runtime.txt"}


def test_binders_address_names_a_notebook_that_is_there() -> None:
    found = re.search(r"\?urlpath=voila/render/(\S+)", PAGE)
    assert found
    assert (ROOT / found[1]).is_file()


def test_voilas_policy_lets_nothing_in_from_elsewhere() -> None:
    headers = json.loads((NOTEBOOKS / "voila.json").read_text())["Voila"]["tornado_settings"]["headers"]
    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy


def test_the_page_names_every_notebook_and_its_links_lead_somewhere() -> None:
    for name in NAMES:
        assert f"`{name}`" in PAGE
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE):
        assert (ROOT / "docs" / link).exists(), link
    assert "bear-alarm notebooks" in PAGE


def test_nothing_in_the_browser_part_is_fetched() -> None:
    source = (NOTEBOOKS / "picture_input.js").read_text(encoding="utf-8")
    assert "http" not in source.replace("over https", "")
    assert "import" not in source
