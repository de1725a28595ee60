"""YAML as a tree in which every value is text and every key knows its line.

No value is guessed at: ``no``, ``20:30`` and ``0755`` stay what was written, and whoever wants a number makes one.
Aliases and merge keys (``<<``) are taken, within bounds; tags and a second document are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge.config.yaml_words import explain
from edge.errors import ConfigProblem

Key = tuple[str | int, ...]  # cameras, yard, fps; places in a list count from 0

DEEPEST = 20
MOST_VALUES = 20_000  # once all aliases are written out
NULLS = frozenset({"", "~", "null", "Null", "NULL"})
MERGE = "<<"
NO_LETTER = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # all of it can only come from escapes
NO_LETTER_WORDS = (
    r"a \ in double quotes begins an escape, and this one stands for no letter; write \\, or single quotes"
)
CORNER = re.compile(r"[\d. -]+")  # what {mask: 0.1,0.5 0.6,0.5} has in the place of a key


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column from 1."""

    line: int
    column: int


@dataclass
class Document:
    """What a file says: dicts, lists and text, with None for what was left empty."""

    data: Any = None
    places: dict[Key, Place] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    filled: dict[Key, str] = field(default_factory=dict)  # values in which names were filled in, as they were written

    def place(self, key: Key) -> Place:
        """Where a setting stands, or what it belongs to where it is not written."""
        return self.places.get(self.written(key), Place(0, 0))

    def written(self, key: Key) -> Key:
        """The setting as far as it is written: ``sound`` of sound.play where one word stands for all."""
        while key and key not in self.places:
            key = key[:-1]
        return key

    def add(self, key: Key, sentence: str) -> None:
        """Note a problem of one setting."""
        place = self.place(key)
        self.problems.append(ConfigProblem(place.line, place.column, key_text(key), sentence))


def key_text(key: Key) -> str:
    """``cameras.yard.zones``, ``notify[2]`` (from 1), with no secret that stands where a name should."""
    from edge.outbox.scrub import scrub

    words = ""
    for part in key:
        words += f"[{part + 1}]" if isinstance(part, int) else f".{scrub(part)[:60]}"
    return words.removeprefix(".")


@dataclass(slots=True, eq=False)
class Scalar:
    """A value."""

    place: Place
    text: str | None  # None: left empty
    plain: bool  # not in quotes


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


def parse(text: str, named: Callable[[Key], bool] = lambda key: False) -> Document:
    """The tree of some YAML; what is wrong with it is in its ``problems``.

    Empty list items are left out. An empty setting is None where it is ``named``, such as a camera, and else left out.
    """
    document = Document()
    try:
        root = _Composer(text).root()
        if root is not None:
            document.data = _Writer(document, named).write(root, ())
    except Unreadable as error:
        document.data = None
        document.problems.append(error.problem)
    return document


class _Composer:
    """From YAML's events to nodes; no deeper than some levels, so that nothing can exhaust the stack."""

    def __init__(self, text: str) -> None:
        import yaml

        if odd := yaml.reader.Reader.NON_PRINTABLE.search(text):
            place = place_after(text[: odd.start()])
            raise Unreadable(place, f"an unprintable sign (U+{ord(odd[0]):04X}); take it out")
        self._yaml = yaml
        self._text = text
        self._loader = yaml.SafeLoader(text)
        self._anchors: dict[str, Node | None] = {}  # None: not complete yet

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
            better = "write ${NAME}, and NAME in secrets.yml" if tag == "!secret" else "leave it out"
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
        if NO_LETTER.search(text):
            raise Unreadable(place, NO_LETTER_WORDS)
        empty = text == "" or (plain and text in NULLS)
        return Scalar(place, None if empty else text, plain)


class _Writer:
    """From nodes to data, each key with its place."""

    def __init__(self, document: Document, named: Callable[[Key], bool]) -> None:
        self._document = document
        self._named = named
        self._values = 0

    def write(self, node: Node, key: Key) -> Any:
        """The value of a node. Raises Unreadable for aliases that grow without bounds."""
        self._values += 1
        if self._values > MOST_VALUES:
            raise Unreadable(node.place, f"more than {MOST_VALUES} values; no config needs so many")
        self._document.places.setdefault(key, node.place)
        if isinstance(node, Scalar):
            return node.text
        if isinstance(node, Row):
            full = [item for item in node.items if not (isinstance(item, Scalar) and item.text is None)]
            return [self.write(item, (*key, number)) for number, item in enumerate(full)]
        return self._table(node, key)

    def _table(self, table: Table, key: Key) -> dict[str, Any]:
        own: dict[str, tuple[Place, Node]] = {}
        merged: list[Table] = []
        broken: tuple[Place, Key] | None = None
        for name, value in table.pairs:
            if not isinstance(name, Scalar) or name.text is None:
                self._add(name.place, key, "a key is one word, followed by a colon")
            elif name.text == MERGE and name.plain:
                merged += self._tables(value, key)
            elif name.plain and CORNER.fullmatch(name.text) and isinstance(value, Scalar) and value.text is None:
                broken = broken or (name.place, (*key, *list(own)[-1:]))
            elif name.text in own:
                first = own[name.text][0].line
                self._add(name.place, (*key, name.text), f"it is set twice, first in line {first}; keep one")
            else:
                own[name.text] = (name.place, value)
        self._take(merged, own, 0)
        if broken:
            own.pop(str(broken[1][-1]), None)
            self._add(*broken, "text with commas in it must stand in quotes within { }")
        data: dict[str, Any] = {}
        for word, (place, value) in own.items():
            inner = (*key, word)
            self._document.places[inner] = place
            written = self.write(value, inner)
            if written is not None or self._named(inner):
                data[word] = written
        return data

    def _take(self, merged: list[Table], own: dict[str, tuple[Place, Node]], depth: int) -> None:
        """What is merged in, where it is not set: the first one's before the second's."""
        for table in merged:
            self._values += 1
            if depth > DEEPEST or self._values > MOST_VALUES:
                raise Unreadable(table.place, "merge keys (<<) within merge keys, too many of them")
            for name, value in table.pairs:
                if isinstance(name, Scalar) and name.text == MERGE and name.plain:
                    self._take(self._tables(value, ()), own, depth + 1)
                elif isinstance(name, Scalar) and name.text is not None:
                    own.setdefault(name.text, (name.place, value))

    def _tables(self, node: Node, key: Key) -> list[Table]:
        nodes = node.items if isinstance(node, Row) else [node]
        found = [each for each in nodes if isinstance(each, Table)]
        if len(found) < len(nodes):
            self._add(node.place, key, "a merge key (<<) takes an alias (*) of settings")
        return found

    def _add(self, place: Place, key: Key, sentence: str) -> None:
        self._document.problems.append(ConfigProblem(place.line, place.column, key_text(key), sentence))


def place_after(before: str) -> Place:
    """Where what comes after a text stands."""
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


def _place(event: Any) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1) if mark else Place(0, 0)
