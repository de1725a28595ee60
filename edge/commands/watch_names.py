"""What a SOURCE on the command line is called: ``yard=rtsp://…`` brings its name, any other has its own."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from edge.errors import OptionError

NAME = re.compile(r"\w[\w -]*")


def named(word: str) -> tuple[str | None, str]:
    """``yard=rtsp://…`` as a name and a source; no name where there is none, or where a file is called so."""
    name, sign, source = word.partition("=")
    if not sign or not NAME.fullmatch(name) or Path(word).expanduser().exists():
        return None, word
    return name, source


def names(source: list[str]) -> list[str]:
    """A name for each source, its own where it was given one; the second of the same name is name-2.

    Raises OptionError when two were given the same name.
    """
    from edge.camera import source_name

    given = [name for name, _ in map(named, source) if name]
    for name in given:
        if given.count(name) > 1:
            raise OptionError(f"two sources are called {name}; give each a name of its own")
    found: list[str] = []
    for own, word in map(named, source):
        name = own or source_name(word)
        further = (f"{name}-{number}" for number in itertools.count(2))
        taken = found if own else [*found, *given]
        found.append(name if name not in taken else next(each for each in further if each not in taken))
    return found
