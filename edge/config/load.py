"""Load a config: read it, fill in ``${NAME}``, check it, and make settings of it. Every problem is found at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.config.check import absent, check_together
from edge.config.schema import Config
from edge.config.secrets import SecretResolver, fill
from edge.config.sentences import filled_under, key_of, refused, sentence
from edge.config.to_settings import settings_of
from edge.config.yaml_tree import Document, Key, Unreadable, parse, read_text
from edge.errors import ConfigError, ConfigProblem
from edge.settings import Settings

MAX_ROUNDS = 50
MAX_PROBLEMS = 100  # shown at once, and looked for: each of them is compared with all the others


@dataclass(frozen=True)
class Loaded:
    """A config that can be used, and warnings about it."""

    settings: Settings
    warnings: tuple[str, ...] = ()


def load(path: Path) -> Loaded:
    """Load the config in a file. Raises ConfigError."""
    try:
        text = read_text(path.expanduser())
    except RuntimeError:
        problem = ConfigProblem(0, 0, "", "no such user's home folder; give the whole path")
    except Unreadable as error:
        problem = error.problem
    else:
        return load_text(text, path)
    raise ConfigError(path, [problem])


def load_text(text: str, path: Path) -> Loaded:
    """Load a text as if it were in the file ``path``. Raises ConfigError."""
    folder = path.expanduser().absolute().parent
    document = parse(text)
    secrets = SecretResolver(folder)
    config: Config | None = None
    if not isinstance(document.data, dict | None):
        document.add((), "settings are wanted, lines of KEY: VALUE")
    else:
        fill(document, secrets)
        config = _checked(document, folder)
    if document.problems or config is None:
        found = sorted(set(document.problems), key=lambda each: (each.line, each.column, each.key))
        if len(found) > MAX_PROBLEMS:
            found[MAX_PROBLEMS:] = [ConfigProblem(0, 0, "", "and more mistakes than these; correct these first")]
        raise ConfigError(path, found)
    return Loaded(settings_of(config), tuple(secrets.warnings))


def _checked(document: Document, folder: Path) -> Config | None:
    """Return the config without the settings that are wrong, whose problems the document notes; None without any."""

    def add(key: Key, words: str, *others: Key) -> None:
        """Note one problem a setting; what follows from a mistake in it or in one of the others is noise."""
        if not any(_touch(each, bad) for each in (key, *others) for bad in document.wrong):
            document.add(key, words)

    def add_refused(key: Key, words: str, *others: Key) -> None:
        if len(document.problems) <= MAX_PROBLEMS:
            add(document.written(key), refused(document, key, words), *others)

    data = document.data or {}
    for _ in range(MAX_ROUNDS):
        if len(document.problems) > MAX_PROBLEMS:
            return None
        try:
            config = Config.model_validate(data, context=folder)
            break
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        found = {key_of(each, data): each for each in reversed(errors)}  # of two of the same key the first
        for key in sorted(found, key=document.place)[: MAX_PROBLEMS + 1]:
            missing = found[key]["type"] == "missing"
            add(key if missing else document.written(key), sentence(found[key], key, document))
            data = _without(data, key[:-1] if missing else key)
        document.wrong |= set(found)
    else:
        return None
    check_together(config, add_refused)
    for key, path in absent(config):
        if len(document.problems) > MAX_PROBLEMS:
            break
        # The alarm would show it, and it may be a password in place of a path.
        if any(path not in written for written in filled_under(document, document.written(key))):
            add_refused(key, "it is not there")
    return config


def _touch(one: Key, other: Key) -> bool:
    """Return whether one setting is the other, or a part of it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _without(data: Any, key: Key) -> Any:
    """Return the data without a setting, or without the list around it; None where nothing is left."""
    if not isinstance(data, dict) or not key:
        return None
    word, *rest = key
    if word not in data:  # it went with something else
        return data
    inner = _without(data[word], tuple(rest)) if rest else None
    left = {name: value for name, value in data.items() if name != word}
    return left if inner is None else left | {word: inner}
