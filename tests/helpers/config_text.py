"""Texts of configs for the tests, and what becomes of them."""

import re
from pathlib import Path
from textwrap import dedent

from edge.config.load import load_text
from edge.errors import ConfigError
from edge.settings import Settings


def made(text: str, folder: Path = Path("/nowhere")) -> Settings:
    """The settings that a config means."""
    return load_text(dedent(text), folder / "bear-alarm.yml").settings


def problems(text: str, folder: Path = Path("/nowhere")) -> list[str]:
    """Return what is wrong with one, each as ``LINE: KEY: SENTENCE``."""
    try:
        made(text, folder)
    except ConfigError as error:
        return [line.removeprefix(f"{folder / 'bear-alarm.yml'}:").strip() for line in error.lines]
    return []


def uncommented(text: str) -> str:
    """The text of a template with every setting taken in."""
    return re.sub(r"^(\s*)#(?=[^\s#])", r"\1", text, flags=re.MULTILINE)
