"""The JSON Schema of a config for editors, which see ``${NAME}``, what is left empty, and yes and no as words."""

from __future__ import annotations

from typing import Any

from edge.config.known import config_schema

FILLED = r"\$\{[^{}]+\}"
SWITCHES = "^([Yy]es|YES|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF|[Yy]|[Nn]|[Tt]rue|TRUE|[Ff]alse|FALSE)$"


def editor_schema() -> dict[str, Any]:
    """Draft 2020-12."""
    found: dict[str, Any] = _lenient(config_schema())
    return found


def _lenient(schema: Any) -> Any:
    """With ${NAME}, or nothing, in the place of any value."""
    if isinstance(schema, list):
        return [_lenient(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _lenient(value) for name, value in schema.items()}
    if "enum" in schema:
        kept = {name: value for name, value in found.items() if name not in {"enum", "type"}}
        return kept | {"anyOf": [{"enum": [*schema["enum"], None]}, {"type": "string", "pattern": FILLED}]}
    if isinstance(schema.get("type"), str | list):  # not where `type` is a setting's name
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        strict = "string" not in kinds and "object" not in kinds and "array" not in kinds
        found["type"] = [*kinds, *(["string"] if strict else []), "null"]
        if strict:
            found["pattern"] = f"{SWITCHES}|{FILLED}" if "boolean" in kinds else FILLED
    return found
