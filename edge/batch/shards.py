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
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, NamedTuple

from edge.batch.look import is_picture, is_table, look_at, missing, read_heads, read_table, whole
from edge.detect.classifier import Classifier
from edge.detect.sequences import BURST, REACH, CardPictures, Head
from edge.detect.stills import FILES, OWN, SHARD, Results, is_clip
from edge.errors import OptionError, PictureError
from edge.files import need_folder, replace_whole, try_lock

log = logging.getLogger(__name__)

SIZE = 2000  # pictures and clips of a shard, about
BEFORE = 100  # names before a cut, among which the widest gap is looked for
ROOM_BYTES = 5_000_000  # the results of a shard take up to two
VERSION = 1
PLAN = "shards.json"
POLL_S = 0.5

Group = tuple[list[Path], Collection[Path]]  # the files of a folder, and files that a table names and are not there
Ended = Literal["done", "already", "elsewhere"]


class Listed(NamedTuple):
    """A file in a shard's list; the fields are the columns, with 1 for yes."""

    file: str  # relative to the base, with forward slashes
    context: str = ""  # not looked at, but others are compared with it
    missing: str = ""  # a table names it, and it was not there


class Shards:
    """The plan of a folder of shards, numbered from 1; ``here`` is where its base lies on this machine."""

    def __init__(self, folder: Path, base: Path, paths: Sequence[Path], model: str, fps: float, size: int) -> None:
        self.folder, self.base, self.here, self.paths = folder, base, base, list(paths)
        self.model, self.fps, self.size = model, fps, size

    @classmethod
    def open(cls, folder: Path, base: Path | None = None) -> Shards:
        """Return the plan that a folder holds; ``base``: in place of its own. Raises OptionError."""
        try:
            held = json.loads((folder / PLAN).read_bytes())
            version, paths = held["version"], [Path(path) for path in held["paths"]]
            plan = cls(folder, Path(held["base"]), paths, held["model"], held["fps"], held["size"])
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
        if not plan.here.is_dir():
            raise OptionError(f"{plan.here}: the folder of the pictures is not there; is its disk connected?")
        return plan

    @classmethod
    def cut(
        cls,
        folder: Path,
        paths: Sequence[Path],
        model: str,
        fps: float | None,
        *,
        workers: int,
        size: int = SIZE,
        force: bool = False,
    ) -> Shards:
        """Cut what is below ``paths`` into shards, or what came since into more; return the plan.

        Without ``paths`` and ``fps`` they are those of the plan. ``model``: ``Classifier.name``; ``force``: a plan of
        another model or fps becomes one of these. Raises OptionError, and PictureError for nothing to look at.
        """
        need_folder(folder)
        paths = [whole(path) for path in paths]
        if not paths:
            cls.open(folder)
        elif not (folder / PLAN).exists() and folder.exists() and any(f.suffix != ".lock" for f in _inside(folder)):
            raise OptionError(f"{folder}: holds other files; name a new folder for --shards")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OptionError(f"{folder}: cannot be made ({error.strerror}); name another --shards folder") from None
        with _locked(folder / "shards.lock", wait=True):
            if (folder / PLAN).exists():
                plan = cls._known(folder, paths)
                plan.check(model, fps, force=force)
            else:
                plan = cls(folder, _base(paths), paths, model, 1.0 if fps is None else fps, size)
            plan._need_room()
            if plan.here == plan.base:
                plan._add(_groups(plan.paths), workers)
            elif plan.paths == [plan.base]:
                plan._add(_groups([plan.here]), workers)
            plan._save()
        return plan

    @classmethod
    def _known(cls, folder: Path, paths: list[Path]) -> Shards:
        """Return the plan of a folder. Raises OptionError where it is one of other paths."""
        try:
            plan = cls.open(folder)
        except OptionError:
            if len(paths) != 1 or not (folder / PLAN).exists() or not paths[0].is_dir():
                raise
            return cls.open(folder, paths[0])  # the disk is connected elsewhere
        if paths and paths != plan.paths:
            of = ", ".join(map(str, plan.paths))
            raise OptionError(f"{folder}: holds the shards of {of}; name another --shards folder for other pictures")
        return plan

    def check(self, model: str, fps: float | None, *, force: bool = False) -> None:
        """Raise OptionError where the plan is one of another model or fps; with ``force`` it takes them."""
        fps = self.fps if fps is None else fps
        if (model, fps) == (self.model, self.fps):
            return
        if not force:
            what = f"--fps {self.fps:g}, not {fps:g}" if model == self.model else f"model {self.model}, not {model}"
            raise OptionError(
                f"{self.folder}: holds shards for {what}; name another --shards folder, or --force looks at all again"
            )
        self.model, self.fps = model, fps

    def numbers(self) -> list[int]:
        """Return the numbers of all shards."""
        return sorted(int(file.stem) for file in _inside(self.folder) if file.suffix == ".csv" and file.stem.isdigit())

    def undone(self) -> list[int]:
        """Return the numbers of those that are not done."""
        return [n for n in self.numbers() if not self.done(n)]

    def unread(self) -> list[int]:
        """Return the numbers of those that are not done, or have files that could not be read."""
        return [n for n in self.numbers() if not self.done(n) or self._failed(n)]

    def done(self, n: int) -> bool:
        """Return True if a shard's results are there, by the plan's model and fps, of its list as it is."""
        try:
            with self._file(n, "json").open(encoding="utf-8") as file:
                info = json.loads(file.readline().rstrip() + "]}")["info"]  # its first line is all but the images
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

    def results(self) -> list[Path]:
        """Return the files of results in order, there or not."""
        return [self._file(n, "json") for n in self.numbers()]

    def run(
        self,
        n: int,
        classifier: Classifier,
        *,
        workers: int,
        retry: bool = False,
        progress: Callable[[int], object] = lambda count: None,
    ) -> Ended:
        """Look at a shard and write its results whole; "elsewhere" where another process has it. Raises OptionError.

        ``retry``: look again at files that could not be read; ``progress`` gets how many are looked at so far.
        """
        numbers = self.numbers()
        if n not in numbers:
            raise OptionError(f"--shard {n}: {self.folder} has the shards 1 to {numbers[-1] if numbers else 0}")
        self._need_room()
        with _locked(self._file(n, "lock")) as mine:
            if not mine:
                return "elsewhere"
            listed, digest = self._list(n)
            names = {self.here / each.file: each.file for each in listed}
            own = [self.here / each.file for each in listed if not each.context]
            expected = [self.here / each.file for each in listed if not each.context and not each.missing]
            results = Results(self._file(n, "json"), classifier.card, self.model, self.base, self.fps, shard=digest)
            done = self.done(n)
            held = results.resume() if done and retry else {}
            todo = [file for file in own if names[file] not in held]
            if done and not (retry and todo):
                return "already"
            self._need_files(n, expected)
            card = CardPictures(read_heads(names, workers), names.keys() - own)
            found = look_at(classifier, card, todo, names, fps=self.fps, workers=workers)
            for count, (finding, row) in enumerate(found, 1):
                results.add(finding, row)
                progress(count)
            self._need_files(n, expected)  # a disk that was pulled out is no thousand broken pictures
            if not done and results.path.exists():  # by another model
                results.path.replace(results.path.with_name(results.path.name + ".old"))
            results.save()
        return "done"

    def _need_files(self, n: int, files: Collection[Path]) -> None:
        if files and not any(file.exists() for file in files):
            raise OptionError(
                f"shard {n}: none of its {len(files):,} files is there, such as {next(iter(files))}; is the disk "
                "connected? Nothing was written"
            )

    def _need_room(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < ROOM_BYTES:
            raise OptionError(f"{self.folder}: only {free / 1e6:.1f} MB are free on this disk; make room, and go on")

    def _failed(self, n: int) -> bool:
        with self._file(n, "json").open(encoding="utf-8") as file:
            return any('"failure": ' in line for line in file)

    def _file(self, n: int, suffix: str) -> Path:
        return self.folder / f"{n:05d}.{suffix}"

    def _save(self) -> None:
        held = {
            "version": VERSION,
            "base": str(self.base),
            "paths": [str(path) for path in self.paths],
            "model": self.model,
            "fps": self.fps,
            "size": self.size,
        }
        data = json.dumps(held, indent=2).encode()
        if not (self.folder / PLAN).exists() or (self.folder / PLAN).read_bytes() != data:
            replace_whole(self.folder / PLAN, data)

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

    def _add(self, groups: Iterable[Group], workers: int) -> None:
        """Write lists of the files that are in none yet: each group is the files of a folder, and those not there."""
        numbers = self.numbers()
        known = {each.file for n in numbers for each in self._list(n)[0] if not each.context}
        before, n, list_ = len(known), max(numbers, default=0), list[Listed]()

        def write() -> None:
            nonlocal n
            if list_:
                self._save()  # before the first list: lists alone are no plan
                n += 1
                text = io.StringIO(newline="")
                csv.writer(text).writerows([Listed._fields, *list_])
                replace_whole(self._file(n, "csv"), text.getvalue().encode("utf-8", "surrogateescape"))
                list_.clear()

        for files, lost in groups:
            new = [file for file in files if self._name(file) not in known]
            for number, part in enumerate(self._parts(files, new, workers)):
                if number or _own(list_) + _own(part) > self.size:
                    write()
                list_ += [each._replace(missing="1") if self.here / each.file in lost else each for each in part]
            known.update(map(self._name, new))
        write()
        if not n:
            raise PictureError(f"{self.here}: holds no pictures ({', '.join(sorted(FILES))})")
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
            order, new, cuts = _cut(files, new, self.size, workers)
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


def _own(listed: Iterable[Listed]) -> int:
    return sum(not each.context for each in listed)


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise OptionError(f"{folder}: cannot be read ({error.strerror}); name another --shards folder") from None


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


def _groups(paths: Iterable[Path]) -> Iterator[Group]:
    """Yield the files of each folder, and which of them a table names and are not there. Raises OptionError."""
    for path in paths:
        if not path.exists():
            raise PictureError(f"{path}: no such picture or folder")
    named, lost = defaultdict[Path, dict[Path, None]](dict), set[Path]()
    for path in paths:
        if path.is_dir():
            for top, folders, names in os.walk(path, onerror=_unread):
                folders.sort()
                yield [Path(top, name) for name in sorted(names) if is_picture(name)], lost
            continue
        files = read_table(path) if is_table(path) else [path]
        lost.update(missing(files, path) if is_table(path) else ())
        for file in files:
            named[file.parent][file] = None
    for group in named.values():
        yield list(group), lost


def _unread(error: OSError) -> None:
    log.warning("skipped %s: it cannot be read (%s)", error.filename, error.strerror)


def _cut(files: list[Path], new: list[Path], size: int, workers: int) -> tuple[list[Path], list[Path], list[int]]:
    """Return all files of a folder and the new ones as their camera took them, and where the new ones are cut.

    No burst is cut: it is at the widest gap in time before the size is reached. Where the names are in order of time
    and of one camera, only the heads of pictures near the cuts are read; else those of the whole folder.
    """
    parts = math.ceil(len(new) / size)
    targets = [number * len(new) // parts for number in range(1, parts)]
    windows = [range(max(last, target - BEFORE), target + 1) for last, target in pairwise([0, *targets])]
    some = dict.fromkeys([0, *chain(*windows), len(new) - 1])
    heads = {head.file: head for head in read_heads((new[number] for number in some), workers) if head.size_wh}
    times = [head.taken for head in heads.values() if head.taken]
    if times == sorted(times) and len({(head.size_wh, head.camera, not head.taken) for head in heads.values()}) < 2:
        cuts = [_widest(new, window, heads) for window in windows]
        if all(cuts):
            return files, new, [0, *filter(None, cuts), len(new)]
    card, wanted = CardPictures(read_heads(files, workers)), set(new)
    files = card.in_turn(files)
    new = [file for file in files if file in wanted]
    between = [0]
    for target in targets:
        at = target
        while at > between[-1] and card.burst(new[at]) is not None and card.burst(new[at]) == card.burst(new[at - 1]):
            at -= 1
        if at > between[-1]:
            between.append(at)
    return files, new, [*between, len(new)]


def _widest(files: list[Path], window: range, heads: Mapping[Path, Head]) -> int | None:
    """Return the number of the picture behind the widest gap in time; None where a burst may go on there."""
    found = [(number, heads[files[number]].taken) for number in window if files[number] in heads]
    timed = [(number, taken) for number, taken in found if taken]
    if not timed:
        return window[-1]
    gap, at = max(((after - before, number) for (_, before), (number, after) in pairwise(timed)), default=(BURST, 0))
    return at if gap > BURST else None
