"""Words and paths as unit files of systemd want them: blanks, quotes, %, $ and backslashes mean what they are."""

from __future__ import annotations

from collections.abc import Sequence

from edge.service import ServiceError

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=:,@")

REFUSED = frozenset("\"'\\")  # in the path of a program


def word(text: str) -> str:
    """One word of a setting that takes words. Raises ServiceError for line breaks and other control characters."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ServiceError(f"{text!r}: a service cannot name what has control characters in it; rename it")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if text and set(text) <= PLAIN else f'"{escaped}"'


def command(words: Sequence[str]) -> str:
    """A command line for ExecStart=. The first word is an absolute path; $ is special in the others alone.

    Raises ServiceError for a program systemd would not start.
    """
    first, *more = words
    if set(first) & REFUSED:
        raise ServiceError(f"{first}: systemd starts nothing whose path has a quote or a backslash in it; rename it")
    return " ".join([word(first), *(word(each).replace("$", "$$") for each in more)])
