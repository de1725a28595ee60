"""The package as a whole: what it brings, what it carries, what its documents promise, what the Makefile says."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from edge import __version__
from edge.cli.app import load
from edge.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROOMS = ("edge", "train", "export")
# What never comes with the base install, nor with an import of edge.
HEAVY = {"torch", "torchvision", "fastai", "timm", "onnx", "onnxscript", "matplotlib", "pandas", "opencv-python"}


def names(requirements: list[str]) -> set[str]:
    """The names in a list of requirements, without versions and extras."""
    return {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower() for line in requirements}


def test_the_base_install_is_light():
    base = names(PROJECT["project"]["dependencies"])
    assert {"numpy", "opencv-python-headless", "onnxruntime"} <= base
    assert not base & HEAVY
    assert not names(PROJECT["project"]["optional-dependencies"]["dev-edge"]) & HEAVY
    assert {"torch", "fastai", "onnx"} <= names(PROJECT["project"]["optional-dependencies"]["train"])


def test_importing_all_of_edge_brings_nothing_heavy():
    code = """
import importlib, pkgutil, sys, edge
found = [m.name for m in pkgutil.walk_packages(edge.__path__, "edge.") if not m.name.endswith("__main__")]
for name in found:
    importlib.import_module(name)
print(len(found), *sorted({name.partition(".")[0] for name in sys.modules}))
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    count, *modules = ran.stdout.split()
    assert int(count) >= 20
    assert not set(modules) & {*HEAVY, "train", "export", "fastcore"}


@pytest.mark.parametrize("module", ["torch", "fastai.vision", "onnx", "timm", "train.data.table", "export.graph"])
def test_ruff_refuses_heavy_imports_in_edge_alone(module):
    pytest.importorskip("ruff")
    code = f"def late() -> object:\n    import {module} as found\n\n    return found\n"
    for room in (*ROOMS, "tests"):
        command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--stdin-filename", f"{room}/some/file.py", "-"]
        ran = subprocess.run(command, input=code, cwd=ROOT, capture_output=True, text=True, check=False)
        assert ("TID251" in ran.stdout) == (room == "edge"), (room, ran.stdout + ran.stderr)


def test_commands_of_other_rooms_are_entry_points_that_exist():
    points = PROJECT["project"]["entry-points"]["bear_alarm.commands"]
    assert set(points) == {name for name, (_, _, where) in COMMANDS.items() if where is None}
    for point in points.values():
        module, _, function = point.partition(":")
        tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        imported = {a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names}
        assigned = {
            name.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for name in node.targets
            if isinstance(name, ast.Name)
        }
        assert function in defined | imported | assigned, point


def test_documents_name_only_commands_and_options_that_exist():
    texts = {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    named: set[str] = set()
    for path, text in texts.items():
        for line in re.findall(r"(?:^ {4}|`)(?:[\w./-]*/)?bear-alarm ([a-z][^\n`#]*)", text, re.MULTILINE):
            words = line.split()
            assert words[0] in COMMANDS, f"{path.name}: bear-alarm {line}"
            named.add(words[0])
            options = {word.partition("=")[0] for word in words if word.startswith("--")}
            command = load(words[0])
            if len(words) > 1 and words[1] in getattr(command, "commands", {}):
                command = command.commands[words[1]]
            known = {option for param in command.params for option in param.opts + param.secondary_opts}
            assert options <= known | {"--help"}, f"{path.name}: bear-alarm {line}"
    assert named == set(COMMANDS), "a command that no document shows"


def test_the_readme_is_short_and_its_links_and_make_lines_lead_somewhere():
    assert len(README.splitlines()) <= 120
    assert "@@" not in README, "a measured number is still to be filled in"
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / link).exists(), link
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", README, re.MULTILINE)) <= targets
    for words in ("not a life-safety device", "train on your own pictures before relying on it"):
        assert words in README


def test_the_changelog_has_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)


def test_loading_a_model_leaves_no_trace_in_the_home_folder(tmp_path: Path):
    """onnxruntime's wheels would keep a device id and a queue of usage data there."""
    words = (
        "from edge.detect.classifier import Classifier; from edge.detect.classifier import BUNDLED; Classifier(BUNDLED)"
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", words], check=True, env=os.environ | home, cwd=ROOT)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as pip would build it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def metadata(wheel: zipfile.ZipFile) -> Message:
    """The wheel's METADATA."""
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_carries_the_model_the_demo_and_the_licences(wheel: zipfile.ZipFile):
    carried = set(wheel.namelist())
    wanted = {"edge/models/bear.onnx", "edge/demo/demo.mp4", "edge/demo/README.md", "edge/demo/COPYING"}
    assert wanted <= carried
    licences = {name.partition("/licenses/")[2] for name in carried if ".dist-info/licenses/" in name}
    notices = "edge/phone/app/ThirdPartyNotices.txt.xz"
    tables = "edge/batch/camtrap_dp_1.0.2/LICENSE"
    assert {"LICENSE", "edge/demo/COPYING", tables, "edge/phone/app/LICENSES.txt", notices} <= licences
    strangers = [name for name in carried if not name.startswith((*(f"{room}/" for room in ROOMS), "bear_alarm-"))]
    assert not strangers
    assert not [name for name in carried if name.endswith((".pkl", ".pth", ".pyc"))]
    assert "edge/phone/app/LICENSES.txt" in carried
    assert not [name for name in carried if name.startswith("edge/phone/web/")], "the web app's source"
    assert sum(entry.compress_size for entry in wheel.infolist()) < 16e6


def test_the_wheel_says_what_it_needs(wheel: zipfile.ZipFile):
    said = metadata(wheel)
    assert said["Version"] == __version__
    assert said["License-Expression"] == "Apache-2.0 AND GPL-2.0-or-later AND MIT AND ISC AND BSD-3-Clause AND MPL-2.0"
    base = [line for line in said.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert names(base) == names(PROJECT["project"]["dependencies"])


def python_that(folder: Path, lacks: str) -> Path:
    """A ``python3`` in a folder of its own that fails wherever its code says ``lacks``."""
    python = folder / "python3"
    python.write_text(f'#!/bin/sh\ncase "$2" in *{lacks}*) exit 1;; esac\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.needs_tool("make")
@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("ensurepip", "\n    sudo apt install python3-venv\n"),
        ("calcsize", "install the 64-bit Raspberry Pi OS"),
        ("version_info", "\n    sudo apt install python3 python3-venv\n"),
        ("nothing", ""),
    ],
)
def test_make_says_what_is_missing(tmp_path: Path, lacks: str, said: str):
    python_that(tmp_path, lacks)
    (tmp_path / "find").symlink_to(shutil.which("find") or "find")
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    command = [shutil.which("make") or "make", "--no-print-directory", "check-python"]
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode == 0) == (lacks == "nothing"), ran.stderr
    assert said in ran.stderr
    assert ran.stderr.count("apt install") <= 1


# Names that the code no longer uses, and what it says instead: a search for the old one finds nothing.
RETIRED = [
    "LensCheck",
    "CameraEvidence",
    "EvidenceWriter",
    "Offenders",
    "Happening",
    "Alongside",
    "TroubleWatch",
    "Teller",
    "AtOnce",
    "Away",
    "Keeping",
    "GoingOn",
    "ChannelPlan",
    "Post",
    "Stint",
    "HangingError",
    "Newest",
    "Spell",
    "KeptSource",
    "Onward",
    "Arrivals",
    "FollowSource",
    "PairedSource",
    "Later",
    "Papers",
    "Film",
    "Pile",
    "Visit",
    "Desk",
    "Cover",
    "Patient",
    "Vault",
    "Bell",
    "Parcel",
    "Turn",
    "Alive",
    "WordFirst",
    "akin",
    "same_s",
    "arriving",
]


@pytest.mark.parametrize("folder", ["edge", "train", "export"])
def test_no_retired_name_comes_back(folder: str):
    code = {path: set(re.findall(r"\b\w+\b", code_of(path))) for path in (ROOT / folder).rglob("*.py")}
    assert not {f"{path}: {name}" for path, names in code.items() for name in names & set(RETIRED)}


def code_of(path: Path) -> str:
    """Return a file's code without its comments and texts."""
    kept = (tokenize.NAME, tokenize.OP)
    with path.open("rb") as file:
        return " ".join(token.string for token in tokenize.tokenize(file.readline) if token.type in kept)
