"""Paths in a config: they count from its folder, and what can never be there is a ValueError or OSError."""

from __future__ import annotations

from pathlib import Path


def placed(word: str, folder: Path) -> Path:
    """The path that a word means, from the config's folder; ``~`` is the home."""
    try:
        return folder / Path(word).expanduser()
    except RuntimeError:
        raise ValueError(f"{word!r}: no such user's home folder; give the whole path") from None


def folder_at(word: str, folder: Path) -> Path:
    """A folder that is there, or may be made."""
    path = placed(word, folder)
    if path.exists() and not path.is_dir():
        raise ValueError(f"{word!r} is a file; name a folder")
    _check_above(path, word)
    return path


def file_at(word: str, folder: Path) -> Path:
    """A file that is there, or may be made. A pipe would hold up whoever opens it."""
    path = placed(word, folder)
    if path.is_dir():
        raise ValueError(f"{word!r} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise ValueError(f"{word!r} is no ordinary file; name one")
    _check_above(path, word)
    return path


def _check_above(path: Path, word: str) -> None:
    there = next((each for each in path.parents if each.exists()), None)
    if there and not there.is_dir():
        raise ValueError(f"{word!r} cannot be, for {there.name!r} is a file and no folder")
