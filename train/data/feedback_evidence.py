"""Read the evidence that `watch` has kept: folders, copied cards and archives, which are never unpacked."""

from __future__ import annotations

import json
import math
import os
import re
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from edge.errors import OptionError, PictureError
from edge.record.clip import note_in
from edge.record.media_store import SAMPLE
from edge.record.misses import PLACE
from edge.record.review import REVIEW, Review, parse_review, review_path
from edge.schema import BoxXYWH, Event

EVENT = "event.json"
MAX_BYTES = 500_000_000  # of one file: a clip has 16 MB of frames at most
Read = Callable[[str], bytes]
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, OSError, EOFError, RuntimeError)  # of an archive


@dataclass(frozen=True)
class Unit:
    """The evidence of one event, or one random negative."""

    kind: Literal["event", "negative"]
    name: str  # for messages: the event's folder, or the negative's file
    files: frozenset[str]  # names of its files
    _read: Read

    def read(self, name: str) -> bytes:
        """Return the content of one of its files. Raises PictureError if it cannot be read."""
        return self._read(name)


@dataclass(frozen=True)
class Evidence:
    """All units of evidence in a place, and a sentence about each folder that cannot be read."""

    units: tuple[Unit, ...]
    unreadable: tuple[str, ...] = ()
    misses: int = 0  # bears without an alarm that people reported; no picture is kept of them


@contextmanager
def open_evidence(path: Path) -> Iterator[Evidence]:
    """Yield the evidence under a folder, or in a zip or tar. Raises OptionError if there is none."""
    if path.is_dir():
        files, unreadable = _walk(path)
        yield _evidence(path, files, lambda name: _file(path / name), unreadable)
    elif not path.exists():
        raise OptionError(f"{path}: no such folder or archive; give the folder that `watch --evidence` wrote into")
    else:
        with _archive(path) as (files, read):
            yield _evidence(path, files, read)


@contextmanager
def _archive(path: Path) -> Iterator[tuple[list[str], Read]]:
    """Open a zip or tar: its files, and a function that reads one of them."""
    with ExitStack() as stack:
        get: Read
        try:
            if zipfile.is_zipfile(path):
                zipped = stack.enter_context(zipfile.ZipFile(path))
                sizes = {each.filename: each.file_size for each in zipped.infolist() if not each.is_dir()}
                get = zipped.read
            elif tarfile.is_tarfile(path):
                tape = stack.enter_context(tarfile.open(path))
                members = {each.name: each for each in tape if each.isfile()}
                sizes = {name: each.size for name, each in members.items()}
                get = lambda name: tape.extractfile(members[name]).read()  # type: ignore[union-attr]  # noqa: E731
            else:
                raise OptionError(
                    f"{path}: neither a folder nor a zip or tar; give what `events export` or `watch` wrote"
                )
        except DAMAGED as error:
            raise OptionError(f"{path}: a damaged archive ({error}); copy it again") from None

        def read(name: str) -> bytes:
            if sizes[name] > MAX_BYTES:
                raise PictureError(f"{path}/{name}: {sizes[name]} bytes are too many")
            try:
                data = get(name)
            except DAMAGED as error:
                raise PictureError(f"{path}/{name}: cannot be read ({error})") from None
            if len(data) < sizes[name]:
                raise PictureError(f"{path}/{name}: cut short")
            return data

        yield list(sizes), read


def _evidence(path: Path, files: Iterable[str], read: Read, unreadable: Iterable[str] = ()) -> Evidence:
    folders: dict[str, set[str]] = defaultdict(set)
    misses = 0
    for file in files:
        folder, _, name = file.rpartition("/")
        folders[folder].add(name)
        misses += PLACE.fullmatch(file) is not None
    units = [unit for folder in sorted(folders) for unit in _units(folder, folders[folder], read)]
    if not units:
        raise OptionError(
            f"{path}: no evidence in it (neither an {EVENT} nor random negatives); give the folder that "
            "`watch --evidence` wrote into, a copied card, or a zip of `events export`"
        )
    return Evidence(tuple(units), tuple(unreadable), misses)


def _units(folder: str, names: set[str], read: Read) -> Iterator[Unit]:
    def reader(name: str) -> bytes:
        return read(f"{folder}/{name}" if folder else name)

    if EVENT in names:
        yield Unit("event", folder or ".", frozenset(names), reader)
        return
    for name in sorted(names):
        if SAMPLE.fullmatch(name):
            own = {name, review_path(Path(name)).name} & names
            yield Unit("negative", f"{folder}/{name}" if folder else name, frozenset(own), reader)


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Return all files below, without hidden ones (being written or deleted), and the folders that cannot be read."""
    files: list[str] = []
    unreadable: list[str] = []

    def refuse(error: OSError) -> None:
        unreadable.append(f"{error.filename}: cannot be looked into ({error.strerror})")

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        files += [(inside / name).as_posix() for name in sorted(names) if not name.startswith(".")]
    return files, unreadable


def _file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PictureError(f"{path}: {path.stat().st_size} bytes are too many")
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror or error})") from None


YEARS = range(1970, 9999)  # an unset clock starts in 1970; after the end some time zones have no day
_ID = re.compile(r"[\w-]{8,64}", re.ASCII)
_FOLDER_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[/-](\d{6})-")


@dataclass(frozen=True)
class Step:
    """One step of an event's path: seconds from the alarm, box, and bear probability (None: not scored)."""

    at_s: float
    box_xywh: BoxXYWH
    bear: float | None


@dataclass(frozen=True)
class Case:
    """The facts of one unit of evidence."""

    unit: Unit
    key: str  # event=ID or negative=DIGEST: the same for every copy of the evidence
    camera: str
    at: datetime  # UTC, of the alarm
    label: str  # the model's label
    score: float | None  # the highest bear probability
    model: str
    clock_synced: bool | None
    path: tuple[Step, ...] = ()
    clips: tuple[tuple[str, float], ...] = ()  # file, and seconds from the alarm to its first frame
    box_xywh: BoxXYWH | None = None  # of a negative: the region with the highest score
    review: Review | None = None


def read_case(unit: Unit) -> Case | None:
    """Read a case; None if it is no bear event. Raises PictureError or OptionError if it cannot be read."""
    return _event(unit) if unit.kind == "event" else _negative(unit)


def _event(unit: Unit) -> Case | None:
    try:
        text = unit.read(EVENT).decode()
        event = Event.from_json(text)
        found = json.loads(text)
        path = tuple(_step(step) for step in found.get("path", ()))
        clips = tuple((str(clip["file"]), _number(clip["from_s"])) for clip in found.get("clips", ()))
        at = _alarmed_at(unit.name) or _time(event.captured_at)
        if not (_ID.fullmatch(event.id) and event.camera and isinstance(event.camera, str)):
            raise ValueError(f"id {event.id!r} or camera {event.camera!r} is none")
        score = event.score if event.top_score is None else event.top_score
        score = None if score is None else _number(score)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"{unit.name}/{EVENT}: not an event this program can read ({_short(error)})") from None
    if event.kind != "bear":
        return None
    return Case(
        unit=unit,
        key=f"event={event.id}",
        camera=event.camera,
        at=at,
        label=str(event.label or ""),
        score=score,
        model=str(event.model or ""),
        clock_synced=event.clock_synced,
        path=path,
        clips=clips,
        review=_review(unit, REVIEW),
    )


def _negative(unit: Unit) -> Case:
    name = unit.name.rpartition("/")[2]
    data = unit.read(name)
    note = note_in(data)
    if not note:
        raise PictureError(f"{unit.name}: no note in it; it is no negative that evidence has kept")
    try:
        at = _time(note["captured_at"])
        box = _box(note["box_xywh"]) if note.get("box_xywh") else None
        camera, score = str(note["camera"]), note.get("score")
        score = None if score is None else _number(score)
    except (ValueError, TypeError, KeyError) as error:
        raise PictureError(f"{unit.name}: its note cannot be read ({_short(error)})") from None
    return Case(
        unit=unit,
        key=f"negative={sha256(data).hexdigest()[:24]}",
        camera=camera,
        at=at,
        label=str(note.get("label") or ""),
        score=score,
        model=str(note.get("model") or ""),
        clock_synced=None,
        box_xywh=box,
        review=_review(unit, review_path(Path(name)).name),
    )


def _review(unit: Unit, name: str) -> Review | None:
    return parse_review(unit.read(name), f"{unit.name}: {name}") if name in unit.files else None


def _alarmed_at(name: str) -> datetime | None:
    """Return the alarm's time by the name of the event's folder: ``event.json`` has the time of the last message."""
    found = _FOLDER_TIME.search(name)
    try:
        at = datetime.strptime("".join(found.groups()), "%Y-%m-%d%H%M%S") if found else None
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at and at.year in YEARS else None


def _step(found: list[Any]) -> Step:
    at_s, *box, bear = found
    return Step(_number(at_s), _box(box), None if bear is None else _number(bear))


def _box(found: list[Any]) -> BoxXYWH:
    x, y, w, h = (_number(side) for side in found)
    return x, y, w, h


def _number(found: Any) -> float:
    """Return a finite number. Raises ValueError, TypeError."""
    try:
        number = float(found)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a number is not finite")
    return number


def _time(found: str) -> datetime:
    """Return a time with an offset as UTC, in years that every time zone has. Raises ValueError, TypeError."""
    at = datetime.fromisoformat(found)
    if at.year not in YEARS:
        raise ValueError(f"the year of {found} is not within {YEARS.start} to {YEARS.stop - 1}")
    return at.astimezone(UTC)


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
