"""Root may try an alarm that another user runs: what it makes in that user's folder must not lock the user out."""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path

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
