"""Change single settings of a config, so that every comment, quote and ``${NAME}`` around them stays as it is.

The text is cut where PyYAML says that a value or its section lies. Each change is read back: one that would change
anything else, such as what an anchor shares with another camera, is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from edge.config.load import load_text
from edge.config.schema import NAME, Pattern, pattern
from edge.config.template import quoted
from edge.config.yaml_tree import NULLS, Key, Unreadable, key_text, parse, read_text
from edge.errors import ConfigError, OptionError
from edge.files import replace_whole

Value = str | list[str] | dict[str, Any]  # a list's items and a table's values are such, too
Changes = Mapping[tuple[str, ...], Value | None]  # by setting: cameras, yard, fps; None takes it out

# Settings that one value alone may stand for: `sound: siren` is sound.play.
SHORT: dict[Pattern, str] = {
    ("cameras", NAME): "source",
    ("sound",): "play",
    ("deterrent",): "play",
    ("command",): "on_alarm",
    ("webhook",): "url",
    ("record",): "enabled",
    ("health", "heartbeat"): "url",
    ("page",): "listen",
}
BEFORE = ".before"  # behind the name of the file as it was

_saving = threading.Lock()


def text_with(text: str, changes: Changes) -> str:
    """Return the text of a config with some settings changed.

    Raises OptionError for a text that is no YAML, and for a change that cannot be made alone.
    """
    for key, value in changes.items():
        text = _changed_text(text, key, value or None)
    return text


def version_of(text: str) -> str:
    """Return what tells one text of a config from another: SHA-256 of its bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def text_of(path: Path) -> str:
    """Return the text of a config as it is on the disk. Raises ConfigError."""
    try:
        return read_text(path)
    except Unreadable as error:
        raise ConfigError(path, [error.problem]) from None


def read_only(path: Path) -> str | None:
    """Return why this process may not change a config; None where it may."""
    target = path.resolve()
    if os.access(target, os.W_OK) and os.access(target.parent, os.W_OK):
        return None
    return f"{path} cannot be changed from here: this user may only read it, or its folder; edit it on the device"


def save(path: Path, changes: Changes | str, version: str) -> bool:
    """Change settings of a config, or give it a whole new text; return False where it had them already.

    The text before stays beside it as ``NAME.before``. ``version``: of the text that the changes were made from.
    Raises OptionError where the file is another one by now or cannot be written, ConfigError for a text that cannot be
    used; the file is then as before.
    """
    with _saving:
        before = text_of(path)
        if version_of(before) != version:
            raise OptionError(
                f"{path.name} was changed by somebody else meanwhile, so nothing was saved; "
                "look at what it says now, then save again"
            )
        after = changes if isinstance(changes, str) else text_with(before, changes)
        if after == before:
            return False
        load_text(after, path)
        target = path.resolve()  # a link stays one
        replace_whole(target.with_name(target.name + BEFORE), before.encode(), like=target)
        replace_whole(target, after.encode(), like=target)
        return True


# One change: texts that may be it are made, and the first that says what is wanted is it.


def _changed_text(text: str, key: tuple[str, ...], value: Value | None) -> str:
    document = parse(text)
    if document.problems or not isinstance(document.data, dict | None):
        raise OptionError("the config has mistakes already; correct them in its text first")
    wanted = _plain(_changed(document.data, key, value))
    if wanted == _plain(document.data):
        return text
    for made in _candidates(text, key, value):
        found = parse(made)
        if not found.problems and _plain(found.data) == wanted:
            return re.sub(r"(?<!\r)\n", "\r\n", made) if "\r\n" in text else made
    raise OptionError(
        f"{key_text(key)}: it cannot be changed alone, for an anchor (&, *, <<) shares it with another setting, or it "
        "is written in an unusual way; change it in the text of the config"
    )


def _changed(data: Any, key: tuple[str, ...], value: Value | None, at: Key = ()) -> Any:
    """Return a section at ``at`` with a setting below it changed; None stands for one that is not there."""
    if not isinstance(data, dict | None):
        short = SHORT.get(pattern(at))
        if value is None and key[0] != short:
            return data
        if short is None:
            raise OptionError(f"{key_text(at)}: it is written as one value; change it in the text of the config")
        data = {short: data}
    name, *rest = key
    inner = _changed((data or {}).get(name), tuple(rest), value, (*at, name)) if rest else value
    return (data or {}) | {name: inner}


def _plain(data: Any) -> Any:
    """Return data without what is empty, which means the same as what is not there."""
    if isinstance(data, dict):
        inner = {name: _plain(value) for name, value in data.items()}
        return {name: value for name, value in inner.items() if value is not None} or None
    if isinstance(data, list):
        return [_plain(each) for each in data] or None
    return data


def _candidates(text: str, key: tuple[str, ...], value: Value | None) -> Iterator[str]:
    """Yield texts in which the setting may be changed, the best first."""
    try:
        table = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return
    owner: yaml.Node | None = None  # the table's own key
    flow = False
    for depth, name in enumerate(key):
        flow = flow or (isinstance(table, yaml.MappingNode) and bool(table.flow_style))
        pairs = table.value if isinstance(table, yaml.MappingNode) else []
        found = next((number for number, (word, _) in enumerate(pairs) if word.value == name), None)
        if found is None:
            if value is not None:
                yield from _inserted(text, table, owner, flow, key, depth, value)
            return
        owner, inner = pairs[found]
        if depth == len(key) - 1:
            if value is None:
                yield _removed(text, pairs, found, flow)
            elif (made := _replaced(text, owner, inner, flow, value)) is not None:
                yield made
            return
        if isinstance(inner, yaml.SequenceNode) or (isinstance(inner, yaml.ScalarNode) and not _empty(inner)):
            short = SHORT[pattern(key[: depth + 1])]
            for made in _expanded(text, owner, inner, flow, short):
                yield from _candidates(made, key, value)
            return
        table = inner


def _expanded(text: str, owner: yaml.Node, inner: yaml.Node, flow: bool, short: str) -> Iterator[str]:
    """Yield texts in which one value that stands for a section is a setting in it."""
    colon, end = _colon(text, owner), _end(text, inner)
    if flow:
        yield _spliced(text, colon, end, f" {{{short}:{text[colon:end]}}}")
        return
    indent = owner.start_mark.column + 2
    if isinstance(inner, yaml.SequenceNode) and not inner.flow_style:
        indent = inner.start_mark.column
    yield _spliced(text, colon, colon, f"\n{' ' * indent}{short}:")
    data = parse(text[inner.start_mark.index : end]).data
    if (made := _replaced(text, owner, inner, flow, {short: data})) is not None:
        yield made


def _inserted(
    text: str,
    table: yaml.Node | None,
    owner: yaml.Node | None,
    flow: bool,
    key: tuple[str, ...],
    depth: int,
    value: Value,
) -> Iterator[str]:
    """Yield texts in which a setting, or the section around it, is added to a table: at its own comment, or last."""
    name = key[depth]
    given = value
    for each in reversed(key[depth + 1 :]):
        value = {each: value}
    full = table.value if isinstance(table, yaml.MappingNode) else []
    if flow:
        pair = f"{quoted(name)}:{_emitted(value, None)}"
        assert table is not None
        if isinstance(table, yaml.MappingNode):
            at = _end(text, full[-1][1]) if full else table.start_mark.index + 1
            yield _spliced(text, at, at, f", {pair}" if full else pair)
        else:
            yield _spliced(text, _colon(text, owner), _end(text, table), f" {{{pair}}}")
        return
    if full:
        assert table is not None
        column, last = table.start_mark.column, max(_end(text, full[-1][1]), full[-1][0].end_mark.index)
    else:
        column = owner.start_mark.column + 2 if owner else 0
        last = _colon(text, owner) if owner else 0
        if table is not None and owner:  # a ~, or nothing
            text = _spliced(text, last, _end(text, table), "")
    line = f"{' ' * column}{quoted(name)}:{_emitted(value, column)}"
    begin = _line_end(text, owner.end_mark.index) if owner else 0
    for start, end in _commented(text, begin, column, name):
        if text[start:end].rstrip().endswith(":") and not isinstance(value, str):  # a section that only has to be named
            yield from _candidates(_spliced(text, start, end, f"{' ' * column}{name}:"), key, given)
        yield _with_line(text, end, line)
    if owner is None:
        yield _with_line(text, len(text), line)
    yield _with_line(text, _line_end(text, last), line)


def _commented(text: str, begin: int, column: int, name: str) -> Iterator[tuple[int, int]]:
    """Yield where a section that begins at ``begin`` has ``#NAME:`` in its own column: start and end of the line."""
    for line in re.finditer(r"([ ]*)([^\r\n]*)", text[begin:]):
        if line[2] and len(line[1]) < column:
            return
        if len(line[1]) == column and line[2].startswith(f"#{name}:"):
            yield begin + line.start(), begin + line.end()


def _replaced(text: str, owner: yaml.Node, inner: yaml.Node, flow: bool, value: Value) -> str | None:
    """Return the text with another value of a key; None where the value is an alias."""
    colon, start, end = _colon(text, owner), inner.start_mark.index, _end(text, inner)
    if start < colon:
        return None
    if isinstance(inner, yaml.ScalarNode) and inner.style not in ("|", ">") and isinstance(value, str) and end > start:
        return _spliced(text, start, end, quoted(value))
    column = owner.start_mark.column
    made = _spliced(text, colon, end, _emitted(value, None if flow else column))
    return _with_comments(text, made, owner, colon, end)


def _removed(text: str, pairs: list[tuple[yaml.Node, yaml.Node]], number: int, flow: bool) -> str:
    """Return the text without one of the pairs of a table."""
    owner, inner = pairs[number]
    end = max(_end(text, inner), owner.end_mark.index)
    start = owner.start_mark.index
    if not flow:
        start, end = _line_start(text, start), min(_line_end(text, end) + 1, len(text))
        if text[end - 1 : end + 1] == "\r\n":
            end += 1
    elif number:
        start = _end(text, pairs[number - 1][1])
    elif len(pairs) > 1:
        end = pairs[1][0].start_mark.index
    return _with_comments(text, _spliced(text, start, end, ""), owner, start, end)


def _emitted(value: Value, column: int | None) -> str:
    """Return a value as it stands behind the colon of a key in ``column``; None: in braces."""
    if isinstance(value, str):
        return f" {quoted(value)}"
    short = isinstance(value, list) and not any(" " in str(each) for each in value)
    if column is None or short:
        if isinstance(value, dict):
            return f" {{{', '.join(quoted(name) + ':' + _emitted(each, None) for name, each in value.items())}}}"
        return f" [{','.join(_emitted(each, None) for each in value).strip()}]"
    indent = f"\n{' ' * (column + 2)}"
    if isinstance(value, dict):
        return "".join(f"{indent}{quoted(name)}:{_emitted(each, column + 2)}" for name, each in value.items())
    return "".join(f"{indent}-{_emitted(each, None)}" for each in value)


def _empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in NULLS


def _colon(text: str, owner: yaml.Node | None) -> int:
    """Return the place behind the colon of a key."""
    assert owner is not None
    return text.find(":", owner.end_mark.index) + 1 or len(text)


def _end(text: str, node: yaml.Node) -> int:
    """Return where a value ends, without the blank lines and comments that PyYAML counts to it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        if isinstance(last, tuple):
            return max(_end(text, last[1]), int(last[0].end_mark.index))
        return _end(text, last)
    return max(len(text[: node.end_mark.index].rstrip()), node.start_mark.index)


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    found = re.compile(r"\r?\n|\Z").search(text, at)
    assert found
    return found.start()


def _spliced(text: str, start: int, end: int, words: str) -> str:
    return text[:start] + words + text[end:]


def _with_line(text: str, at: int, line: str) -> str:
    """Return the text with a line added behind the one that ends at ``at``."""
    if at == len(text) and (not text or text.endswith("\n")):
        return f"{text}{line}\n"
    return _spliced(text, at, at, f"\n{line}")


def _with_comments(text: str, made: str, owner: yaml.Node, start: int, end: int) -> str:
    """Return ``made`` with what ``text`` has of comments between two places, each in a line above the key."""
    at = _line_start(text, owner.start_mark.index)
    indent = " " * (len(text[at:]) - len(text[at:].lstrip(" ")))
    return _spliced(made, at, at, "".join(f"{indent}{each}\n" for each in _comments(text, start, end)))


def _comments(text: str, start: int, end: int) -> list[str]:
    """Return the comments between two places: they stand between the tokens, for a # in a value belongs to one."""
    found, at = [], 0
    for token in yaml.scan(text, Loader=yaml.BaseLoader):
        between = re.finditer(r"#[^\r\n]*", text[at : token.start_mark.index])
        found += [each[0].rstrip() for each in between if start <= at + each.start() < end]
        at = max(at, token.end_mark.index)
    return found
