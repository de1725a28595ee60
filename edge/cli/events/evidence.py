"""Write events and their evidence into a zip to hand on."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.output import check_new_file
from edge.errors import OptionError
from edge.record.event_folders import check_readable, evidence_of

if TYPE_CHECKING:
    from edge.record.history import PastEvent

COMPRESSED = frozenset({".jpg", ".jpeg", ".png", ".mp4"})  # compressing them again gains nothing


def write_zip(incidents: Sequence[PastEvent], state: Path, out: Path, words: str, *, force: bool) -> tuple[int, int]:
    """Write a zip of events and evidence, whole or not at all; return how many files it has and how many are gone.

    ``words`` becomes its README.txt. Raises OptionError, also where ``out`` is there and ``force`` is not.
    """
    check_new_file(out, "events.zip", option="--out", force=force)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            counts = _write(file, incidents, state, words)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(out)
    except OSError as error:
        raise OptionError(f"--out {out}: cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return counts


def _write(file: Any, incidents: Sequence[PastEvent], state: Path, words: str) -> tuple[int, int]:
    count = gone = 0
    # A clock that was never set stamps files with 1970, which a zip cannot hold.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as made:
        made.writestr("events.jsonl", "".join(f"{row.line}\n" for each in incidents for row in each.events))
        for each in incidents:
            for path, name in _files_of(each, state):
                try:
                    _add(made, path, name)
                    count += 1
                except FileNotFoundError:  # deleted meanwhile
                    gone += 1
        left = f"\n{gone} files of evidence were deleted while this was written.\n" if gone else ""
        made.writestr("README.txt", words + left)
    return count, gone


def _files_of(incident: PastEvent, state: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file of its evidence with its name in the zip."""
    camera = "".join(each if each.isalnum() or each in "-_." else "_" for each in incident.first.event.camera)
    folder = f"evidence/{incident.first.at:%Y-%m-%d-%H%M%S}-{camera}-{incident.id[:8]}"
    found = evidence_of(incident, state)
    check_readable(found)
    there = [each for each in found if each.there]
    for number, each in enumerate(there, 1):
        own = folder if len(there) == 1 else f"{folder}/{number}"
        yield from ((path, f"{own}/{path.name}") for path in each.files())


def _add(made: zipfile.ZipFile, path: Path, name: str) -> None:
    try:
        source = path.open("rb")
    except PermissionError as error:
        raise OptionError(f"{path}: this evidence cannot be looked at ({error.strerror})") from None
    with source:
        info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
        info.compress_type = zipfile.ZIP_STORED if path.suffix.lower() in COMPRESSED else zipfile.ZIP_DEFLATED
        with made.open(info, "w") as target:
            shutil.copyfileobj(source, target)
