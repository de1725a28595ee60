"""A config from its text to settings: read, fill in, check, check together; every problem is found at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.config.composing import Unreadable
from edge.config.filling import Vault, fill
from edge.config.reading import read_text
from edge.config.tree import Document, Key, parse
from edge.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from edge.config.shape import Config
    from edge.settings import Settings

log = logging.getLogger(__name__)

MOST_ROUNDS = 50
MOST_PROBLEMS = 100  # that are told at once; to find out what each of thousands was meant to be takes minutes


@dataclass(frozen=True)
class Loaded:
    """A config that can be used, and what of it is in doubt."""

    settings: Settings
    warnings: tuple[str, ...] = field(default=())


def load(path: Path) -> Loaded:
    """The config in a file. Raises ConfigError."""
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
    """The config that some text means, were it in the file ``path``. Raises ConfigError."""
    folder = path.expanduser().absolute().parent
    document = parse(text, _is_named)
    vault = Vault(folder)
    config: Config | None = None
    if not isinstance(document.data, dict | None):
        document.add((), "settings are wanted, lines of KEY: VALUE")
    else:
        fill(document, vault)
        config = _checked(document, folder)
    if document.problems or config is None:
        found = sorted(set(document.problems), key=lambda each: (each.line, each.column, each.key))
        if len(found) > MOST_PROBLEMS:
            found[MOST_PROBLEMS:] = [ConfigProblem(0, 0, "", "and more mistakes than these; mend these first")]
        raise ConfigError(path, found)
    from edge.config.making import settings_of

    return Loaded(settings_of(config), tuple(vault.warnings))


def _is_named(key: Key) -> bool:
    """What is there once its name is: a camera, a zone."""
    return (len(key) == 2 and key[0] == "cameras") or (len(key) == 4 and (key[0], key[2]) == ("cameras", "zones"))


def _checked(document: Document, folder: Path) -> Config | None:
    """The config, without the settings that are wrong; what is wrong is told to the document."""
    from pydantic import ValidationError

    from edge.config.checks import absent, check_together
    from edge.config.shape import Config
    from edge.config.wording import filled_under, key_of, refused, sentence

    wrong = set(document.hollow)

    def add(key: Key, words: str, *others: Key) -> None:
        """One problem a setting; what follows from a mistake in it or in one of the others is noise."""
        if not any(_touch(each, bad) for each in (key, *others) for bad in wrong):
            document.add(key, words)

    def add_refused(key: Key, words: str, *others: Key) -> None:
        add(document.written(key), refused(document, key, words), *others)

    data = document.data or {}
    config: Config | None = None
    for _ in range(MOST_ROUNDS):
        errors = []
        try:
            config = Config.model_validate(data, context=folder)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        if config is not None or not errors:
            break
        found = {key_of(each, data): each for each in reversed(errors)}  # of two of the same key the first
        first = sorted(found, key=document.order)[: MOST_PROBLEMS + 1]
        for key, each in ((key, found[key]) for key in first):
            missing = each["type"] == "missing"
            add(key if missing else document.written(key), sentence(each, key, document))
            data = _without(data, key[:-1] if missing else key)
        if len(found) > MOST_PROBLEMS:
            return None
        wrong |= set(found)
    if config is not None:
        check_together(config, add_refused)
        for key, path in absent(config):
            # The alarm would show it, and what stands there in place of a path may be a password.
            if any(path not in written for written in filled_under(document, document.written(key))):
                add_refused(key, "it is not there")
    return config


def _touch(one: Key, other: Key) -> bool:
    """Whether one setting is the other, or a part of it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _without(data: Any, key: Key) -> Any:
    """The data without a setting, or without the list that it stands in; None where nothing is left of it."""
    if not isinstance(data, dict) or not key:
        return None
    word, *rest = key
    if word not in data:  # it went with something else
        return data
    inner = _without(data[word], tuple(rest)) if rest else None
    left = {name: value for name, value in data.items() if name != word}
    return left if inner is None else left | {word: inner}
