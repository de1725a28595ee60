"""A folder of shards: lists of pictures to look at, and a file of results for each.

``shards.json`` is the plan. ``00001.csv`` is a shard's list, ``00001.json`` its results in MegaDetector's format, and
``00001.lock`` is locked while a process works on it. Every file is replaced whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from edge.batch.look import TABLE, is_table, listed, look_at, read_heads, read_table, whole
from edge.detect.classifier import Classifier
from edge.detect.sequences import REACH, CardPictures, bursts
from edge.detect.stills import FILES, OWN, SHARD, Results, is_clip
from edge.errors import OptionError, PictureError
from edge.files import need_folder, replace_whole, try_lock
from edge.pictures import folders_of_pictures

log = logging.getLogger(__name__)

LEAST, MOST = 50, 2000  # pictures and clips of a shard, about
SHARDS = 16  # that are made of fewer pictures than so many of ``MOST``: work for all cores, and little lost by Ctrl-C
ROOM_BYTES = 5_000_000  # the results of a shard take up to two
VERSION = 1
PLAN = "shards.json"
END = b"\n]}\n"  # of results that are whole
POLL_S = 0.5
NO_DISK = "is its disk connected, and is it the right folder? Nothing was written"

Ended = Literal["done", "already", "elsewhere"]


class Listed(NamedTuple):
    """A file in a shard's list; the fields are the columns, with 1 for yes."""

    file: str  # relative to the base, with forward slashes
    context: str = ""  # not looked at, but others are compared with it


class Shards:
    """The plan of a folder of shards, numbered from 1; ``here`` is where its base lies on this machine."""

    def __init__(self, folder: Path, base: Path, paths: Sequence[Path], model: str, fps: float, size: int) -> None:
        self.folder, self.base, self.here, self.paths = folder, base, base, list(paths)
        self.model, self.fps, self.size = model, fps, size
        self.complete = False  # the cut has ended: what lies below the paths is in the lists

    @staticmethod
    def there(folder: Path) -> bool:
        """Return True if a folder holds a plan."""
        return (folder / PLAN).exists()

    @classmethod
    def open(cls, folder: Path, base: Path | None = None) -> Shards:
        """Return the plan that a folder holds; ``base``: in place of its own. Raises OptionError."""
        try:
            held = json.loads((folder / PLAN).read_bytes())
            version, paths = held["version"], [Path(path) for path in held["paths"]]
            plan = cls(folder, Path(held["base"]), paths, held["model"], held["fps"], held["size"])
            plan.complete = held["complete"]
        except (FileNotFoundError, NotADirectoryError):
            raise OptionError(f"{folder}: holds no shards; give the pictures to cut into shards too") from None
        except OSError as error:
            raise OptionError(f"{folder / PLAN}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError):
            raise OptionError(f"{folder / PLAN}: is no plan of shards; name another --shards folder") from None
        if version != VERSION:
            raise OptionError(
                f"{folder}: holds shards of version {version}, not {VERSION}; name another --shards folder"
            )
        if base is not None:
            plan.here = whole(base)
        return plan

    @classmethod
    def cut(
        cls,
        folder: Path,
        paths: Sequence[Path],
        model: str | None,
        fps: float | None,
        *,
        workers: int,
        size: int | None = None,
    ) -> Shards:
        """Cut what is below ``paths`` into shards, or what came since into more; return the plan.

        ``model``: ``Classifier.name``; where there is a plan, None for its own, and so is ``fps``. ``size``: by default
        as many as make ``SHARDS`` shards. Raises OptionError, and PictureError for nothing to look at.
        """
        need_folder(folder)
        paths = [whole(path) for path in paths]
        if not cls.there(folder) and folder.exists() and not all(map(_passing, _inside(folder))):
            raise OptionError(f"{folder}: holds other files; name a new folder for --shards")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OptionError(f"{folder}: cannot be made ({error.strerror}); name another --shards folder") from None
        with _locked(folder / "shards.lock", wait=True):
            _remove_parts(folder, PLAN)
            _remove_parts(folder, "*.csv")
            groups = _groups(paths)
            if cls.there(folder):
                plan = cls.open(folder)
                plan.check(model, fps)
                if set(paths) != set(plan.paths):
                    of = ", ".join(map(str, plan.paths))
                    raise OptionError(
                        f"{folder}: holds the shards of {of}; name another --shards folder for other pictures"
                    )
                plan._need_base()
            else:
                assert model is not None
                base, some = _base(paths), list[list[Path]]()
                while sum(map(len, some)) < SHARDS * MOST and (group := next(groups, None)) is not None:
                    some.append(group)
                size = size or min(max(math.ceil(sum(map(len, some)) / SHARDS), LEAST), MOST)
                plan, groups = cls(folder, base, paths, model, 1.0 if fps is None else fps, size), chain(some, groups)
            plan._need_room()
            plan._add(groups, workers)
        return plan

    def check(self, model: str | None, fps: float | None) -> None:
        """Raise OptionError where the plan is one of another model or fps; None is any."""
        model, fps = model or self.model, self.fps if fps is None else fps
        if (model, fps) != (self.model, self.fps):
            what = f"--fps {self.fps:g}, not {fps:g}" if model == self.model else f"model {self.model}, not {model}"
            raise OptionError(f"{self.folder}: holds shards for {what}; name another --shards folder")

    def numbers(self) -> list[int]:
        """Return the numbers of all shards."""
        lists = (re.fullmatch(r"([0-9]{5,})\.csv", file.name) for file in _inside(self.folder))
        return sorted(int(found[1]) for found in lists if found)

    def undone(self) -> list[int]:
        """Return the numbers of those that are not done."""
        return [n for n in self.numbers() if not self.done(n)]

    def unread(self) -> list[int]:
        """Return the numbers of those that are not done, or have files that could not be read."""
        return [n for n in self.numbers() if not self.done(n) or self._failed(n)]

    def done(self, n: int) -> bool:
        """Return True if a shard's results are there, by the plan's model and fps, of its list as it is."""
        try:
            with self._file(n, "json").open("rb") as file:
                info = json.loads(file.readline().rstrip() + b"]}")["info"]  # its first line is all but the images
                file.seek(-len(END), os.SEEK_END)
                if file.read() != END:
                    return False
            return (info["detector"], info[OWN], info[SHARD]) == (self.model, {"fps": self.fps}, self._list(n)[1])
        except FileNotFoundError:
            return False
        except OSError as error:
            raise OptionError(f"{self._file(n, 'json')}: cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError):
            return False

    def pictures(self, n: int) -> int:
        """Return how many pictures and clips a shard has to look at."""
        return sum(not each.context for each in self._list(n)[0])

    def names(self) -> Iterator[str]:
        """Yield the names of all files."""
        for n in self.numbers():
            yield from (each.file for each in self._list(n)[0] if not each.context)

    def results(self) -> list[Path]:
        """Return the files of results in order, there or not."""
        return [self._file(n, "json") for n in self.numbers()]

    def free(self, n: int) -> bool:
        """Return True if no process has a shard."""
        with _locked(self._file(n, "lock")) as mine:
            return mine

    def run(
        self,
        n: int,
        load: Callable[[], Classifier],
        *,
        workers: int,
        retry: bool = False,
        progress: Callable[[int], object] = lambda count: None,
    ) -> Ended:
        """Look at a shard and write its results whole; "elsewhere" where another process has it. Raises OptionError.

        The model is loaded when there is something to do. ``retry``: look again at a shard with files that could not be
        read; ``progress`` gets how many are looked at so far.
        """
        numbers = self.numbers()
        if n not in numbers:
            raise OptionError(f"--shard {n}: {self.folder} has the shards 1 to {numbers[-1] if numbers else 0}")
        with _locked(self._file(n, "lock")) as mine:
            if not mine:
                return "elsewhere"
            if self.done(n) and not (retry and self._failed(n)):
                return "already"
            _remove_parts(self.folder, self._file(n, "json").name)
            self._need_room()
            files, digest = self._list(n)
            self._need_base(files)
            classifier = load()
            self.check(classifier.name, None)
            names = {self.here / each.file: each.file for each in files}
            own = [self.here / each.file for each in files if not each.context]
            results = Results(self._file(n, "json"), classifier.card, self.model, self.base, self.fps, shard=digest)
            card = CardPictures(read_heads(names, workers), names.keys() - own)
            found = look_at(classifier, card, own, names, fps=self.fps, workers=workers)
            for count, (finding, row) in enumerate(found, 1):
                results.add(finding, row)
                progress(count)
            self._need_base(files)  # a disk that was pulled out is no thousand broken pictures
            results.save()
        return "done"

    def _need_base(self, own: Iterable[Listed] = ()) -> None:
        """Raise OptionError where the paths are not there or are empty, or with ``own`` none of the plan's files is."""
        files = FILES | {TABLE}
        for path in self.paths:
            folder = path.parent if path.suffix.lower() in files and not path.is_dir() else path
            elsewhere = not folder.is_relative_to(self.base)  # a table may
            folder = self.here if elsewhere else self.here / folder.relative_to(self.base)
            try:
                why = "" if any(folder.iterdir()) else "is empty"
            except OSError as error:
                why = f"cannot be read ({error.strerror})"
            if why:
                raise OptionError(f"{folder}: the folder of the pictures {why}; {NO_DISK}")
        first = next(iter(own), None)
        names = chain((each.file for each in own), self.names())
        if first and not any(os.access(self.here / name, os.F_OK) for name in names):
            raise OptionError(f"{self.here}: holds none of the pictures, such as {first.file}; {NO_DISK}")

    def _need_room(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < ROOM_BYTES:
            raise OptionError(f"{self.folder}: only {free / 1e6:.1f} MB are free on this disk; make room, and go on")

    def _failed(self, n: int) -> bool:
        with self._file(n, "json").open(encoding="utf-8") as file:
            return any('"failure": ' in line for line in file)

    def _file(self, n: int, suffix: str) -> Path:
        return self.folder / f"{n:05d}.{suffix}"

    def _save(self, *, complete: bool) -> None:
        if self.there(self.folder) and self.complete == complete:
            return
        self.complete = complete
        held = {
            "version": VERSION,
            "base": str(self.base),
            "paths": [str(path) for path in self.paths],
            "model": self.model,
            "fps": self.fps,
            "size": self.size,
            "complete": complete,
        }
        replace_whole(self.folder / PLAN, json.dumps(held, indent=2).encode())

    # Lists.

    def _list(self, n: int) -> tuple[list[Listed], str]:
        """Return a shard's list, and the digest of it."""
        path = self._file(n, "csv")
        try:
            data = path.read_bytes()
            rows = csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline=""))
            next(rows)
            return [Listed(*row) for row in rows], hashlib.sha256(data).hexdigest()[:16]
        except OSError as error:
            raise OptionError(f"{path}: cannot be read ({error.strerror})") from None
        except (StopIteration, TypeError, csv.Error):
            raise OptionError(f"{path}: is no list of a shard; delete it and cut again") from None

    def _add(self, groups: Iterable[list[Path]], workers: int) -> None:
        """Write lists of the files that are in none yet; each group is the files of a folder."""
        numbers = self.numbers()
        known = {each.file for n in numbers for each in self._list(n)[0] if not each.context}
        before, n, list_, held = len(known), max(numbers, default=0), list[Listed](), 0

        def write() -> None:
            nonlocal n, held
            if list_:
                self._save(complete=False)  # before the first list: lists alone are no plan
                n += 1
                text = io.StringIO(newline="")
                csv.writer(text).writerows([Listed._fields, *list_])
                replace_whole(self._file(n, "csv"), text.getvalue().encode("utf-8", "surrogateescape"))
                list_.clear()
                held = 0

        for files in groups:
            new = [file for file in files if self._name(file) not in known]
            for number, part in enumerate(self._parts(files, new, workers)):
                own = sum(not each.context for each in part)
                if number or held + own > self.size:
                    write()
                list_ += part
                held += own
            known.update(map(self._name, new))
        write()
        if not n:
            raise PictureError(f"{self.here}: holds no pictures ({', '.join(sorted(FILES))})")
        self._save(complete=True)
        count, shards = len(known) - before, n - max(numbers, default=0)
        if count:
            new_ = "new " if before else ""
            more = f"{shards:,} more" if before else f"{shards:,}"
            log.info(
                "%s %s: %s %s",
                f"{count:,}", f"{new_}picture" + "s" * (count > 1), more, "shard" + "s" * (shards > 1),
            )  # fmt: skip

    def _name(self, file: Path) -> str:
        try:
            return file.relative_to(self.here).as_posix()
        except ValueError:
            raise OptionError(f"{file}: lies outside {self.here}; use another --shards folder for it") from None

    def _parts(self, files: list[Path], new: list[Path], workers: int) -> Iterator[list[Listed]]:
        """Yield the new files of a folder in parts of about ``size``, each with what it is compared with."""
        if not new:
            return
        order, cuts = files, [0, len(new)]
        if len(new) > self.size:
            card = CardPictures(read_heads(files, workers))
            order = card.in_turn(files)
            wanted = set(new)
            new = [file for file in order if file in wanted]
            cuts = _cuts(new, card, self.size)
        place = {file: number for number, file in enumerate(order)}
        pictures = [file for file in order if not is_clip(file)]
        rank = {file: number for number, file in enumerate(pictures)}
        for begin, end in pairwise(cuts):
            own = set(new[begin:end])
            near = {i for file in own if file in rank for i in range(rank[file] - REACH, rank[file] + REACH + 1)}
            around = {pictures[i] for i in near if 0 <= i < len(pictures)}
            yield [
                Listed(self._name(file), "" if file in own else "1")
                for file in sorted(own | around, key=place.__getitem__)
            ]


@contextmanager
def _locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock on a file and yield True, or False where another process has it and no ``wait``."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror}); mend that, and go on") from None
    try:
        mine = said = False
        while not mine:
            try:
                mine = try_lock(file)
            except OSError as error:
                log.warning("%s: no locks there (%s); two processes may look at one shard", path, error.strerror)
                mine = True
            if not wait:
                break
            if not mine:
                if not said:
                    log.info("another process cuts %s at the moment; waiting for it", path.parent)
                said = True
                time.sleep(POLL_S)
        yield mine
    finally:
        os.close(file)


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise OptionError(f"{folder}: cannot be read ({error.strerror}); name another --shards folder") from None


def _passing(file: Path) -> bool:
    """Return True for a lock, and for a hidden file: an unfinished one of a run, or one that a file manager makes."""
    return file.suffix == ".lock" or file.name.startswith(".")


def _base(paths: Sequence[Path]) -> Path:
    """Return the folder that holds all of these; a table's pictures lie in its own folder, or elsewhere."""
    tops = list[Path]()
    for path in paths:
        if is_table(path):
            folders = {file.parent for file in read_table(path)}
            tops += [path.parent] if all(each.is_relative_to(path.parent) for each in folders) else folders
        else:
            tops.append(path if path.is_dir() else path.parent)
    try:
        return Path(os.path.commonpath(tops))
    except ValueError:
        raise OptionError(
            f"the pictures lie on several drives ({tops[0]}, …); use a --shards folder for each"
        ) from None


def _groups(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield the files of each folder. Raises OptionError, and PictureError for a path that is not there."""
    for path in paths:
        if not path.exists():
            raise PictureError(f"{path}: no such picture or folder")
    named = defaultdict[Path, dict[Path, None]](dict)
    for path in paths:
        if path.is_dir():
            yield from folders_of_pictures(path, FILES)
        else:
            for file in listed(path):
                named[file.parent][file] = None
    yield from map(list, named.values())


def _cuts(files: Sequence[Path], card: CardPictures, size: int) -> list[int]:
    """Return where files in the card's order are cut, about ``size`` apart, with the first number and the last.

    Never within a burst, nor within what a camera took whose clock stands still, which is none as long as it is whole.
    """
    own = set(files)
    of_cameras = ((head for head in camera if head.file in own) for camera in card.cameras)
    inside = {file for camera in of_cameras for burst in bursts(camera) for file in burst[1:]}
    cuts, parts = [0], math.ceil(len(files) / size)
    for number in range(1, parts):
        at = number * len(files) // parts
        while at > cuts[-1] and files[at] in inside:
            at -= 1
        if at > cuts[-1]:
            cuts.append(at)
    return [*cuts, len(files)]


def _remove_parts(folder: Path, name: str) -> None:
    """Remove what a process that was killed left of a file that only this one may write now."""
    for part in folder.glob(f".{name}.*.part"):
        part.unlink(missing_ok=True)
