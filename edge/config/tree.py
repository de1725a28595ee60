"""YAML as a tree in which every value is text and every key knows its line.

No value is guessed at: ``no``, ``20:30`` and ``0755`` stay what was written, and whoever wants a number makes one.
Aliases and merge keys (``<<``) are taken, within bounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge.config.composing import MOST_VALUES, TOO_MANY, Composer, Node, Place, Row, Scalar, Table, Unreadable
from edge.errors import ConfigProblem

Key = tuple[str | int, ...]  # cameras, yard, fps; places in a list count from 0

DEEPEST = 20  # merge keys within merge keys
MERGE = "<<"
CORNER = re.compile(r"[\d. -]+")  # what {mask: 0.1,0.5 0.6,0.5} has in the place of a key


@dataclass
class Document:
    """What a file says: dicts, lists and text, with None for what was left empty."""

    data: Any = None
    places: dict[Key, Place] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    filled: dict[Key, str] = field(default_factory=dict)  # values in which names were filled in, as they were written
    hollow: set[Key] = field(default_factory=set)  # values of which it is said already that they are none

    def place(self, key: Key) -> Place:
        """Where a setting stands, or what it belongs to where it is not written."""
        return self.places.get(self.written(key), Place(0, 0))

    def order(self, key: Key) -> tuple[int, int]:
        """Line and column of a setting."""
        place = self.place(key)
        return place.line, place.column

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
    from edge.alert.redact import scrub

    words = ""
    for part in key:
        words += f"[{part + 1}]" if isinstance(part, int) else f".{scrub(part)[:60]}"
    return words.removeprefix(".")


def parse(text: str, named: Callable[[Key], bool] = lambda key: False) -> Document:
    """The tree of some YAML; what is wrong with it is in its ``problems``.

    Empty list items are left out. An empty setting is None where it is ``named``, such as a camera, and else left out.
    """
    document = Document()
    try:
        root = Composer(text).root()
        if root is not None:
            document.data = _Writer(document, named).write(root, ())
    except Unreadable as error:
        document.data = None
        document.problems.append(error.problem)
    return document


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
            raise Unreadable(node.place, TOO_MANY)
        self._document.places.setdefault(key, node.place)
        if isinstance(node, Scalar):
            if node.doubt and key not in self._document.hollow:
                self._document.hollow.add(key)
                self._add(node.place, key, node.doubt)
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
            elif name.doubt:
                self._add(name.place, (*key, name.text), name.doubt)
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
            self._add(*broken, "within { } text with commas in it must stand in quotes, and a number takes a point")
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
