"""Kinds of values: what a word may stand for, and how a section may be written shorter.

Pydantic carries them. Paths count from the config's folder, which is the ``context`` of validation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import core_schema

from edge.decide.schedule import Schedule, parse_schedule
from edge.detect.zones import Polygon, parse_polygon
from edge.errors import OptionError

LONG_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212"  # what phones make of two of them
HERE = "this"  # in place of an option's name, which the sentence then does not begin with


class Section(BaseModel):
    """Settings that belong together; any other key is a mistake. No error of pydantic's holds a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Nothing: a password may be among them."""
        return []


class Words:
    """A value that ``parse(value, folder)`` reads; ``schema`` is its JSON Schema. It may raise ValueError, OSError."""

    def __init__(self, parse: Callable[[Any, Path], object], schema: Mapping[str, Any]) -> None:
        self.parse = parse
        self.schema = dict(schema)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)

    def _read(self, value: Any, info: ValidationInfo) -> object:
        try:
            return self.parse(value, info.context if isinstance(info.context, Path) else Path())
        except OptionError as error:
            raise ValueError(said(error)) from None
        except OSError as error:  # a name that is too long, a folder that may not be looked into
            raise ValueError(f"it cannot be looked at ({error.strerror or type(error).__name__})") from None


class Short:
    """One value alone may stand for a section that has it under ``key``; ``schema`` is of that value."""

    def __init__(self, expand: str | Callable[[Any], object], schema: Mapping[str, Any]) -> None:
        self.expand = expand
        self.schema = dict(schema)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._long, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [self.schema, handler(schema)]}

    def _long(self, value: Any) -> Any:
        if value is None:  # a camera of which only the name is there
            return {}
        if isinstance(self.expand, str):
            return {self.expand: value} if isinstance(value, str | list) else value
        if not isinstance(value, str):
            return value
        try:
            return self.expand(value)
        except OptionError as error:
            raise ValueError(said(error)) from None


class Listed:
    """One value alone may stand for a list of it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: value if isinstance(value, list) else [value], handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        return {"anyOf": [found["items"], found]}


def said(error: Exception) -> str:
    """What a parser says, without the option that it names first."""
    words = str(error)
    for start in (f"{HERE}: ", f"{HERE} ", "MQTT: "):
        words = words.removeprefix(start)
    return words


def text_of(value: Any) -> str:
    """A value that must be text. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{kind_of(value)} where a word is wanted")
    return value


def kind_of(value: Any) -> str:
    """What a value is, for people."""
    if isinstance(value, Mapping):
        return "settings (key: value)"
    return "a list" if isinstance(value, list) else "a word" if isinstance(value, str) else "nothing"


def _schedule(value: Any, folder: Path) -> Schedule:
    words = text_of(value)
    if long := next((sign for sign in words if sign in LONG_DASHES), ""):
        raise ValueError(f"{long} is no - but longer; type - in its place")
    return parse_schedule(words, HERE)


def corners(value: Any, folder: Path) -> Polygon:
    """'0.1,0.5 0.6,0.5 …', or a list of pairs. Raises ValueError."""
    if value is None:
        raise ValueError("it has no corners; give three or more, as '0.1,0.5 0.6,0.5 0.6,0.9'")
    if isinstance(value, dict):
        raise ValueError("settings (key: value) where corners are wanted, such as '0.1,0.5 0.6,0.5 0.6,0.9'")
    return parse_polygon(_corner_words(value), HERE)


def polygons(value: Any, folder: Path) -> tuple[Polygon, ...]:
    """The corners of one polygon, or a list of such. Raises ValueError."""
    if isinstance(value, list) and value and not all(_is_pair(each) for each in value):
        return tuple(corners(each, folder) for each in value)
    return (corners(value, folder),) if value else ()


def _corner_words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise ValueError(f"{kind_of(value)} where corners are wanted")
    return " ".join(",".join(map(text_of, each)) if isinstance(each, list) else text_of(each) for each in value)


def _is_pair(value: Any) -> bool:
    """One corner, or one side of a corner."""
    if isinstance(value, list):
        return len(value) == 2 and all(isinstance(side, str) and len(side.split(",")) == 1 for side in value)
    return isinstance(value, str) and len(value.replace(",", " ").split()) <= 2


CORNER_LIST = {
    "type": "array",
    "items": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 2, "maxItems": 2},
    "minItems": 3,
}
CORNERS = {"anyOf": [{"type": "string"}, CORNER_LIST]}
SWITCH = {"type": "boolean"}
WORD = {"type": "string"}
WORD_OR_NUMBER = {"type": ["string", "integer"]}

When = Annotated[Schedule, Words(_schedule, WORD)]
Corners = Annotated[Polygon, Words(corners, CORNERS)]
Masks = Annotated[
    tuple[Polygon, ...], Words(polygons, {"anyOf": [*CORNERS["anyOf"], {"type": "array", "items": CORNERS}]})
]
Rate = Annotated[float, Field(ge=0.25, le=60.0)]  # slower, two sure frames would not alarm (edge.commands.watch)
Share = Annotated[float, Field(ge=0.001, le=0.999)]
Evidence = Annotated[float, Field(ge=1.21, le=6.0)]
