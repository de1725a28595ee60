"""The evidence of what happened: where it lies, whether it is still there, and how it is handed out as one file."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.record.history import Happening

log = logging.getLogger(__name__)

PACKED = frozenset({".jpg", ".jpeg", ".png", ".mp4"})  # squeezing them again gains nothing
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Kept:
    """One folder of evidence."""

    folder: Path
    there: bool  # False: cleared away to make room, or never written
    locked: bool  # never cleared away
    closed: str | None = None  # why it cannot be looked at

    def files(self) -> list[Path]:
        """What lies in it, the mark that locks it left out."""
        if not self.there:
            return []
        found = (path for path in self.folder.iterdir() if path.name != "keep" and not path.name.startswith("."))
        return sorted(path for path in found if path.is_file() and not path.is_symlink())

    def path(self) -> list[Any]:
        """Where the animal was, as event.json says it: seconds from the alarm, box_xywh, bear probability; or empty."""
        try:
            found = json.loads((self.folder / "event.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        path = found.get("path") if isinstance(found, dict) else None
        return [step for step in path if isinstance(step, list) and len(step) >= 5] if isinstance(path, list) else []


def evidence(happening: Happening, state: Path) -> list[Kept]:
    """The folders in which its evidence lies or lay, in order; none where none was to be kept, as of a test."""
    happened = [told.event for told in happening.told if told.event.kind != "test"]
    named = dict.fromkeys(event.evidence for event in happened if event.evidence)
    kept: dict[Path, Kept] = {}
    for path in named:
        folder = state / Path(path).parent
        try:
            folder = _found(Path(path), state).parent
            kept.setdefault(folder, _looked_at(folder))
        except OSError as error:
            kept.setdefault(folder, Kept(folder, False, False, error.strerror or type(error).__name__))
    return list(kept.values())


def _looked_at(folder: Path) -> Kept:
    """What this user sees of it. Raises OSError where that is nothing."""
    from edge.record.evidence_store import locked

    if not folder.is_dir():
        return Kept(folder, False, False)
    next(folder.iterdir(), None)
    return Kept(folder, True, locked(folder))


def _found(path: Path, state: Path) -> Path:
    """Where a file of evidence lies now, also of a card that is read in another machine."""
    named = state / path  # as it is where it is absolute
    ends = [path.parts[at:] for at, part in enumerate(path.parts) if part == "evidence"]
    moved = [state.joinpath(*parts) for parts in ends]
    return next((each for each in (named, path.absolute(), *moved) if each.exists()), named)


def keep(happening: Happening, state: Path, *, wanted: bool) -> int:
    """Lock its evidence, or let it go again; how many folders that were. Raises OptionError."""
    from edge.record.evidence_store import lock, unlock

    found = evidence(happening, state)
    _refuse_closed(found)
    there = [kept.folder for kept in found if kept.there]
    if not there:
        raise OptionError(f"{happening.id[:8]}: has no evidence (any more), so there is nothing to keep")
    for folder in there:
        (lock if wanted else unlock)(folder)
    return len(there)


def _refuse_closed(found: Sequence[Kept]) -> None:
    """Raises OptionError where one of them cannot be looked at."""
    for kept in found:
        if kept.closed:
            raise OptionError(f"{kept.folder}: this evidence cannot be looked at ({kept.closed})")


def pack(happenings: Sequence[Happening], state: Path, out: Path, words: str, *, force: bool) -> tuple[int, int]:
    """A zip of their events and evidence, whole or not at all: how many files of evidence it has, how many were gone.

    ``words`` becomes its README.txt. Raises OptionError, also where ``out`` is there and ``force`` is not.
    """
    if out.is_dir():
        raise OptionError(f"--out {out}: is a folder; name the file in it, like {out / 'events.zip'}")
    if out.exists() and not force:
        raise OptionError(f"--out {out}: is there already; name another file, or replace it with --force")
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            counts = _write(file, happenings, state, words)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(out)
    except OSError as error:
        raise OptionError(f"--out {out}: cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return counts


def _write(file: Any, happenings: Sequence[Happening], state: Path, words: str) -> tuple[int, int]:
    kept = gone = 0
    # A clock that was never set stamps files with 1970, which a zip cannot say.
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as made:
        made.writestr("events.jsonl", "".join(f"{told.line}\n" for each in happenings for told in each.told))
        for each in happenings:
            for path, name in _named(each, state):
                try:
                    _add(made, path, name)
                    kept += 1
                except FileNotFoundError:  # cleared away meanwhile
                    gone += 1
        left = f"\n{gone} files of evidence were cleared away while this was written.\n" if gone else ""
        made.writestr("README.txt", words + left)
    return kept, gone


def _named(happening: Happening, state: Path) -> Iterator[tuple[Path, str]]:
    """Each file of its evidence with its name in the zip."""
    camera = "".join(each if each.isalnum() or each in "-_." else "_" for each in happening.first.event.camera)
    folder = f"evidence/{happening.first.at:%Y-%m-%d-%H%M%S}-{camera}-{happening.id[:8]}"
    found = evidence(happening, state)
    _refuse_closed(found)
    several = [each for each in found if each.there]
    for number, kept in enumerate(several, 1):
        own = folder if len(several) == 1 else f"{folder}/{number}"
        yield from ((path, f"{own}/{path.name}") for path in kept.files())


def _add(made: zipfile.ZipFile, path: Path, name: str) -> None:
    """One file; nothing of it is begun in the zip where it is gone. Raises OptionError where it cannot be read."""
    try:
        source = path.open("rb")
        info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from None
    info.compress_type = zipfile.ZIP_STORED if path.suffix.lower() in PACKED else zipfile.ZIP_DEFLATED
    with source, made.open(info, "w") as target:
        while block := _block(source, path):
            target.write(block)


def _block(source: BinaryIO, path: Path) -> bytes:
    try:
        return source.read(BLOCK_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> OptionError:
    return OptionError(f"{path}: this evidence cannot be read ({error.strerror or error})")
