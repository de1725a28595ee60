"""Where evidence is found: a folder, a card that was copied, or an archive; nothing of an archive is unpacked."""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from edge.errors import OptionError, PictureError
from edge.record.evidence_store import SAMPLE
from edge.record.review import review_path

EVENT = "event.json"
MOST_BYTES = 500_000_000  # of one file: a clip has 16 MB of frames at most
Read = Callable[[str], bytes]
Archive = TypeVar("Archive", zipfile.ZipFile, tarfile.TarFile)


@dataclass(frozen=True)
class Unit:
    """The evidence of one event, or one random negative."""

    kind: Literal["event", "negative"]
    name: str  # where it lies, for people: the event's folder, or the negative's file
    files: frozenset[str]  # names of its files
    _read: Read

    def read(self, name: str) -> bytes:
        """What one of its files holds. Raises PictureError where it cannot be read."""
        return self._read(name)


@dataclass(frozen=True)
class Shelf:
    """All that was found, and folders that could not be looked into, a sentence each."""

    units: tuple[Unit, ...]
    closed: tuple[str, ...] = ()


@contextmanager
def open_shelf(path: Path) -> Iterator[Shelf]:
    """The evidence under a folder, or in a zip or tar. Raises OptionError where there is none, or no such place."""
    if path.is_dir():
        files, closed = _walk(path)
        yield _shelf(path, files, lambda name: _file(path / name), closed)
    elif not path.exists():
        raise OptionError(f"{path}: no such folder or archive; give the folder that `watch --evidence` wrote into")
    elif zipfile.is_zipfile(path):
        with _opened(path, lambda: zipfile.ZipFile(path)) as zipped:
            yield _shelf(path, [each.filename for each in zipped.infolist() if not each.is_dir()], _unzip(path, zipped))
    elif _is_tar(path):
        with _opened(path, lambda: tarfile.open(path)) as tape:
            try:
                members = {each.name: each for each in tape if each.isfile()}
            except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
                raise OptionError(f"{path}: damaged, its end cannot be read ({error}); copy it again") from None
            yield _shelf(path, list(members), _untar(path, tape, members))
    else:
        raise OptionError(f"{path}: neither a folder nor a zip or tar; give what `events export` or `watch` wrote")


def _shelf(path: Path, files: Iterable[str], read: Read, closed: Iterable[str] = ()) -> Shelf:
    folders: dict[str, set[str]] = defaultdict(set)
    for file in files:
        folder, _, name = file.rpartition("/")
        folders[folder].add(name)
    units = [unit for folder in sorted(folders) for unit in _units(folder, folders[folder], read)]
    if not units:
        raise OptionError(
            f"{path}: no evidence in it (neither an {EVENT} nor random negatives); give the folder that "
            "`watch --evidence` wrote into, a copied card, or a zip of `events export`"
        )
    return Shelf(tuple(units), tuple(closed))


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
    """Every file below, hidden ones left out (what is being written or thrown away); and what cannot be looked into."""
    files: list[str] = []
    closed: list[str] = []

    def refuse(error: OSError) -> None:
        closed.append(f"{error.filename}: cannot be looked into ({error.strerror})")

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        files += [(inside / name).as_posix() for name in sorted(names) if not name.startswith(".")]
    return files, closed


def _file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PictureError(f"{path}: {path.stat().st_size} bytes are too many")
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror or error})") from None


def _unzip(path: Path, zipped: zipfile.ZipFile) -> Read:
    def read(name: str) -> bytes:
        try:
            if zipped.getinfo(name).file_size > MOST_BYTES:
                raise PictureError(f"{path}/{name}: {zipped.getinfo(name).file_size} bytes are too many")
            return zipped.read(name)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, NotImplementedError) as error:
            raise PictureError(f"{path}/{name}: cannot be read ({error})") from None

    return read


def _untar(path: Path, tape: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> Read:
    def read(name: str) -> bytes:
        try:
            if members[name].size > MOST_BYTES:
                raise PictureError(f"{path}/{name}: {members[name].size} bytes are too many")
            opened = tape.extractfile(members[name])
            data = opened.read() if opened else b""
        except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
            raise PictureError(f"{path}/{name}: cannot be read ({error})") from None
        if len(data) < members[name].size:
            raise PictureError(f"{path}/{name}: cut short")
        return data

    return read


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except OSError as error:
        raise OptionError(f"{path}: cannot be read ({error.strerror})") from None


@contextmanager
def _opened(path: Path, make: Callable[[], Archive]) -> Iterator[Archive]:
    try:
        archive = make()
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError) as error:
        raise OptionError(f"{path}: a damaged archive ({error}); copy it again") from None
    with archive:
        yield archive
