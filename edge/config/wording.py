"""What pydantic finds, in words for the person who wrote the config; no secret is in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edge.config.kinds import kind_of
from edge.config.known import about, settings, unknown
from edge.config.tree import Document, Key, key_text

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LONGEST = 400  # characters of a sentence
LONGEST_VALUE = 60
_NUMBER = re.compile(r"([+-]?\d+(?:[.,]\d+)?)\s*(\S.*)?")
# How much of the unit in a setting's name one of what was written is.
UNITS = {
    "mb": {"mb": 1.0, "m": 1.0, "gb": 1000.0, "g": 1000.0, "kb": 0.001},
    "s": {"s": 1.0, "sec": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0},
    "ms": {"ms": 1.0, "s": 1000.0},
}
UNITS["seconds"] = UNITS["s"]


def key_of(error: ErrorDetails) -> Key:
    """The setting that an error is of."""
    return tuple(part for part in error["loc"] if part != "[key]")


def sentence(error: ErrorDetails, document: Document) -> str:
    """What is wrong, and what to do."""
    key = key_of(error)
    kind = error["type"]
    if kind == "extra_forbidden":
        return unknown(key)
    if kind == "missing":
        return f"it is missing. {about(key).get('description', '')}".rstrip()
    value = valued(document.data, key)
    if kind == "value_error":
        return _parsers(error, document, key)
    if kind in {"model_type", "model_attributes_type", "dict_type"}:
        return _not_settings(key, value)
    if isinstance(value, dict | list):
        return f"{kind_of(value)} where {_wanted(key)} is wanted"
    shown = _shown(document, key, value)
    if kind.startswith("bool"):
        return f"{shown} is neither on nor off"
    if kind == "literal_error":
        return f"{shown} is none of {', '.join(about(key).get('enum', ()))}"
    if kind.startswith(("float", "int", "finite")):
        filled = key in document.filled
        return (
            f"{shown} is no {'whole ' if kind.startswith('int') else ''}number{'' if filled else _better(key, value)}"
        )
    if kind.startswith(("greater", "less")):
        return f"{shown} is not {_bounds(key)}"
    return f"{shown} cannot be used here. {about(key).get('description', '')}".rstrip()


def valued(data: Any, key: Key) -> Any:
    """The value of a setting; of what it belongs to, where that is not a section but one value for it."""
    for part in key:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if not inside or (isinstance(data, list) and isinstance(part, int) and part >= len(data)):
            break
        data = data[part]
    return data


def filled_under(document: Document, key: Key) -> list[str]:
    """The values with names filled in that a setting is made of, as they were written."""
    return [
        written for inner, written in document.filled.items() if inner[: len(key)] == key or key[: len(inner)] == inner
    ]


def refused(document: Document, key: Key, words: str) -> str:
    """What a parser says of a setting; nothing of it where it could be quoting what a name stands for."""
    written = filled_under(document, key)
    if not written:
        return words if len(words) <= LONGEST else words[: LONGEST - 2] + " …"
    names = ", ".join(dict.fromkeys(name for each in written for name in re.findall(r"(?<!\$)\$\{[^{}]*\}", each)))
    return f"with what {names} stands for it cannot be used. {about(key).get('description', '')}".rstrip()


def _parsers(error: ErrorDetails, document: Document, key: Key) -> str:
    return refused(document, key, str(error.get("ctx", {}).get("error", error["msg"])))


def _shown(document: Document, key: Key, value: Any) -> str:
    """A value as it was written; what looks like an address with a password in it is not shown whole."""
    from edge.outbox.scrub import scrub

    for inner, written in document.filled.items():
        if inner == key or key[: len(inner)] == inner:
            return repr(written[:LONGEST_VALUE])
    words = scrub(str(value))
    return repr(words if len(words) <= LONGEST_VALUE else words[: LONGEST_VALUE - 2] + " …")


def _not_settings(key: Key, value: Any) -> str:
    names = [each[-1] for each in settings() if each[:-1] == tuple(_levels(key))]
    such = f", such as {names[0]}: …" if names else ""
    where = key_text(key) or "a config"
    return f"{kind_of(value)} where settings are wanted; {where} takes lines of KEY: VALUE, indented{such}"


def _levels(key: Key) -> list[str]:
    from edge.config.known import pattern

    return list(pattern(key))


def _wanted(key: Key) -> str:
    types = str(about(key))
    if "'boolean'" in types:
        return "on or off"
    return "a number" if "'number'" in types or "'integer'" in types else "a word"


def _better(key: Key, value: Any) -> str:
    """What to write in place of a number with a unit, or with a comma."""
    match = _NUMBER.fullmatch(str(value).strip())
    if not match:
        return f"; give one {_bounds(key)}" if _bounds(key) else ""
    number, unit = float(match[1].replace(",", ".")), (match[2] or "").strip().lower()
    if unit.startswith("%"):
        number = number / 100 if about(key).get("maximum", 100) <= 1.0 else number
    else:
        number *= UNITS.get(str(key[-1]).rpartition("_")[2], {}).get(unit, 1.0)
    return f"; write {number:g}"


def _bounds(key: Key) -> str:
    low, high = about(key).get("minimum"), about(key).get("maximum")
    if low is None or high is None:
        return ""
    return f"between {low:g} and {high:g}"
