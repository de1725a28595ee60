"""Locking an event's folder: it is never thrown away, however full the disk is."""

from __future__ import annotations

from pathlib import Path

from edge.errors import OptionError
from edge.evidence.layout import KEEP


def lock(folder: Path) -> None:
    """Keep this event's folder until it is unlocked. Raises OptionError when that cannot be noted there."""
    _folder(folder)
    try:
        (folder / KEEP).touch()
    except OSError as error:
        raise OptionError(f"{folder}: cannot be locked ({error.strerror})") from None


def unlock(folder: Path) -> None:
    """This event's folder may be thrown away when room is needed. Raises OptionError when that cannot be noted."""
    _folder(folder)
    try:
        (folder / KEEP).unlink(missing_ok=True)
    except OSError as error:
        raise OptionError(f"{folder}: cannot be unlocked ({error.strerror})") from None


def locked(folder: Path) -> bool:
    """Whether this event's folder is kept whatever happens; False where there is none."""
    return (folder / KEEP).exists()


def _folder(folder: Path) -> None:
    if not folder.is_dir():
        raise OptionError(f"{folder}: no such folder; its evidence is gone, or was never written")
