"""Opening the journal: checked, and where it is damaged set aside, with what can still be read in a new one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from edge.files import hand_over
from edge.journal import layout
from edge.journal.locks import alone
from edge.journal.salvage import salvage
from edge.journal.store import DiskError, Store, faults
from edge.outbox import Route
from edge.schema import utc_text

log = logging.getLogger(__name__)

NAME = "journal.db"
ENDS = ("-wal", "-journal", "-shm", "")  # the files of one database
MOST_SET_ASIDE = 3  # a failing card must not fill itself with damaged journals


def open_store(folder: Path, routes: Sequence[Route], now: datetime, suspect: str | None = None) -> Store:
    """The journal in ``folder``, made where there is none. ``suspect``: what is known to be wrong with it.

    A damaged one, or what is none, is moved to ``folder/quarantine``, and that is said. Raises DiskError: of the kind
    "newer" when a newer version made it, which is left as it is.
    """
    path = folder / NAME
    with faults(path):
        for each in reversed([folder, *folder.parents]):
            if not each.exists():
                each.mkdir(exist_ok=True)
                hand_over(each)
                _to_disk(each.parent)
        with alone(folder):
            _finish(folder, now)
            wrong = suspect or _wrong(path)
            if wrong:
                _replace(folder, wrong, routes, now)
            db = layout.connect(path)
            try:
                layout.prepare(db)
                for end in ENDS:
                    hand_over(path.with_name(NAME + end))
                return Store(db, path)
            except BaseException:
                db.close()
                raise


def _wrong(path: Path) -> str | None:
    """Why the journal cannot be gone on with; None: it can, or there is none yet. Raises DiskError or sqlite3.Error."""
    if not path.exists():
        return None
    try:
        with faults(path):
            db = layout.connect(path)
            try:
                if layout.version(db) > layout.VERSION:
                    raise DiskError(
                        f"{path}: a newer version of Bear Alarm made it (tables {layout.version(db)}, this one knows"
                        f" {layout.VERSION}); update this one, or keep its journal in another folder", "newer",
                    )  # fmt: skip
                return layout.fault(db)
            finally:
                db.close()
    except DiskError as error:
        if error.fault != "damaged":
            raise
        return str(error.__cause__)


def _replace(folder: Path, wrong: str, routes: Sequence[Route], now: datetime) -> None:
    """Make a new journal of what can be read of the old one, then put it in its place."""
    part, ready = folder / f"{NAME}.part", folder / f"{NAME}.saved"
    part.unlink(missing_ok=True)
    saved = salvage(folder / NAME, part, routes, utc_text(now))
    part.rename(ready)
    _to_disk(folder)
    aside = _finish(folder, now)
    log.warning("%s was damaged (%s) and is kept in %s; %s", folder / NAME, wrong, aside, saved)


def _finish(folder: Path, now: datetime) -> Path | None:
    """Put a new journal that is ready in place of the old one, also where a power cut came between; where that lies.

    The old log is gone on the disk before the new file comes: it would be played into it.
    """
    ready, place = folder / f"{NAME}.saved", folder / NAME
    if not ready.exists():
        return None
    quarantine = folder / "quarantine"
    quarantine.mkdir(exist_ok=True)
    hand_over(quarantine)
    aside = quarantine / f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z.db"
    for end in ENDS:
        with suppress(FileNotFoundError):
            place.with_name(NAME + end).replace(aside.with_name(aside.name + end))
    _to_disk(quarantine)
    _to_disk(folder)
    ready.rename(place)
    _to_disk(folder)
    others = sorted(other for other in quarantine.glob("*.db") if other != aside)  # its name may go by a wrong clock
    for old in others[: max(0, len(others) + 1 - MOST_SET_ASIDE)]:
        for end in ENDS:
            old.with_name(old.name + end).unlink(missing_ok=True)
    return aside


def _to_disk(folder: Path) -> None:
    """What was made, renamed or removed in a folder outlives a power cut from here on."""
    if sys.platform == "win32":  # where folders cannot be opened
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def check_whole(folder: Path) -> str | None:
    """What a check of every page and index finds, beside whoever writes; None: all is well, or it cannot be asked."""
    path = folder / NAME
    try:
        with faults(path):
            db = layout.connect(path, "ro")
            try:
                return layout.checked(db, "integrity_check")
            finally:
                db.close()
    except DiskError as error:
        if error.fault == "damaged":
            return str(error.__cause__)
        log.warning("the journal cannot be checked: %s", error)
        return None
