"""What a disk says when it takes nothing: a mistake in the path, or something that may be well again tomorrow."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from edge.gate import Gate, HangingError

MISTAKES = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG, errno.ESPIPE}
MAKE_S = 10.0  # a network share may be slow; one whose server is gone keeps a call for ever


def mistaken(error: OSError) -> bool:
    """Whether the path can never be right: it is a folder, lies in a file, is a pipe, or its name is too long.

    A disk that is full, read-only, broken or not there is none, and neither is one without permission: where a disk
    is not mounted, a folder of root's lies in its place. The alarm starts without such a disk.
    """
    if error.errno == errno.EEXIST and error.filename and not os.path.exists(error.filename):  # noqa: PTH110
        return False  # a link to where a disk is not mounted
    return error.errno is None or error.errno in MISTAKES


def make_folder(folder: Path, within_s: float = MAKE_S) -> None:
    """Make a folder and those above it, waiting at most so many seconds for the disk. Raises OSError."""
    gate = Gate()
    try:
        gate(lambda: folder.mkdir(parents=True, exist_ok=True), within_s)
    except HangingError:
        raise TimeoutError(errno.ETIMEDOUT, f"the disk has not answered for {within_s:g} s", str(folder)) from None
    finally:
        gate.close()
