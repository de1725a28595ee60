"""YAML as a tree in which every value is text and every key knows its line.

No value is guessed at: ``no``, ``20:30`` and ``0755`` stay what was written, and whoever wants a number makes one.
Aliases and merge keys (``<<``) are taken, within bounds.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigProblem

if TYPE_CHECKING:
    import yaml


# Signs that are not what they look like: what phones, web pages and escapes put into a text.


LONGEST = 4096  # characters of a key or value; some checks take its square in time
NO_LETTER = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # all of it can only come from escapes
NO_LETTER_WORDS = (
    r"a \ in double quotes begins an escape, and this one stands for no letter; write \\, or single quotes"
)
# Spaces that YAML takes for letters, and what is not seen at all.
INVISIBLE = re.compile("[\u00a0\u00ad\u1680\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\ufeff]")
TYPOGRAPHIC = "\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a\u2033\u2032"


def doubtful(text: str) -> str | None:
    """What is wrong with a key or value, so much that it is not looked at further; None: nothing."""
    if len(text) > LONGEST:
        return f"more than {LONGEST} letters; no setting is so long"
    return NO_LETTER_WORDS if NO_LETTER.search(text) else None


def plain_doubt(text: str) -> str | None:
    """What is wrong with signs that do not stand in quotes; None: nothing."""
    if doubt := invisible(text):
        return doubt
    if text.startswith(tuple(TYPOGRAPHIC)):
        return f"{text[0]} is no quote but a letter of the text; type ' or \" in its place"
    return None


def invisible(text: str) -> str | None:
    """A sentence about the first sign that only looks like a space, or like nothing; None: there is none."""
    found = INVISIBLE.search(text)
    if not found:
        return None
    return (
        f"an invisible sign (U+{ord(found[0]):04X}) that only looks like a space, or like nothing; delete it and type "
        "a space, or put the text in quotes where it is meant"
    )


# What is wrong with a text that is no YAML, in words for people who never heard of YAML.


QUOTES = "put text that holds ': ' or begins with one of @ ` % * & ! in quotes"
FLOW_QUOTES = "put text that holds one of , ? [ ] { } in quotes"
NO_COLON = "this is no 'key: value': a colon is missing, or the space behind it"

Found = tuple[int, int, str]  # line and column, from 1, and a sentence


def explain(error: yaml.YAMLError, text: str) -> Found:
    """Where it is wrong, and a sentence that quotes nothing of the text."""
    from yaml import MarkedYAMLError

    mark = (error.problem_mark or error.context_mark) if isinstance(error, MarkedYAMLError) else None
    if not isinstance(error, MarkedYAMLError) or mark is None:
        return 0, 0, "this is no YAML"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    problem, context = error.problem or "", error.context or ""
    begun = error.context_mark or mark
    if "\t" in _indent(line) or "'\\t'" in problem:
        return mark.line + 1, (line.find("\t") + 1) or 1, "a tab; YAML wants spaces"
    if "mapping values are not allowed" in problem:
        return _stray_colon(lines, mark.line, mark.column)
    if "could not find expected ':'" in problem:
        return begun.line + 1, begun.column + 1, _no_colon(lines[begun.line])
    if "quoted scalar" in context and "end of stream" in problem:
        return begun.line + 1, begun.column + 1, "a quote begins here that never ends"
    if "flow" in context and error.context_mark is not None:
        words = f"a [ or {{ begins here that is not closed as it should be; {FLOW_QUOTES}"
        return begun.line + 1, begun.column + 1, words
    if "found '<scalar>'" in problem and line[: mark.column].strip():
        return mark.line + 1, mark.column + 1, "text goes on behind a quote that is closed; put all of it in quotes"
    return mark.line + 1, mark.column + 1, _words(problem, context)


def _stray_colon(lines: list[str], at: int, column: int) -> Found:
    """A colon where none can stand. Where it is that of a key, what is wrong is mostly the line above."""
    if not re.fullmatch(r"\s*[\w.-]+", lines[at][:column]):
        return at + 1, column + 1, f"a colon where none can stand: mind the indentation, and {QUOTES}"
    # Text goes on over lines, so the one above was taken for the beginning of this.
    above = next((number for number in range(at - 1, -1, -1) if lines[number].strip()), at)
    if ": " in lines[above] or above == at:
        return at + 1, len(_indent(lines[at])) + 1, "this is indented further than the line above, which has a value"
    return above + 1, len(_indent(lines[above])) + 1, _no_colon(lines[above])


def _no_colon(line: str) -> str:
    """What to say of a line that should be a key and its value."""
    if doubt := invisible(line):
        return doubt
    return "a space is missing behind the -" if re.match(r"\s*-[^\s-]", line) else NO_COLON


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _words(problem: str, context: str) -> str:
    if "cannot start any token" in problem:
        return f"a sign with which no value can begin; {QUOTES}"
    if "duplicate anchor" in problem:
        return "two anchors (&) have the same name"
    if "escape" in problem or "escape" in context:
        return r"a \ in double quotes begins an escape; write \\, or use single quotes"
    if "block scalar" in context:
        return "text that begins with | or > must stand in quotes"
    if "block" in context:
        return "the indentation does not fit the lines above; what belongs together begins in the same column"
    if "document start" in problem:
        return "this does not belong to what stands above; mind the indentation"
    return f"this is no YAML here; {QUOTES}"


# YAML's text as nodes, each with its place; no deeper and no larger than any config, so that nothing exhausts us.
#
# No value is guessed at: all are text. Aliases are taken; tags and a second document are not.


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


# A config's text, from the disk: what is no text, or far too much of it, is said in a sentence.


LARGEST = 1_000_000  # bytes
NOWHERE = Place(0, 0)
BOM = "\ufeff"
WIDE = (b"\xff\xfe", b"\xfe\xff")  # how UTF-16 begins


def read_text(path: Path) -> str:
    """The text of a file. Raises Unreadable, in one sentence."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            if str(path) == os.devnull:
                return ""
            raise Unreadable(NOWHERE, "a folder, not a file" if path.is_dir() else "no ordinary file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise Unreadable(NOWHERE, "no such file") from None
    except (OSError, ValueError) as error:  # a zero byte in the path
        why = (error.strerror if isinstance(error, OSError) else None) or "no path"
        raise Unreadable(NOWHERE, f"it cannot be read ({why})") from None
    return decoded(data)


def decoded(data: bytes) -> str:
    """UTF-8 bytes as text. Raises Unreadable."""
    if len(data) > LARGEST:
        raise Unreadable(NOWHERE, f"larger than {LARGEST // 1_000_000} MB; this is no config")
    if data.startswith(WIDE):
        raise Unreadable(NOWHERE, "it is in UTF-16; save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = place_after(data[: error.start].decode(errors="replace"))
        byte = data[error.start]
        raise Unreadable(place, f"byte 0x{byte:02x} is no UTF-8 text; save the file as UTF-8") from None
    return text.removeprefix(BOM)


Key = tuple[str | int, ...]  # cameras, yard, fps; places in a list count from 0
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
