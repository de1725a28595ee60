"""Errors of other libraries, whose messages may have many lines, in the words of one sentence."""

from __future__ import annotations


def first_line(error: BaseException, most: int = 120) -> str:
    """Return the first line of an error's message, at most ``most`` characters; its type's name if it has none."""
    return (str(error).splitlines() or [""])[0][:most] or type(error).__name__
