"""Every sentence the device can say, read from the source: literals and f-strings with what is filled in left open."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
EDGE = ROOT / "edge"
FORMAT = re.compile(r"%[\d.]*[sdfgr]|%%|\{[a-z_]*\}")  # of logging, and of str.format
WORD = re.compile(r"[A-Za-z][A-Za-z'’-]+")
LEAST_WORDS = 4  # fewer are a label, but for what is raised or logged
BREAKS = re.compile(r"[;:,.]\s|\s?[()]|—|\n|^[;:,.]+|[;:,.]+$")  # phrases end here


@dataclass(frozen=True)
class Saying:
    """One literal: where it stands, and its fixed words, broken where something is filled in."""

    path: Path
    line: int
    pieces: tuple[str, ...]

    @property
    def phrases(self) -> list[str]:
        """Its fixed words, phrase by phrase; those of at least three words, else of two."""
        found = [phrase for piece in self.pieces for phrase in phrases(piece)]
        return [each for each in found if count(each) >= 3] or [each for each in found if count(each) >= 2]

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {'…'.join(self.pieces)}"


def count(words: str) -> int:
    """How many words of two letters or more."""
    return len(WORD.findall(words))


def phrases(words: str) -> list[str]:
    """Words between punctuation, white space made one space."""
    return [phrase for each in BREAKS.split(words) if (phrase := " ".join(each.split()).strip("'\" "))]


@cache
def literals(path: Path) -> tuple[Saying, ...]:
    """Every string in a file but docstrings and what is said only when debugging."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped, known = {id(node) for node in _unsaid(tree)}, constants(path)
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            pieces = _pieces(node, known)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            pieces = [node.value]
        else:
            continue
        found.append(Saying(path, node.lineno, tuple(part for each in pieces for part in FORMAT.split(each))))
    return tuple(found)


def sayings(path: Path) -> list[Saying]:
    """Those of a file that read as a sentence; what is raised, logged or a trouble counts from two words on."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    loud = {at for node in ast.walk(tree) if _is_loud(node) for at in _lines(node)}
    found = []
    for each in literals(path):
        words = " ".join(each.pieces)
        least = 2 if each.line in loud else LEAST_WORDS
        if count(words) >= least and " " in words.strip() and each.phrases:
            found.append(each)
    return found


def _pieces(node: ast.JoinedStr, known: dict[str, str]) -> list[str]:
    """The fixed parts, with a break wherever something is filled in that is not always the same."""
    found = [""]
    for value in node.values:
        if isinstance(value, ast.Constant):
            found[-1] += str(value.value)
        elif isinstance(value, ast.FormattedValue) and isinstance(value.value, ast.Name) and value.value.id in known:
            found[-1] += known[value.value.id]
        else:
            found.append("")
    return found


@cache
def constants(path: Path) -> dict[str, str]:
    """What the names in capitals of a file stand for, its own and those it takes from edge, where that is plain."""
    found: dict[str, str] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edge"):
            place = ROOT / (node.module or "").replace(".", "/")
            source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
            wanted = {alias.name for alias in node.names if alias.name.isupper()}
            found |= {name: value for name, value in constants(source).items() if name in wanted} if wanted else {}
        elif isinstance(node, ast.Assign):
            for target, value in _assigned(node):
                text = _text(value, found)
                if target.isupper() and text is not None:
                    found[target] = text
    return found


def _assigned(node: ast.Assign) -> Iterator[tuple[str, ast.expr]]:
    for target in node.targets:
        if isinstance(target, ast.Name):
            yield target.id, node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from ((x.id, y) for x, y in zip(target.elts, node.value.elts, strict=True) if isinstance(x, ast.Name))


def _text(node: ast.expr, known: dict[str, str]) -> str | None:
    """A string, number or path as it would be printed; None for what has to be worked out."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | int):
        return str(node.value)
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Path" and node.args:
        return _text(node.args[0], known)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left, right = _text(node.left, known), _text(node.right, known)
        return None if left is None or right is None else f"{left}/{right}"
    if isinstance(node, ast.JoinedStr):
        pieces = _pieces(node, known)
        return pieces[0] if len(pieces) == 1 else None
    return None


def _unsaid(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value
        elif isinstance(node, ast.JoinedStr):
            yield from (value for value in node.values if isinstance(value, ast.Constant))
            formats = [value.format_spec for value in node.values if isinstance(value, ast.FormattedValue)]
            yield from (inner for each in formats if each for inner in ast.walk(each))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "debug":
            yield from ast.walk(node)


def _is_loud(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return True
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Name):
        return node.func.id == "Trouble" or node.func.id.endswith("Error")
    return isinstance(node.func, ast.Attribute) and node.func.attr in {"warning", "error", "exception"}


def _lines(node: ast.AST) -> range:
    first = int(vars(node)["lineno"])
    return range(first, int(vars(node)["end_lineno"] or first) + 1)


@cache
def said_anywhere() -> str:
    """All the fixed words of the device, a phrase a line."""
    everything = (each for path in EDGE.rglob("*.py") for each in literals(path))
    return "\n".join(dict.fromkeys(phrase for each in everything for piece in each.pieces for phrase in phrases(piece)))


def is_said(phrase: str) -> bool:
    """Whether the device has these words, in one piece or in two that it puts together."""
    if phrase in said_anywhere():
        return True
    words = phrase.split()
    halves = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
    return any(
        min(count(left), count(right)) >= 2 and left in said_anywhere() and right in said_anywhere()
        for left, right in halves
    )


def fixed(sentence: str, filled_in: re.Pattern[str]) -> list[str]:
    """The phrases of a sentence that somebody quotes, without what ``filled_in`` finds."""
    return [phrase for part in filled_in.split(sentence) for phrase in phrases(part) if count(phrase) >= 2]
