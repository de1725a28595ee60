"""Evidence of an event: its folders, whether they are there, the lock that keeps them, and the zip to hand on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.output import check_new_file
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.record.history import PastEvent

COMPRESSED = frozenset({".jpg", ".jpeg", ".png", ".mp4"})  # compressing them again gains nothing


@dataclass(frozen=True)
class EvidenceFolder:
    """One folder of evidence."""

    folder: Path
    there: bool  # False: deleted to make room, or never written
    locked: bool  # never deleted to make room
    closed: str | None = None  # why it cannot be looked at

    def files(self) -> list[Path]:
        """Return the files in it, without the mark that locks it."""
        if not self.there:
            return []
        found = (path for path in self.folder.iterdir() if path.name != "keep" and not path.name.startswith("."))
        return sorted(path for path in found if path.is_file() and not path.is_symlink())

    def path(self) -> list[Any]:
        """Return where the animal was (event.json): seconds from the alarm, box_xywh, bear probability; or empty."""
        try:
            return list(json.loads((self.folder / "event.json").read_text(encoding="utf-8")).get("path") or [])
        except (OSError, ValueError):
            return []


def evidence_of(incident: PastEvent, state: Path) -> list[EvidenceFolder]:
    """Return the folders of an event's evidence, in order, those that are gone too."""
    named = dict.fromkeys(row.event.evidence for row in incident.events if row.event.evidence)
    found: dict[Path, EvidenceFolder] = {}
    for path in named:
        folder = state / Path(path).parent
        try:
            folder = _found(Path(path), state).parent
            found.setdefault(folder, _folder_at(folder))
        except OSError as error:
            found.setdefault(folder, EvidenceFolder(folder, False, False, error.strerror or type(error).__name__))
    return list(found.values())


def _folder_at(folder: Path) -> EvidenceFolder:
    """Return what this user sees of a folder. Raises OSError where it may not be read."""
    from edge.record.media_store import locked

    if not folder.is_dir():
        return EvidenceFolder(folder, False, False)
    next(folder.iterdir(), None)
    return EvidenceFolder(folder, True, locked(folder))


def _found(path: Path, state: Path) -> Path:
    """Return where a file of evidence is now, also on a card that is read in another machine."""
    named = state / path  # as it is where it is absolute
    ends = [path.parts[at:] for at, part in enumerate(path.parts) if part == "evidence"]
    moved = [state.joinpath(*parts) for parts in ends]
    return next((each for each in (named, path.absolute(), *moved) if each.exists()), named)


def folders_there(incident: PastEvent, state: Path, purpose: str) -> list[Path]:
    """Return the folders of its evidence that are there. Raises OptionError for none, and for one it cannot read."""
    found = evidence_of(incident, state)
    check_readable(found)
    there = [each.folder for each in found if each.there]
    if not there:
        raise OptionError(f"{incident.id[:8]}: has no evidence (any more), so there is nothing to {purpose}")
    return there


def check_readable(found: Sequence[EvidenceFolder]) -> None:
    """Check that this user can read each of them. Raises OptionError."""
    for each in found:
        if each.closed:
            raise OptionError(f"{each.folder}: this evidence cannot be looked at ({each.closed})")


def set_lock(incident: PastEvent, state: Path, *, locked: bool) -> None:
    """Lock its evidence, so that it is never deleted to make room, or unlock it. Raises OptionError."""
    from edge.record.media_store import lock, unlock

    for folder in folders_there(incident, state, "keep"):
        (lock if locked else unlock)(folder)


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
