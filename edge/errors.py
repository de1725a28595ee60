"""Errors of the user, each with one sentence for the person at the keyboard.

Every message has what is wrong, the value seen, and what to do. The command prints it and
exits with code 2; users see no traceback for their own mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class BearAlarmError(Exception):
    """Base of every error that is the user's to mend."""


class SourceError(BearAlarmError, OSError):
    """A camera, clip, stream or folder cannot be read."""


class PictureError(BearAlarmError, ValueError):
    """A still picture is missing, truncated or not a picture."""


class ModelError(BearAlarmError, ValueError):
    """A model file is missing, damaged, or not one this version can use."""


class SignatureError(BearAlarmError, ValueError):
    """A key or signature cannot be used, or is not trusted; nothing was changed."""


class CatalogError(BearAlarmError, ValueError):
    """A folder or manifest of pictures cannot be used as it is."""


class OptionError(BearAlarmError, ValueError):
    """A command's option has a value that makes no sense."""


class UnavailableError(BearAlarmError, RuntimeError):
    """Something does not work now and may work later: no player, no pins, a disk that is not mounted."""


class MissingExtraError(BearAlarmError, ImportError):
    """A command needs an optional part that is not installed."""


NOT_HERE = (UnavailableError, ImportError)  # a sink that raises one of these is tried again, and stops nothing


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One mistake in a config: where, of which setting, and what, in words that hold no secret."""

    line: int  # from 1; 0: of the file as a whole
    column: int
    key: str  # cameras.yard.fps; empty where it is of no setting
    sentence: str


class ConfigError(BearAlarmError, ValueError):
    """A config cannot be used; its words are all that is wrong with it, a line each."""

    def __init__(self, path: Path | str, problems: Sequence[ConfigProblem]) -> None:
        self.path = Path(path)
        self.problems = tuple(problems)
        super().__init__("\n".join(self.lines))

    @property
    def lines(self) -> list[str]:
        """Return each problem as ``bear-alarm.yml:12: cameras.yard.fps: what is wrong``."""
        found = []
        for each in self.problems:
            where = f"{self.path}:{each.line}" if each.line else str(self.path)
            found.append(": ".join(part for part in (where, each.key, each.sentence) if part))
        return found


def one_line(words: str) -> str:
    """Return words on one line, without what could steer a terminal."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in words).split())
