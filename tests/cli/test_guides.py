"""The guides: what they have people type exists, and so do the packages, files and pages they name."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.cli.app import load
from edge.cli.main import COMMANDS
from edge.device import systemd
from tests.helpers.guide_pages import DOCS, ROOT, Step, steps

PAGES = ("raspberry-pi.md", "desktop.md", "offline.md", "updates.md", "troubleshooting.md", "commands.md")
GUIDES = PAGES[:4]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DEBIAN = {"git", "make", "python3-venv", "alsa-utils", "swig", "gcc", "python3-dev"}
RASPBERRY_PI_OS = {"rpicam-apps-lite"}  # which Debian does not know


def text(page: str) -> str:
    """A page under docs/."""
    return (DOCS / page).read_text(encoding="utf-8")


def typed() -> Iterator[tuple[str, Step]]:
    """Every command of the guides."""
    for page in GUIDES:
        yield from ((page, step) for step in steps(page) if step.command)


def check_ours(words: list[str], where: str) -> None:
    """A command of bear-alarm with options it has, and a sub-command where it has such."""
    if words[0].startswith("--"):
        return
    assert words[0] in COMMANDS, where
    command = load(words[0])
    inner = getattr(command, "commands", {})
    if inner and len(words) > 1 and not words[1].startswith("-"):
        assert words[1] in inner, where
        command = inner[words[1]]
    known = {word for param in command.params for word in (*param.opts, *param.secondary_opts)} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, where


def test_every_command_that_is_typed_exists():
    for page, step in typed():
        if step.ours:
            check_ours(step.ours, f"{page}, line {step.line}: {step.command}")


def test_no_guide_serves_a_folder_to_the_whole_network():
    served = [step.command for _, step in typed() if "http.server" in step.command]
    assert [command for command in served if "--bind 127.0.0.1" not in command] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_within_the_words_exists(page: str):
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"`(?:sudo )?(?:[\w/~.-]*/)?bear-alarm ([a-z][^`]*)`", prose):
        words = [word for word in line.split() if word not in {"…", "COMMAND", "--help"}]
        if words:
            check_ours(words, f"{page}: bear-alarm {line}")


def test_the_packages_of_the_system_have_those_names():
    wanted = {
        word
        for _, step in typed()
        if step.words[:3] == ["sudo", "apt", "install"]
        for word in step.words[3:]
        if not word.startswith("-")
    }
    assert wanted == DEBIAN | RASPBERRY_PI_OS
    if shutil.which("apt-cache") is None:
        return
    told = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True, check=False).stdout.split()
    if len(told) > 10_000:  # else its lists were never fetched
        assert not DEBIAN - set(told)


def test_installing_is_reported_as_in_the_readme():
    commands = [step.command for _, step in typed()]
    for line in (
        "sudo apt install git make python3-venv",
        "pipx install .",
        "python3 -m venv bears",
        "bears/bin/pip install .",
    ):
        assert line in commands, line
        assert re.search(rf"^ {{4}}{re.escape(line)}(\s|$)", README, re.MULTILINE), line
    extras = {name for line in commands for name in re.findall(r"[.m]\[([a-z-]+)\]", line)}
    assert extras == {"pi"} <= set(PROJECT["project"]["optional-dependencies"])
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z-]+)", text(page))}
    assert named <= targets


def test_the_guide_installs_where_the_service_looks():
    commands = [step.command for step in steps("raspberry-pi.md")]
    assert any(command.startswith(f"sudo python3 -m venv {systemd.ENVIRONMENT}") for command in commands)
    assert any(str(systemd.CONFIG) in command for command in commands if command.startswith("sudo install"))


def test_each_trouble_shows_what_to_do():
    """A heading is followed by words of its own before the next, or by quotes that say what to do themselves."""
    for entry in re.split(r"^### ", text("troubleshooting.md"), flags=re.MULTILINE)[1:]:
        head, *rest = entry.split("\n## ")[0].splitlines()
        assert ";" in head or [line for line in rest if line.strip() and not line.startswith(">")], head


def anchors(path: Path) -> set[str]:
    """Return what a page's headings are called in a link."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).replace(" ", "-") for head in heads]
    return set(plain)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)", text(page)):
        path = (DOCS / target).resolve() if target else DOCS / page
        assert path.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(path), f"{page}: {target}#{anchor}"


def test_every_page_is_linked_from_another():
    for page in PAGES:
        others = [path for path in (*DOCS.glob("*.md"), *ROOT.glob("*.md")) if path.name != page]
        assert any(f"{page}" in path.read_text(encoding="utf-8") for path in others), page


def test_the_pixels_that_a_bear_needs_are_the_same_everywhere():
    assert "45 pixels" in text("raspberry-pi.md")
    assert "45 px" in README
    assert "45 pixels" in load("snapshot").help
