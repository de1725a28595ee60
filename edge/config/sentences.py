"""Explain in one sentence what is wrong with a setting, and what to do. No sentence holds a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edge.alert.redact import scrub
from edge.config.schema import about, kind_of, pattern, settings, unknown
from edge.config.yaml_tree import Document, Key, key_text

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_SENTENCE = 400  # characters of a sentence
MAX_VALUE_SHOWN = 60
SOURCES = ("source", "motion_source")
ESCAPED = "the signs / ? # @ % of a password are written %2F %3F %23 %40 %25"
NO_SPACE = re.compile(r"[\w-]+:(?!//)\S")  # yard:0
NUMBER = re.compile(r"([+-]?\d+(?:[.,]\d+)?)\s*([^\W\d_]+|%|°\s*[cC]|)")
# How much of the unit in a setting's name one of what was written is; without a unit it is a number all the same.
UNITS = {
    "mb": {"": 1.0, "mb": 1.0, "m": 1.0, "gb": 1000.0, "g": 1000.0, "tb": 1e6, "kb": 0.001, "gib": 1074.0},
    "s": {
        "": 1.0, "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0,
        "mins": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86_400.0,
        "day": 86_400.0, "days": 86_400.0,
    },
    "ms": {"": 1.0, "ms": 1.0, "s": 1000.0},
    "c": {"": 1.0, "c": 1.0, "°c": 1.0},
    "fps": {"": 1.0, "fps": 1.0, "hz": 1.0},
}  # fmt: skip
UNITS["seconds"] = UNITS["s"]
SHARE_UNITS = {"": 1.0, "%": 0.01}  # of a setting without a unit in its name


def key_of(error: ErrorDetails, data: Any) -> Key:
    """Return the setting that an error is of. In the checked ``data`` one value may be written for a list of it."""
    key: Key = ()
    for part in error["loc"]:
        if part == "[key]" or (isinstance(part, int) and not isinstance(data, list)):
            continue
        key += (part,)
        data = valued(data, (part,))
    return key


def sentence(error: ErrorDetails, key: Key, document: Document) -> str:
    """Return what is wrong with a setting, and what to do."""
    kind = error["type"]
    if kind == "extra_forbidden":
        return unknown(key, valued(document.data, key))
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
        return f"{shown} is not {_bounds(key)}{'' if key in document.filled else _share(key, value)}"
    return f"{shown} cannot be used here. {about(key).get('description', '')}".rstrip()


def valued(data: Any, key: Key) -> Any:
    """Return the value of a setting, or the one value that is written for the section around it."""
    for part in key:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if not inside or (isinstance(data, list) and isinstance(part, int) and part >= len(data)):
            break
        data = data[part]
    return data


def filled_under(document: Document, key: Key) -> list[str]:
    """Return the values with ``${NAME}`` in them that a setting is made of, as they were written."""
    return [
        written for inner, written in document.filled.items() if inner[: len(key)] == key or key[: len(inner)] == inner
    ]


def refused(document: Document, key: Key, words: str) -> str:
    """Return a parser's sentence about a setting, but another where it could quote a secret."""
    written = filled_under(document, key)
    if not written:
        return words if len(words) <= MAX_SENTENCE else words[: MAX_SENTENCE - 2] + " …"
    names = ", ".join(dict.fromkeys(name for each in written for name in re.findall(r"(?<!\$)\$\{[^{}]*\}", each)))
    if key and key[-1] in SOURCES:
        return f"with the value of {names} it is not an address; {ESCAPED}"
    return f"with the value of {names} it cannot be used. {about(key).get('description', '')}".rstrip()


def _parsers(error: ErrorDetails, document: Document, key: Key) -> str:
    return refused(document, key, str(error.get("ctx", {}).get("error", error["msg"])))


def _shown(document: Document, key: Key, value: Any) -> str:
    """Return a value as it was written, without the password of an address."""
    for inner, written in document.filled.items():
        if inner == key or key[: len(inner)] == inner:
            return repr(written[:MAX_VALUE_SHOWN])
    words = scrub(str(value))
    return repr(words if len(words) <= MAX_VALUE_SHOWN else words[: MAX_VALUE_SHOWN - 2] + " …")


def _not_settings(key: Key, value: Any) -> str:
    names = [each[-1] for each in settings() if each[:-1] == pattern(key)]
    such = f", such as {names[0]}: …" if names else ""
    space = "; a space is missing behind the colon" if isinstance(value, str) and NO_SPACE.match(value) else ""
    dash = " and without a - before them" if isinstance(value, list) else ""
    where = key_text(key) or "a config"
    return f"{kind_of(value)} where settings are wanted{space}; {where} takes lines of KEY: VALUE, indented{dash}{such}"


def _wanted(key: Key) -> str:
    types = str(about(key))
    if "'boolean'" in types:
        return "on or off"
    return "a number" if "'number'" in types or "'integer'" in types else "a word"


def _better(key: Key, value: Any) -> str:
    """Return what to write in place of a number with a unit or a comma, or else which numbers are allowed."""
    match = NUMBER.fullmatch(str(value).strip())
    units = UNITS.get(str(key[-1]).rpartition("_")[2], SHARE_UNITS)
    factor = units.get(match[2].lower().replace(" ", "")) if match else None
    if match and factor is not None:
        number = float(match[1].replace(",", ".")) * factor
        if about(key).get("minimum", number) <= number <= about(key).get("maximum", number):
            return f"; write {number:g}"
    return f"; give one {_bounds(key)}" if _bounds(key) else ""


def _share(key: Key, value: Any) -> str:
    """Return what to write in place of 80 where a share was meant."""
    percent = float(value)
    return f"; write {percent / 100:g}" if about(key).get("maximum", 0) < 1.0 < percent < 100.0 else ""


def _bounds(key: Key) -> str:
    low, high = about(key).get("minimum"), about(key).get("maximum")
    if low is None or high is None:
        return ""
    return f"between {low:g} and {high:g}"
