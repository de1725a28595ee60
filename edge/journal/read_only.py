"""A journal file opened for reading only: beside a writer, after a power cut, on a disk that takes no writing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from edge.errors import BearAlarmError
from edge.journal.layout import APPLICATION_ID, VERSION
from edge.journal.locks import Alive

if TYPE_CHECKING:
    import sqlite3

PATIENCE_S = 5.0  # while the writer holds the file for itself
FULL_BYTES = 256 << 10  # a disk with less room is full: a new journal takes some 50 kB


class JournalReadError(BearAlarmError, OSError):
    """A journal cannot be read."""


class NoJournalError(JournalReadError):
    """There is no journal here, or nothing was ever written into it."""


class UnwrittenError(JournalReadError):
    """An alarm runs here, or the disk is full, and nothing could be written into the journal yet."""


class ReadOnly:
    """The journal at ``path`` as it is at this moment; use it in a ``with``.

    Raises NoJournalError where there is none, UnwrittenError where that is no wonder, JournalReadError where it may not
    be read, is damaged, of a newer version or something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        _look(path)
        self._db = self._open()
        try:
            self.version = self._check()
            self.rows("BEGIN")  # all that is asked from now on is of one moment
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        if self._copy:
            self._copy.cleanup()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """The answer to one query. Raises JournalReadError."""
        import sqlite3

        try:
            return self._db.execute(query, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise self._cannot(error) from None

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        try:
            return _connect(self.path, "mode=ro")
        except sqlite3.Error as error:
            # SQLite keeps files beside a journal that it shares with the writer, and cannot make them on such a disk.
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise self._cannot(error) from None
        wal = _beside(self.path)
        try:
            if not wal.exists() or not wal.stat().st_size:
                return _connect(self.path, "mode=ro&immutable=1")
            # The newest events lie in the second file, which an immutable journal is read without.
            self._copy = tempfile.TemporaryDirectory(prefix="bear-alarm-")
            copy = Path(self._copy.name) / self.path.name
            shutil.copyfile(self.path, copy)
            shutil.copyfile(wal, _beside(copy))
            return _connect(copy, "mode=rw")
        except (sqlite3.Error, OSError) as error:
            if self._copy:
                self._copy.cleanup()
            raise self._cannot(error) from None

    def _check(self) -> int:
        """The version of its tables, which is one that can be read."""
        version, mark = (int(self.rows(f"PRAGMA {name}")[0][0]) for name in ("user_version", "application_id"))
        if not version and not mark and not self.rows("SELECT 1 FROM sqlite_schema LIMIT 1"):
            _excuse(self.path)
            raise NoJournalError(f"{self.path}: the journal is empty, nothing was ever written into it")
        if mark != APPLICATION_ID:
            raise JournalReadError(f"{self.path}: is a database of another program, no journal of bear-alarm")
        if version > VERSION:
            raise JournalReadError(
                f"{self.path}: the journal is of version {version}, and this bear-alarm reads up to {VERSION}; use the "
                "bear-alarm that wrote it, or a newer one"
            )
        return version

    def _cannot(self, error: Exception) -> JournalReadError:
        """One sentence on what the database or the disk says."""
        import sqlite3

        # Python's own complaints (text that is no UTF-8) carry no code: what was read is damaged.
        code = None if isinstance(error, OSError) else getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            why = "is held by another program; try again in a moment"
        elif code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            why = f"is damaged or no journal ({error}); a running alarm puts it aside and begins a new one"
        elif code == sqlite3.SQLITE_NOMEM:
            why = "cannot be read, for memory is short"
        else:
            why = f"cannot be read ({error.strerror if isinstance(error, OSError) else error})"
        return JournalReadError(f"{self.path}: {why}")


def _look(path: Path) -> None:
    """What the file system says of it, which SQLite would put less clearly."""
    try:
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        _excuse(path)
        raise NoJournalError(f"{path}: no such journal") from None
    except IsADirectoryError:
        raise JournalReadError(f"{path}: is a folder, not a journal") from None
    except PermissionError:
        raise JournalReadError(f"{path}: this user may not read it{_owner(path)}") from None
    except OSError as error:
        raise JournalReadError(f"{path}: cannot be read ({error.strerror})") from None


def _excuse(path: Path) -> None:
    """Why nothing was written, where that can be seen from outside. Raises UnwrittenError."""
    try:
        full = shutil.disk_usage(path.parent).free < FULL_BYTES
    except OSError:  # no such folder
        return
    running = bool(Alive(path.parent, "").others())
    if not running and not (full and path.exists()):
        return
    why = "its disk is full: free some space" if full else "see what `bear-alarm watch` says there of its disk"
    if running:
        words = f"an alarm runs here and could not write anything down yet; {why}; its events are only in its memory"
    else:
        words = f"the journal is empty, and {why}; what an alarm tells here meanwhile is only in its memory"
    raise UnwrittenError(f"{path}: {words}")


def _owner(path: Path) -> str:
    """Whose it is, where it is another user's, and how to ask as that user."""
    for place in (path, *path.parents):
        try:
            owner, number = place.owner(), place.stat().st_uid
        except (OSError, KeyError, NotImplementedError):  # not seen from here, no name, Windows
            continue
        if os.name == "posix" and number != os.geteuid():
            return f"; ask as {owner}, whose it is: sudo -u {owner} bear-alarm events --state {path.parent}"
        break
    return ""


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """The file opened in this mode, and read from once."""
    import sqlite3

    db = sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True, timeout=PATIENCE_S, isolation_level=None)
    try:
        db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except BaseException:
        db.close()
        raise
    return db


def _beside(path: Path) -> Path:
    """The file of what was written last."""
    return path.with_name(f"{path.name}-wal")
