"""Read YAML as plain dicts, lists and text, and know the line of every key.

No value is guessed: ``no``, ``20:30`` and ``0755`` stay the text that was written, and pydantic makes switches and
numbers of it. Aliases and merge keys (``<<``) work within bounds, so that a config from a stranger exhausts nothing.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.reader import ReaderError

from edge.alert.redact import scrub
from edge.errors import ConfigProblem

MAX_BYTES = 1_000_000  # of a file
MAX_DEPTH = 20
MAX_VALUES = 5_000  # with all aliases written out; a hundred cameras with everything set need fewer
MAX_TEXT = 4096  # characters of a key or value; some checks take the square of it in time

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
MERGE = "<<"
NO_LETTER = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]")  # only an escape can put it into a text
# Quotes and spaces of phones and web pages, which YAML takes for letters.
LOOKALIKE = re.compile(
    "^[\u201c-\u201f\u2018-\u201b\u00ab\u00bb\u2039\u203a\u2032\u2033]"
    "|[\u00a0\u00ad\u1680\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\ufeff]"
)

NO_COLON = "this is no 'key: value': a colon is missing, or a plain space behind the colon or the -"
QUOTES = "put text that holds ': ' or begins with one of @ ` % * & ! | > in quotes"
ESCAPE = r"a \ in double quotes begins an escape, and this is none; write \\, or use single quotes"
RETYPE = "type ', \" or a space in its place, or put the text in quotes where it is meant"
TOO_DEEP = f"more than {MAX_DEPTH} levels deep; no setting is"
TOO_MANY = f"more than {MAX_VALUES} values with all aliases and merge keys (<<) written out; no config needs so many"
# Words of PyYAML; whether to show where the part began; and the sentence. The first that fits counts.
EXPLAINED = (
    ("'\\t'", False, "a tab; YAML wants spaces"),
    ("another document", False, "a second document begins here (---); a config is one"),
    ("expected ':'", True, NO_COLON),
    ("escape", False, ESCAPE),
    ("quoted scalar", True, "a quote begins here that never ends"),
    ("flow", True, "a [ or { begins here that is not closed; put text that holds one of , ? [ ] { } in quotes"),
    ("block", False, "this does not fit the lines above: check the indentation, and put the whole of a text in quotes"),
)

Key = tuple[str | int, ...]  # cameras, yard, fps; places in a list count from 0


class Place(NamedTuple):
    """Line and column of something, from 1; 0 for the whole file."""

    line: int = 0
    column: int = 0


class Unreadable(Exception):  # noqa: N818 -- it never leaves edge.config
    """The text cannot be read on from here."""

    def __init__(self, place: Place, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = ConfigProblem(place.line, place.column, "", sentence)


@dataclass
class Document:
    """Parsed text as dicts, lists and text, with None for an empty setting."""

    data: Any = None
    places: dict[Key, Place] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)
    filled: dict[Key, str] = field(default_factory=dict)  # values with ${NAME} in them, as they were written
    wrong: set[Key] = field(default_factory=set)  # values that cannot be used, which already have a problem

    def place(self, key: Key) -> Place:
        """Return the place of a setting, or of the section around it where it is not written."""
        return self.places.get(self.written(key), Place())

    def written(self, key: Key) -> Key:
        """Return the setting as far as it is written: ``sound`` of sound.play where one word is all of it."""
        while key and key not in self.places:
            key = key[:-1]
        return key

    def add(self, key: Key, sentence: str, place: Place | None = None) -> None:
        """Note a problem of one setting, at its own place unless another is given."""
        line, column = place or self.place(key)
        self.problems.append(ConfigProblem(line, column, key_text(key), sentence))


def key_text(key: Key) -> str:
    """Return ``cameras.yard.zones`` or ``notify[2]`` (from 1), without a secret that was written in place of a name."""
    words = ""
    for part in key:
        words += f"[{part + 1}]" if isinstance(part, int) else f".{scrub(part)[:60]}"
    return words.removeprefix(".")


def read_text(path: Path) -> str:
    """Return the text of a config file. Raises Unreadable, in one sentence."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            if str(path) == os.devnull:
                return ""
            raise Unreadable(
                Place(),
                "a folder, not a file; name the file in it" if path.is_dir() else "no ordinary file; name a text file",
            )
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise Unreadable(Place(), "no such file; check the path, or write one with `bear-alarm config init`") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        why = (error.strerror if isinstance(error, OSError) else None) or "no path"
        raise Unreadable(Place(), f"it cannot be read ({why})") from None
    if len(data) > MAX_BYTES:
        raise Unreadable(Place(), f"larger than {MAX_BYTES // 1_000_000} MB; name a config")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        place = _place_after(data[: error.start].decode(errors="replace"))
        byte = data[error.start]
        raise Unreadable(place, f"byte 0x{byte:02x} is no UTF-8 text; save the file as UTF-8") from None


def parse(text: str) -> Document:
    """Return the data of a text in YAML; its mistakes are the document's ``problems``. Empty list items are dropped."""
    walk = _Walk()
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is not None:
            walk.document.data = walk.value(root, ())
    except Unreadable as error:
        walk.document.problems.append(error.problem)
    except yaml.YAMLError as error:
        walk.document.problems.append(_explained(error, text).problem)
    except (ValueError, OverflowError):  # "\UFFFFFFFF"
        place = _place(loader.get_mark()) if loader else Place()
        walk.document.problems.append(Unreadable(place, ESCAPE).problem)
    return walk.document


class _Loader(yaml.BaseLoader):
    """Nodes of text alone, which stop at what no config needs before it fills the stack or the memory."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._anchors_above: list[str | None] = []  # of the nodes around this one
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._nodes += 1
        if sentence := self._refusal(event):
            raise Unreadable(_place(event.start_mark), sentence)
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)  # a later anchor may have the name of an earlier one
        self._anchors_above.append(event.anchor)
        node = super().compose_node(parent, index)
        self._anchors_above.pop()
        return node

    def _refusal(self, event: Any) -> str:
        if len(self._anchors_above) > MAX_DEPTH:
            return TOO_DEEP
        if self._nodes > 2 * MAX_VALUES:  # keys are nodes too
            return TOO_MANY
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self._anchors_above:
                return "this alias (*) names something that contains the alias"
            return "" if event.anchor in self.anchors else QUOTES
        if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
            better = "write ${NAME}, and NAME in secrets.yml" if event.tag == "!secret" else "put text in quotes"
            return f"words that begin with ! ask for a kind of value, which is not done here; {better}"
        if not isinstance(event, yaml.ScalarEvent):
            return ""
        if event.anchor is not None and not event.value:  # a password that begins with &
            return QUOTES
        if len(event.value) > MAX_TEXT:
            return f"more than {MAX_TEXT} letters; no setting is so long"
        return ESCAPE if NO_LETTER.search(event.value) else ""


class _Walk:
    """From nodes to data, with the place of each key."""

    def __init__(self) -> None:
        self.document = Document()
        self._values = 0

    def value(self, node: yaml.Node, key: Key) -> Any:
        """Return the value of a node. Raises Unreadable for aliases that grow without bounds."""
        self._count(node, 1, len(key))
        self.document.places.setdefault(key, _place(node.start_mark))
        if isinstance(node, yaml.SequenceNode):
            full = [item for item in node.value if not _is_empty(item)]
            return [self.value(item, (*key, number)) for number, item in enumerate(full)]
        if isinstance(node, yaml.MappingNode):
            return self._table(node, key)
        if (doubt := _lookalike(node)) and key not in self.document.wrong:
            self.document.wrong.add(key)
            self.document.add(key, doubt)
        return None if _is_empty(node) else node.value

    def _table(self, table: yaml.MappingNode, key: Key) -> dict[str, Any]:
        add = self.document.add
        own: dict[str, tuple[Place, yaml.Node]] = {}
        merged: list[yaml.Node] = []
        for name, value in table.value:
            place = _place(name.start_mark)
            if not isinstance(name, yaml.ScalarNode) or _is_empty(name):
                add(key, "a key is one word, followed by a colon", place)
            elif _is_merge(name):
                merged.append(value)
            elif doubt := _lookalike(name):
                add((*key, name.value), doubt, place)
            elif name.value in own:
                first = own[name.value][0].line
                add((*key, name.value), f"it is set twice, first in line {first}; keep one", place)
            else:
                own[name.value] = place, value
        self._merge(merged, own, key)
        for word, (place, _) in own.items():
            self.document.places[*key, word] = place
        return {word: self.value(value, (*key, word)) for word, (_, value) in own.items()}

    def _merge(self, nodes: list[yaml.Node], own: dict[str, tuple[Place, yaml.Node]], key: Key, depth: int = 0) -> None:
        """Take what merge keys give and is not set yet: the first one's before the second's."""
        for node in nodes:
            self._count(node, 1 + len(node.value), depth)
            if isinstance(node, yaml.SequenceNode):
                self._merge(node.value, own, key, depth + 1)
            elif isinstance(node, yaml.MappingNode):
                for name, value in node.value:
                    if isinstance(name, yaml.ScalarNode) and not _is_merge(name) and not _is_empty(name):
                        own.setdefault(name.value, (_place(name.start_mark), value))
                self._merge([value for name, value in node.value if _is_merge(name)], own, key, depth + 1)
            else:
                self.document.add(key, "a merge key (<<) takes an alias (*) of settings", _place(node.start_mark))

    def _count(self, node: yaml.Node, values: int, depth: int) -> None:
        self._values += values
        if depth > MAX_DEPTH or self._values > MAX_VALUES:
            raise Unreadable(_place(node.start_mark), TOO_DEEP if depth > MAX_DEPTH else TOO_MANY)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and (not node.value or (node.style is None and node.value in NULLS))


def _is_merge(name: yaml.Node) -> bool:
    return isinstance(name, yaml.ScalarNode) and name.value == MERGE and name.style is None


def _lookalike(node: yaml.Node) -> str:
    """Return a sentence about a letter in plain text that only looks like a quote or a space; "" without one."""
    found = LOOKALIKE.search(node.value) if isinstance(node, yaml.ScalarNode) and node.style is None else None
    if not found:
        return ""
    return f"U+{ord(found[0]):04X} only looks like a quote or a space; {RETYPE}"


def _explained(error: yaml.YAMLError, text: str) -> Unreadable:
    """Return what is wrong with a text that is not YAML, in a sentence that quotes nothing of it."""
    if isinstance(error, ReaderError):
        place = _place_after(text[: error.position])
        return Unreadable(place, f"an unprintable sign (U+{ord(text[error.position]):04X}); take it out")
    mark = getattr(error, "problem_mark", None)
    begun = getattr(error, "context_mark", None) or mark
    words = f"{getattr(error, 'context', '')} {getattr(error, 'problem', '')}"
    lines = text.splitlines()
    if mark and mark.line < len(lines) and re.match(r" *\t", lines[mark.line]):
        return Unreadable(_place(mark), "a tab; YAML wants spaces")
    if "mapping values" in words:
        return _stray_colon(lines, _place(mark))
    for part, at_begin, sentence in EXPLAINED:
        if part in words:
            return Unreadable(_place(begun if at_begin else mark), sentence)
    return Unreadable(_place(mark), f"this is not YAML; {QUOTES}")


def _stray_colon(lines: list[str], place: Place) -> Unreadable:
    """Explain a colon where none is allowed: behind a key, mostly the line above misses its own."""
    above = next((number for number in range(place.line - 2, -1, -1) if lines[number].strip()), None)
    is_key = re.fullmatch(r"\s*[\w.-]+", lines[place.line - 1][: place.column - 1])
    if is_key and above is not None and ": " not in lines[above]:
        return Unreadable(Place(above + 1, 1), NO_COLON)
    return Unreadable(place, f"a colon where none is allowed: check the indentation, and {QUOTES}")


def _place(mark: yaml.Mark | None) -> Place:
    return Place(mark.line + 1, mark.column + 1) if mark else Place()


def _place_after(before: str) -> Place:
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
