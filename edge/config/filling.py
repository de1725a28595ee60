"""``${NAME}`` in a value: from the environment, the credentials of systemd, or ``secrets.yml`` beside the config."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge.config.composing import Unreadable
from edge.config.reading import read_text
from edge.config.tree import Document, Key, key_text, parse
from edge.errors import ConfigProblem

SECRETS = "secrets.yml"
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd's LoadCredential= and SetCredential=
LARGEST = 65_536  # bytes of a credential
OTHERS = 0o007  # of a file's mode: what everybody may do with it

_SIGN = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


class Vault:
    """Where names are looked up: the environment first, then systemd's credentials, then the file beside the config.

    An empty value counts as none, so that nobody goes untold for a variable that was forgotten.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.path = folder / SECRETS
        self.warnings: list[str] = []
        self._environment = os.environ if environment is None else environment
        self._file: dict[str, str] | None = None  # None: not read yet
        self._fault = ""  # of the file

    def __repr__(self) -> str:
        return f"Vault({self.path})"

    def __getitem__(self, name: str) -> str:
        """What a name stands for. Raises KeyError, with a sentence, where it is nowhere."""
        found = self._environment.get(name) or self._credential(name) or self._secrets().get(name)
        if not found:
            raise KeyError(f"${{{name}}} stands for nothing: {self._looked()}")
        return found

    def _looked(self) -> str:
        credentials = f", no credential in ${CREDENTIALS}" if self._environment.get(CREDENTIALS) else ""
        if self._fault:
            return f"no environment variable{credentials}, and {self._fault}"
        there = "not in" if self.path.exists() else "there is no"
        return f"no environment variable{credentials}, and {there} {self.path}"

    def _credential(self, name: str) -> str | None:
        folder = self._environment.get(CREDENTIALS)
        if not folder:
            return None
        try:
            with (Path(folder) / name).open("rb") as file:
                data = file.read(LARGEST)
            return data.decode().removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError):  # none of that name, or no text
            return None

    def _secrets(self) -> dict[str, str]:
        if self._file is None:
            self._file = {}
            try:
                if self.path.exists():
                    self._file = self._read()
            except OSError as error:
                self._fault = f"{self.path} cannot be read ({error.strerror})"
            except Unreadable as error:
                self._blame(error.problem)
        return self._file

    def _read(self) -> dict[str, str]:
        document = parse(read_text(self.path))
        if os.name == "posix" and self.path.stat().st_mode & OTHERS:
            self.warnings.append(f"{self.path} may be read by everybody on this device; run: chmod 600 {self.path}")
        for problem in document.problems:
            self._blame(problem)
        if document.data is not None and not isinstance(document.data, dict):
            self._fault = f"{self.path} does not hold lines of NAME: value"
            return {}
        wrong = {problem.key for problem in document.problems}  # set twice, or in quotes that are none
        found = (document.data or {}).items()
        return {name: value for name, value in found if isinstance(value, str) and key_text((name,)) not in wrong}

    def _blame(self, problem: ConfigProblem) -> None:
        where = f"{self.path}:{problem.line}" if problem.line else str(self.path)
        self._fault = f"{where}: {problem.sentence}"


def fill(document: Document, vault: Vault) -> None:
    """Fill in the names in all values; those of which one stands for nothing are hollow, and left as they are."""

    def walk(value: Any, key: Key) -> Any:
        if isinstance(value, dict):
            return {name: walk(inner, (*key, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner, (*key, number)) for number, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        filled, wrong = _filled(value, vault)
        for sentence in wrong:
            document.add(key, sentence)
        if wrong:
            document.hollow.add(key)
            return value
        if filled != value.replace("$${", "${"):
            document.filled[key] = value
        return filled

    document.data = walk(document.data, ())


def _filled(text: str, vault: Vault) -> tuple[str, list[str]]:
    """The text with its names filled in, and what is wrong with them."""
    wrong: list[str] = []

    def one(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            wrong.append("${ has no } behind it; write ${NAME}, or $${ where it is meant as it is")
        elif not _NAME.fullmatch(name):
            wrong.append("${…} holds no name (letters, digits, _); write $${ where it is meant as it is")
        else:
            try:
                return vault[name]
            except KeyError as error:
                wrong.append(f"{error.args[0]} (for the text itself write $${{{name}}})")
        return ""

    return _SIGN.sub(one, text), wrong
