"""Writing a file whole or not at all: a power cut leaves the old one or the new one."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from edge.errors import OptionError


def need_folder(file: Path) -> None:
    """Raise OptionError where the folder of a file to be written is missing: its path may be mistyped."""
    with suppress(PermissionError):  # the writing itself says it better
        if not file.parent.is_dir():
            raise OptionError(f"{file}: there is no folder {file.parent}; create it, or correct the path")


def replace_whole(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path``, bring it to the disk, then put it in place in one step.

    Raises OptionError when the place cannot be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno == errno.ENOENT:
            need_folder(path)
        raise OptionError(f"{path}: cannot be written ({error.strerror})") from None
