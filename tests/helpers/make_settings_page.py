"""Write docs/settings.md from the config's schema: `python tests/helpers/make_settings_page.py`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from edge.config.schema import Pattern, config_schema, settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
INTRO = """\
# Settings

Every setting of the config file; [configuration.md](configuration.md) explains how the file is written.
Written from the program by `python tests/helpers/make_settings_page.py`; a test compares the two.

`cameras.yard.fps` is `fps`, indented under `yard:`, indented under `cameras:`. `NAME` stands for a name of your own.
An empty default means none, nobody or off. A relative path counts from the config's folder.
"""
HEAD = "| setting | what | default | values | example |\n|---|---|---|---|---|\n"
TOP = "All settings at the top"
DEFAULT = re.compile(r" \(default: ([^()]+)\)")
UNBOUNDED = 1e7  # a bound that only keeps out what cannot be meant


def page() -> str:
    """Return the whole page: what stands at the top of a config, then a table for each section."""
    rows = {key: row(key) for key in settings()}
    parts = [INTRO, f"## {TOP}\n", HEAD + "".join(line for key, line in rows.items() if len(key) == 1)]
    for section in (key[0] for key in rows if len(key) == 1):
        if lines := [line for key, line in rows.items() if key[0] == section and len(key) > 1]:
            parts += [f"## {section}\n", HEAD + "".join(lines)]
    return "\n".join(parts)


def row(key: Pattern) -> str:
    """Return a setting's row of a table."""
    found = settings()[key]
    what = DEFAULT.sub("", found["description"])
    cells = [f"`{'.'.join(key)}`", what, default_of(key), values_of(found), f"`{example_of(found)}`"]
    return "| " + " | ".join(each.replace("|", "&#124;") for each in cells) + " |\n"


def default_of(key: Pattern) -> str:
    """Return what holds where a setting is not given; its description says it where it is no fixed value."""
    found = settings()[key]
    if said := DEFAULT.search(found["description"]):
        return said[1]
    if key[-1] in _needed(key[:-1]):
        return "needed"
    if len(key) == 3 and key[0] == "cameras" and ("detect", key[2]) in settings():
        return "`detect`'s"
    default = found.get("default")
    return "" if default is None or default == [] else word(default)


def values_of(found: dict[str, Any]) -> str:
    """Return the bounds of a number, or what else may be given."""
    if found.get("type") == "boolean":
        return "yes, no"
    if "enum" in found:
        return ", ".join(found["enum"])
    if "minimum" not in found:
        return ""
    if found["maximum"] < UNBOUNDED:
        return f"{word(found['minimum'])} to {word(found['maximum'])}"
    return f"{word(found['minimum'])} or more"


def example_of(found: dict[str, Any]) -> str:
    """Return the schema's first example as it stands behind the setting's name in a config."""
    return word(found["examples"][0])


def _needed(section: Pattern) -> set[str]:
    """Return what a section must have."""
    schema = config_schema()
    names = re.findall(r"'#/\$defs/(\w+)'", str(settings().get(section, {})))
    return {key for name in names for key in schema["$defs"][name].get("required", ())}


def word(value: Any) -> str:
    """Return a value in the words of a config."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | dict):
        flow: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1000)
        return flow.strip()
    return str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
