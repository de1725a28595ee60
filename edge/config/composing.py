"""YAML's text as nodes, each with its place; no deeper and no larger than any config, so that nothing exhausts us.

No value is guessed at: all are text. Aliases are taken; tags and a second document are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.config.signs import NO_LETTER_WORDS, doubtful, plain_doubt
from edge.config.yaml_words import explain
from edge.errors import ConfigProblem

DEEPEST = 20
MOST_VALUES = 20_000  # once all aliases are written out
MOST_WRITTEN = 2 * MOST_VALUES  # values and keys
TOO_MANY = f"more than {MOST_VALUES} values; no config needs so many"
NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column from 1."""

    line: int
    column: int


@dataclass(slots=True, eq=False)
class Scalar:
    """A value."""

    place: Place
    text: str | None  # None: left empty
    plain: bool  # not in quotes
    doubt: str = ""  # what is wrong with its signs


@dataclass(slots=True, eq=False)
class Row:
    """A list."""

    place: Place
    items: list[Node]


@dataclass(slots=True, eq=False)
class Table:
    """Keys and their values, in the order they were written, doubles included."""

    place: Place
    pairs: list[tuple[Node, Node]]


Node = Scalar | Row | Table


class Unreadable(Exception):  # noqa: N818 -- it never leaves this room
    """The file cannot be read on from here."""

    def __init__(self, place: Place, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = ConfigProblem(place.line, place.column, "", sentence)


class Composer:
    """From YAML's events to nodes. Raises Unreadable, also when it is made."""

    def __init__(self, text: str) -> None:
        import yaml

        if odd := yaml.reader.Reader.NON_PRINTABLE.search(text):
            place = place_after(text[: odd.start()])
            raise Unreadable(place, f"an unprintable sign (U+{ord(odd[0]):04X}); take it out")
        self._yaml = yaml
        self._text = text
        self._loader = yaml.SafeLoader(text)
        self._anchors: dict[str, Node | None] = {}  # None: not complete yet
        self._values = 0

    def root(self) -> Node | None:
        """The one document's root; None where there is none. Raises Unreadable."""
        try:
            return self._root()
        except self._yaml.YAMLError as error:
            line, column, sentence = explain(error, self._text)
            raise Unreadable(Place(line, column), sentence) from None
        except (ValueError, OverflowError):  # "\UFFFFFFFF"
            mark = self._loader.get_mark()
            raise Unreadable(Place(mark.line + 1, mark.column + 1), NO_LETTER_WORDS) from None
        finally:
            self._loader.dispose()

    def _root(self) -> Node | None:
        root: Node | None = None
        while not isinstance(event := self._next(), self._yaml.StreamEndEvent):
            if isinstance(event, self._yaml.DocumentStartEvent) and root is not None:
                raise Unreadable(_place(event), "a second document begins here (---); a config is one")
            if isinstance(event, self._yaml.NodeEvent):
                root = self._node(event, 0)
        return root

    def _next(self) -> Any:
        get: Any = self._loader.get_event
        return get()

    def _node(self, event: Any, depth: int) -> Node:
        place = _place(event)
        if depth > DEEPEST:
            raise Unreadable(place, f"more than {DEEPEST} levels deep; no setting is")
        self._values += 1
        if self._values > MOST_WRITTEN:
            raise Unreadable(place, TOO_MANY)
        if isinstance(event, self._yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise Unreadable(place, "text that begins with * must stand in quotes")
            known = self._anchors[event.anchor]
            if known is None:
                raise Unreadable(place, "this alias (*) stands for something that it is itself a part of")
            return known
        anchor = event.anchor
        if anchor is not None:
            self._anchors[anchor] = None
        node = self._made(event, place, depth)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _made(self, event: Any, place: Place, depth: int) -> Node:
        tag = event.tag
        if tag not in (None, "!", "tag:yaml.org,2002:str"):
            better = "write ${NAME}, and NAME in secrets.yml" if tag == "!secret" else "put text in quotes"
            raise Unreadable(
                place, f"words that begin with ! ask for a kind of value, which is not done here; {better}"
            )
        if isinstance(event, self._yaml.ScalarEvent):
            return self._scalar(event, place)
        if isinstance(event, self._yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := self._next(), self._yaml.SequenceEndEvent):
                items.append(self._node(inner, depth + 1))
            return Row(place, items)
        pairs = []
        while not isinstance(inner := self._next(), self._yaml.MappingEndEvent):
            key = self._node(inner, depth + 1)
            pairs.append((key, self._node(self._next(), depth + 1)))
        return Table(place, pairs)

    def _scalar(self, event: Any, place: Place) -> Scalar:
        plain = event.style is None and event.tag is None
        text = event.value if isinstance(event.value, str) else ""
        if doubt := doubtful(text):
            raise Unreadable(place, doubt)
        empty = text == "" or (plain and text in NULLS)
        if empty and event.anchor is not None:  # which nobody writes: it was meant as text
            raise Unreadable(place, "text that begins with & must stand in quotes")
        return Scalar(place, None if empty else text, plain, (event.style is None and plain_doubt(text)) or "")


def place_after(before: str) -> Place:
    """Where what comes after a text stands."""
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _place(event: Any) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(0, 0)
