"""Every setting there is, from the JSON Schema of the config; and where one that is not there was meant to stand."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from edge.config.tree import Key

NAME = "NAME"  # stands for a name of the user's: of a camera, of a zone
MOST_NAMED = 16
SHORTEST = 2  # characters of a word that resembles too many others
NAMED_UNDER = (("cameras",), ("cameras", NAME, "zones"))

Pattern = tuple[str, ...]  # cameras, NAME, fps

# What people call it who come from the options of `watch`, or from other programs.
ELSEWHERE: dict[str, Pattern] = {
    "evidence": ("record", "path"),
    "evidence_full": ("record", "full_frame"),
    "evidence_negatives": ("record", "negatives_per_day"),
    "evidence_quota_mb": ("record", "quota_mb"),
    "motion_from": ("cameras", NAME, "motion_source"),
    "sound_seconds": ("sound", "seconds"),
    "sound_device": ("sound", "device"),
    "light": ("relay",),
    "deterrent_lamp": ("deterrent", "lamps"),
    "deterrent_hours": ("deterrent", "hours"),
    "webhook_secret": ("webhook", "secret"),
    "no_evidence": ("record", "enabled"),
    "topic_prefix": ("mqtt", "prefix"),
    "snapshots": ("record",),
    "inputs": ("cameras", NAME, "source"),
    "stream": ("cameras", NAME, "source"),
    "min_score": ("detect", "threshold"),
}


@cache
def config_schema() -> dict[str, Any]:
    """The JSON Schema of a config, draft 2020-12, as it is once ${NAME} is filled in and what is empty is left out."""
    from edge.config.shape import Config

    plain: dict[str, Any] = _plain(Config.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Bear Alarm"} | plain


@cache
def settings() -> dict[Pattern, dict[str, Any]]:
    """Each setting and section with its part of the schema; what stands in a list is under the list's own name."""
    schema = config_schema()
    return dict(_walk(schema, (), schema["$defs"]))


def pattern(key: Key) -> Pattern:
    """A key with the user's own names taken out."""
    found: Pattern = ()
    for part in key:
        if isinstance(part, str):
            found += (NAME if found in NAMED_UNDER else part,)
    return found


def about(key: Key) -> dict[str, Any]:
    """The part of the schema about a setting; empty where there is no such."""
    return settings().get(pattern(key), {})


def unknown(key: Key, value: Any = None) -> str:
    """What to say of a setting that does not exist, and has this value."""
    *_, word = pattern(key)
    level = pattern(key)[:-1]
    plain = word.strip().lower().replace("-", "_").replace(" ", "_")
    here = [each[-1] for each in settings() if each[:-1] == level and each[-1] != NAME]
    if plain in here:
        return f"no such setting; did you mean {plain}?"
    elsewhere = [each for each in settings() if each[-1] == plain]
    if elsewhere and not get_close_matches(plain, here, n=1, cutoff=0.8):
        return f"no such setting here; it belongs {' or '.join(_under(each) for each in elsewhere[:3])}"
    if plain in ELSEWHERE:
        return f"no such setting; did you mean {'.'.join(ELSEWHERE[plain])}?"
    if near := get_close_matches(plain, here, n=1):
        return f"no such setting; did you mean {near[0]}?"
    words = {each[-1]: each for each in settings() if each[-1] != NAME}
    if len(plain) > SHORTEST and (near := get_close_matches(plain, words, n=1, cutoff=0.66)):
        return f"no such setting; did you mean {'.'.join(words[near[0]])}?"
    if not level and isinstance(value, dict) and {("cameras", NAME, each) for each in value} & settings().keys():
        return "no such setting; if it is a camera, indent it, and what belongs to it, under cameras:"
    more = ", …" if len(here) > MOST_NAMED else ""
    return f"no such setting; there are {', '.join(here[:MOST_NAMED])}{more}"


def _under(where: Pattern) -> str:
    return f"under {'.'.join(where[:-1])}" if len(where) > 1 else "at the top, not indented"


def _walk(schema: dict[str, Any], at: Pattern, parts: dict[str, Any]) -> Iterator[tuple[Pattern, dict[str, Any]]]:
    for option in _options(schema, parts):
        for name, inner in option.get("properties", {}).items():
            yield (*at, name), _merged(inner, parts)
            yield from _walk(inner, (*at, name), parts)
        if isinstance(inner := option.get("additionalProperties"), dict):
            yield (*at, NAME), _merged(inner, parts)
            yield from _walk(inner, (*at, NAME), parts)
        if isinstance(inner := option.get("items"), dict):
            yield from ((each, found) for each, found in _walk(inner, at, parts) if len(each) > len(at))


def _options(schema: dict[str, Any], parts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a schema allows, without references and alternatives."""
    if "$ref" in schema:
        yield from _options(parts[schema["$ref"].rpartition("/")[2]], parts)
    for each in schema.get("anyOf", ()):
        yield from _options(each, parts)
    yield schema


def _merged(schema: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """What a schema says at its top, and what the section says to which it refers."""
    own = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else {}
    return {name: own[name] for name in ("description", "type") if name in own} | schema


def _plain(schema: Any) -> Any:
    """Without titles, the nulls that stand for what is left out, and defaults that a section's own settings say."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        name: {inner: _plain(each) for inner, each in value.items()}
        if name in {"properties", "$defs"}
        else _plain(value)
        for name, value in schema.items()
        if name != "title" and not (name == "default" and (value is None or isinstance(value, dict)))
    }
    if len(found.get("allOf", ())) == 1:  # how pydantic before 2.9 wrote a reference
        found = found.pop("allOf")[0] | found
    if "anyOf" in found:
        found["anyOf"] = [each for each in found["anyOf"] if each != {"type": "null"}]
        if len(found["anyOf"]) == 1:
            found = found.pop("anyOf")[0] | found
    return found
