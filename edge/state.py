"""Where the alarm keeps what must outlive it: the journal and its evidence."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from edge.errors import OptionError
from edge.ownership import hand_over

ENVIRONMENT = "BEAR_ALARM_STATE"
JOURNAL = "journal.db"  # in the state folder
BAD_DISK = frozenset({errno.EROFS, errno.ENOSPC, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)})
SERVICE = Path("/var/lib/bear-alarm")  # a systemd service's, which the person at the keyboard is not


def state_folder(given: Path | None = None) -> Path:
    """The state folder, whether it is there or not: ``given``, else what the environment says, else this user's own.

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
    """The state folder, made where it is missing. Raises OptionError for one that can never be.

    A disk that is full, read-only or broken is no mistake of anybody's: the journal waits for better times.
    """
    folder = state_folder(given)
    try:
        missing = [each for each in (*reversed(folder.parents), folder) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in missing:
            hand_over(each)
    except OSError as error:
        if error.errno not in BAD_DISK:
            raise OptionError(
                f"{folder}: no journal can be kept there ({error.strerror}); name another --state"
            ) from None
    return folder


def _of_user() -> Path:
    """The folder for the state of this user's programs."""
    # The XDG specification says to ignore relative paths.
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
    """The path with the home folder in place of ``~``, whatever the working folder becomes. Raises OptionError."""
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise OptionError(f"{path}: no such user's home folder; give the whole path") from None
