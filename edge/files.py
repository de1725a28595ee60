"""Files: write whole or not at all, lock, give to the folder's owner, and find the state folder."""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edge.background import DeadlineError, call_with_deadline
from edge.errors import OptionError

# Writing a file whole or not at all: a power cut leaves the old one or the new one.


def need_folder(file: Path) -> None:
    """Raise OptionError where the folder of a file to be written is missing: its path may be mistyped."""
    with suppress(PermissionError):  # the write itself reports it better
        if not file.parent.is_dir():
            raise OptionError(f"{file}: there is no folder {file.parent}; create it, or correct the path")


def replace_whole(
    path: Path, data: bytes, *, private: bool = False, like: Path | None = None, keep: bool = False
) -> None:
    """Write ``data`` to ``path``, as ``whole_file`` does."""
    with whole_file(path, private=private, like=like, keep=keep) as file:
        file.write(data)


@contextmanager
def whole_file(
    path: Path, *, private: bool = False, like: Path | None = None, keep: bool = False
) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` to write; at the end bring it to the disk, then put it in place in one step.

    If the block raises, nothing is left of it. ``private``: for nobody but the owner of the folder; ``like``: a file
    whose mode and owner it gets; ``keep``: the old one stays beside as ``….old``. Raises OptionError when the place
    cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    mode = 0o600 if private or like else 0o666
    try:
        beside.unlink(missing_ok=True)
        with open(beside, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            if like:
                found = like.stat()
                rights = stat.S_IMODE(found.st_mode)
                if sys.platform != "win32":
                    try:
                        os.chown(file.fileno(), found.st_uid, found.st_gid)
                    except PermissionError:
                        if found.st_uid != os.geteuid():
                            raise
                        rights &= ~stat.S_IRWXG  # this user is not in its group: the file keeps the user's own
                    os.fchmod(file.fileno(), rights)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if private:
            hand_over(beside)
        if keep and path.exists():
            path.replace(path.with_name(f"{path.name}.old"))
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if not isinstance(error, OSError):
            raise
        if error.errno == errno.ENOENT:
            need_folder(path)
        raise OptionError(f"{path}: cannot be written ({error.strerror})") from None


def to_disk(folder: Path) -> None:
    """Make what was made, renamed or removed in a folder outlive a power cut."""
    if sys.platform == "win32":  # where folders cannot be opened
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# Errors of a disk that takes nothing: a mistake in the path, or something that may be well again tomorrow.


MISTAKES = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.ESPIPE}
MAKE_S = 10.0  # a network share may be slow; one whose server is gone keeps a call for ever


def mistaken(error: OSError) -> bool:
    """Return True if the path can never be right: it is a folder, lies in a file, is a pipe, or its name is too long.

    A disk that is full, read-only, broken or not there is none, and neither is one without permission: where a disk
    is not mounted, a folder of root's lies in its place. The alarm starts without such a disk.
    """
    if error.errno == errno.EEXIST and error.filename and not os.path.exists(error.filename):  # noqa: PTH110
        return False  # a link to where a disk is not mounted
    return error.errno is None or error.errno in MISTAKES


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, waiting at most 10 s for the disk. Raises OSError."""
    try:
        call_with_deadline(lambda: folder.mkdir(parents=True, exist_ok=True), MAKE_S, "the disk")
    except DeadlineError:
        raise TimeoutError(errno.ETIMEDOUT, f"the disk has not answered for {MAKE_S:g} s", str(folder)) from None


# A lock on an open file, between processes: the system frees it when its holder ends, however it ends.


if sys.platform == "win32":
    import msvcrt

    _PLACE = 1 << 40  # a byte beyond the end of all these files: what is locked cannot be read on Windows

    def try_lock(file: int, *, shared: bool = False) -> bool:
        """Lock the descriptor's file; return False if another holds it. Raises OSError without locks."""
        os.lseek(file, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

    def unlock(file: int) -> None:
        """Release the lock; closing the file does so as well."""
        os.lseek(file, _PLACE, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def try_lock(file: int, *, shared: bool = False) -> bool:
        """Lock the descriptor's file; return False if another holds it. Raises OSError without locks."""
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(file: int) -> None:
        """Release the lock; closing the file does so as well."""
        fcntl.flock(file, fcntl.LOCK_UN)


# Root may try an alarm that another user runs: what it makes in that user's folder must not lock the user out.


log = logging.getLogger(__name__)


def hand_over(path: Path) -> None:
    """Give a file or folder that root made to the owner of the folder it lies in; for everybody else nothing happens.

    What is not there, a link, and a file with another name elsewhere are left as they are.
    """
    if sys.platform == "win32" or os.geteuid() != 0:
        return
    try:
        made, folder = path.lstat(), path.parent.stat()
        plain = stat.S_ISDIR(made.st_mode) or (stat.S_ISREG(made.st_mode) and made.st_nlink == 1)
        if plain and made.st_uid == 0 and folder.st_uid != 0:
            os.chown(path, folder.st_uid, folder.st_gid, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:  # a drive without owners
        log.debug("%s: stays root's (%s)", path, error.strerror)


def make_own_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it, and give each to the owner of the one it lies in. Raises OSError."""
    missing = [each for each in (*reversed(folder.parents), folder) if not each.exists()]
    folder.mkdir(mode, parents=True, exist_ok=True)
    for each in missing:
        hand_over(each)


ENVIRONMENT = "BEAR_ALARM_STATE"
JOURNAL = "journal.db"  # in the state folder
BAD_DISK = frozenset({errno.EROFS, errno.ENOSPC, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)})
SERVICE = Path("/var/lib/bear-alarm")  # a systemd service's, which the person at the keyboard is not


def state_folder(given: Path | None = None) -> Path:
    """Return the state folder, there or not: ``given``, else the environment's, else this user's own.

    In this order: $BEAR_ALARM_STATE, $STATE_DIRECTORY (systemd's; the first of several), $XDG_STATE_HOME, then the
    system's place for such things in the user's home. Raises OptionError where there is no home either.
    """
    if given is not None:
        return _absolute(given)
    own = os.environ.get(ENVIRONMENT, "")
    if own:
        return _absolute(Path(own))
    service = os.environ.get("STATE_DIRECTORY", "").partition(":" if os.name == "posix" else os.pathsep)[0]
    if service:
        return _absolute(Path(service))
    return _of_user() / "bear-alarm"


def made_state_folder(given: Path | None = None) -> Path:
    """Return the state folder, made where it is missing. Raises OptionError for one that can never be.

    A disk that is full, read-only or broken is no mistake of anybody's: the journal waits for better times.
    """
    folder = state_folder(given)
    try:
        make_own_folder(folder)
    except OSError as error:
        if error.errno not in BAD_DISK:
            raise OptionError(
                f"{folder}: no journal can be kept there ({error.strerror}); name another --state"
            ) from None
    return folder


def cache_folder() -> Path | None:
    """Return the folder for what can be made again, there or not: a service's lies in its state; None without a home.

    Else $XDG_CACHE_HOME, then the system's place for such things in the user's home.
    """
    service = os.environ.get("STATE_DIRECTORY", "").partition(":" if os.name == "posix" else os.pathsep)[0]
    if service:
        return Path(service) / "cache"
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():
        return xdg / "bear-alarm"
    try:
        home = Path.home()
    except RuntimeError:  # a service user may have no home
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "bear-alarm" / "cache"
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "bear-alarm"


def ours_alone(path: Path) -> bool:
    """Return True for a file or folder that this user owns and nobody else may write to; a link is none."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return False
    return sys.platform == "win32" or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)


def _of_user() -> Path:
    """Return the folder for the state of this user's programs."""
    # By the XDG specification, relative paths are ignored.
    xdg = Path(os.environ.get("XDG_STATE_HOME", ""))
    if xdg.is_absolute():
        return xdg
    local = os.environ.get("LOCALAPPDATA", "")
    if sys.platform == "win32" and local:
        return Path(local)
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute():  # a service user may have no home
        raise OptionError(f"this user has no home folder to keep the journal in; set ${ENVIRONMENT} to a folder")
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    return home / ".local" / "state"


def _absolute(path: Path) -> Path:
    """Return the path with the home folder in place of ``~``, whatever the working folder becomes.

    Raises OptionError.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise OptionError(f"{path}: no such user's home folder; give the whole path") from None
