"""Fill in ``${NAME}`` from the environment, systemd's credentials or ``secrets.yml`` beside the config."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from edge.config import SECRETS
from edge.config.yaml_tree import Document, Key, Unreadable, key_text, parse, read_text
from edge.errors import ConfigProblem
from edge.minisign import SECRET_LINE

CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd's LoadCredential= and SetCredential=
OTHERS_MODE = 0o007  # the part of a file's mode that is about everybody else
_PLACEHOLDER = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def fill(document: Document, secrets: SecretResolver) -> None:
    """Fill in the names in all values. A value with a name that has no value is wrong, and unchanged.

    A private key that signs models is wrong in any value.
    """

    def walk(value: Any, key: Key) -> Any:
        if isinstance(value, dict):
            return {name: walk(inner, (*key, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*key, number)) for number, inner in enumerate(value)]
        if not isinstance(value, str):
            return value
        filled, sentences = _filled(value, secrets) if "${" in value else (value, [])
        if SECRET_LINE.search(filled):
            sentences.append("a private key that signs models must not lie on a device; take it away here")
        for words in sentences:
            document.add(key, words)
        if sentences:
            document.wrong.add(key)
            return value
        if filled != value.replace("$${", "${"):
            document.filled[key] = value
        return filled

    document.data = walk(document.data, ())


def _filled(text: str, secrets: SecretResolver) -> tuple[str, list[str]]:
    """Return the text with its names filled in, and what is wrong with them."""
    wrong: list[str] = []

    def one(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            wrong.append("${ has no } behind it; write ${NAME}, or $${ for the text ${ itself")
        elif not _NAME.fullmatch(name):
            wrong.append("${…} holds no name (letters, digits, _); write $${ for the text ${ itself")
        else:
            try:
                return secrets[name]
            except KeyError as error:
                wrong.append(f"{error.args[0]} (for the text itself write $${{{name}}})")
        return ""

    return _PLACEHOLDER.sub(one, text), wrong


class SecretResolver:
    """Look names up in the environment, then in systemd's credentials, then in ``secrets.yml`` beside the config.

    An empty value counts as none: a forgotten variable must not silence an alert.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SECRETS
        self.warnings: list[str] = []
        self._fault = ""  # of the file

    def __getitem__(self, name: str) -> str:
        """Return the value of a name. Raises KeyError, with a sentence, where it has none."""
        found = os.environ.get(name) or self._credential(name) or self._file.get(name)
        if found:
            return found
        places = "no environment variable"
        if os.environ.get(CREDENTIALS):
            places += f", no credential in ${CREDENTIALS}"
        there = "not in" if self.path.exists() else "there is no"
        raise KeyError(f"${{{name}}} has no value: {places}, and {self._fault or f'{there} {self.path}'}")

    def _credential(self, name: str) -> str | None:
        folder = os.environ.get(CREDENTIALS)
        if not folder:
            return None
        try:
            return (Path(folder) / name).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, ValueError):  # none of that name, or no text
            return None

    @cached_property
    def _file(self) -> dict[str, str]:
        """Return the usable lines of the file; what is wrong with the others is remembered."""
        try:
            if not self.path.exists():
                return {}
            document = parse(read_text(self.path))
            if os.name == "posix" and self.path.stat().st_mode & OTHERS_MODE:
                self.warnings.append(f"{self.path} may be read by everybody on this device; run: chmod 600 {self.path}")
        except OSError as error:
            self._fault = f"{self.path} cannot be read ({error.strerror})"
            return {}
        except Unreadable as error:
            self._blame(error.problem)
            return {}
        for problem in document.problems:
            self._blame(problem)
        data = {} if document.data is None else document.data
        if not isinstance(data, dict):
            self._fault = f"{self.path} does not hold lines of NAME: value"
            return {}
        wrong = {problem.key for problem in document.problems}  # set twice, or in quotes that are none
        usable = {name: value for name, value in data.items() if key_text((name,)) not in wrong}
        return {name: value for name, value in usable.items() if isinstance(value, str)}

    def _blame(self, problem: ConfigProblem) -> None:
        where = f"{self.path}:{problem.line}" if problem.line else str(self.path)
        self._fault = f"{where}: {problem.sentence}"
