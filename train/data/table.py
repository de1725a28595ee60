"""Writing the table of pictures: MANIFEST.csv and boxes.csv of a folder, grown row by row, whole at any time.

One writer at a time holds the folder. A write goes to another name and takes the table's place in one step, so a
power cut leaves the old table or the new one; columns that somebody else added, and their values, stay.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.errors import CatalogError, OptionError
from edge.files import replace_whole, try_lock
from edge.pictures import SUFFIXES
from edge.schema import BoxXYWH
from train.data.decisions import decided
from train.data.licences import NOT_STATED, counted, may_ship, stated
from train.data.pictures import (
    BEAR_ANY,
    IN_WORDS,
    LABELS,
    SPLITS,
    TRAINING_LABELS,
    Catalog,
    Picture,
    called,
    table_digest,
)

# What names mean: the ``--label dog=no_bear`` options, and what folders are called.


def parse_labels(options: Iterable[str]) -> dict[str, str]:
    """``["dog=no_bear"]`` -> ``{"dog": "no_bear"}``. Raises OptionError with one sentence."""
    aliases = {}
    for option in options:
        name, _, label = option.partition("=")
        label = BEAR_ANY if label == called(BEAR_ANY) else label
        if not name or label not in TRAINING_LABELS:
            raise OptionError(f"--label {option!r} is not NAME=LABEL with a label among {IN_WORDS}")
        aliases[plain_name(name)] = label
    return aliases


def plain_name(name: str) -> str:
    """Return a name as labels are written: "Polar Bear" -> "polar_bear"."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def label_of(name: str, names: Mapping[str, str]) -> str | None:
    """Return the label that a name, such as a folder's, means by ``names``; None where it means none."""
    label = names.get(plain_name(name), plain_name(name))
    return label if label in TRAINING_LABELS else None


# The table of pictures, read from a manifest CSV or from a folder with one sub-folder a label. Needs no torch.


log = logging.getLogger(__name__)

# Names people use for their folders. A panda is no alarm.
ALIASES = {
    "bear": BEAR_ANY,
    "bears": BEAR_ANY,
    "brown": "brown_bear",
    "grizzly": "brown_bear",
    "grizzly_bear": "brown_bear",
    "black": "black_bear",
    "asiatic_black_bear": "black_bear",
    "polar": "polar_bear",
    "teddy": "teddy_bear",
    "teddys": "teddy_bear",
    "panda": "no_bear",
    "background": "no_bear",
    "empty": "no_bear",
    "nothing": "no_bear",
    "other": "no_bear",
}
MANIFEST = "MANIFEST.csv"  # the table of a folder that has one
CLIP_LABELS = ("video_bear", "video_no_bear")  # rows of a manifest that are clips, not stills
UNSORTED = "unsorted"  # gathered pictures that nobody has labelled yet: training leaves them out


def read_catalog(path: Path | str, aliases: Mapping[str, str] | None = None, called: str | None = None) -> Catalog:
    """Return the table of a manifest CSV or a folder-per-label.

    ``aliases`` maps further names to labels (``{"dog": "no_bear"}``). Pictures that name no source are of
    source ``called``, by default the folder's or the manifest's name. Raises CatalogError with one sentence
    when a column, file or label is missing or unknown, or nothing is there.
    """
    path = Path(path)
    names = {**ALIASES, **(aliases or {})}
    root = path if path.is_dir() else path.parent
    manifest = path / MANIFEST if path.is_dir() else path
    called = called or source_name(path)
    if manifest.exists():
        pictures = _from_manifest(manifest, names, called)
    elif path.is_dir():
        pictures = _from_folder(path, names, called)
    else:
        raise CatalogError(f"{path}: no such folder or manifest; give a folder with one sub-folder a label, or a CSV")
    if not pictures:
        loose = sum(file.suffix.lower() in SUFFIXES for file in root.iterdir())
        without = f", but {loose} without one" if loose else ""
        raise CatalogError(
            f"{path}: no pictures with a label{without}; sort them into sub-folders such as {', '.join(LABELS)}"
        )
    if manifest.exists() and path.is_dir():
        _warn_of_untabled(path, names, pictures)
    pictures = decided(pictures, root)
    table = manifest.name if manifest.exists() else ""
    return Catalog(root, tuple(pictures), table_digest(pictures, root), manifest=table, called=called)


def licences_in(folder: Path) -> dict[Path, str]:
    """Return the licences in a folder's table, by resolved file; {} without a table.

    Raises CatalogError when the table cannot be read.
    """
    table = folder / MANIFEST
    if not table.is_file():
        return {}
    return {
        (folder / (row.get("file") or "")).resolve(): stated(
            row.get("licence") or NOT_STATED, row.get("licence_url") or ""
        )
        for row in _read_rows(table)[1]
    }


def source_name(path: Path) -> str:
    """Return what pictures that name no source are called by: their folder's name, or the manifest's."""
    manifest = path / MANIFEST if path.is_dir() else path
    return manifest.stem if manifest.exists() else path.resolve().name


def _resolve(named: str, names: Mapping[str, str], where: object) -> str:
    label = label_of(named, names)
    if label is None:
        raise CatalogError(f"{where}: {unknown_label(named)}")
    return label


def unknown_label(named: str) -> str:
    """Return the sentence about a label that nobody knows: what was meant, or how to say what it is."""
    near = get_close_matches(plain_name(named), [*TRAINING_LABELS, *ALIASES], 1, 0.75)
    if near:
        return f"unknown label {named!r}; did you mean {near[0]}? Labels are {IN_WORDS}"
    return (
        f"unknown label {named!r}; labels are {IN_WORDS}. Say which one it is with "
        f"--label {shlex.quote(f'{named}=LABEL')}, such as no_bear for any other animal"
    )


def _from_folder(root: Path, names: Mapping[str, str], called: str) -> list[Picture]:
    pictures = []
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        # Hidden files are left out: a Mac leaves ``._IMG_0001.JPG`` on cards.
        files = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        )
        if not files:
            continue
        if folder.name == UNSORTED:
            log.warning("%s", _unsorted(len(files), root))
            continue
        label = _resolve(folder.name, names, root)
        for file in files:
            inside = file.relative_to(folder).parent.as_posix()
            # A sub-folder is a camera or burst; a picture outside one stands alone.
            group = inside if inside != "." else f"{folder.name}/{file.name}"
            pictures.append(Picture(file, label, called, group, named=folder.name))
    return pictures


def _from_manifest(manifest: Path, names: Mapping[str, str], called: str) -> list[Picture]:
    columns, rows = _read_rows(manifest)
    missing = [column for column in ("file", "label") if column not in columns]
    if missing:
        raise CatalogError(
            f"{manifest}: column {missing[0]!r} is missing (found: {', '.join(columns) or 'none'}); "
            "a manifest needs file and label, and should have source_repo and group_id"
        )
    boxes = _read_boxes(manifest.with_name("boxes.csv"))
    pictures: list[Picture] = []
    missing_files: list[tuple[int, str | None]] = []
    seen: set[Path] = set()
    unsorted = 0
    for number, row in enumerate(rows, start=2):
        named = row["label"] or ""
        if named in CLIP_LABELS:
            continue
        if named == UNSORTED:
            unsorted += 1
            continue
        file = manifest.parent / (row["file"] or "")
        if not file.is_file():
            missing_files.append((number, row["file"]))
            continue
        if file.resolve() in seen:
            raise CatalogError(f"{manifest}, line {number}: file {row['file']!r} stands there twice; remove one row")
        seen.add(file.resolve())
        pictures.append(
            Picture(
                file=file,
                label=_resolve(named, names, f"{manifest}, line {number}"),
                source=row.get("source_repo") or row.get("source") or called,
                group=row.get("group_id") or row.get("group") or "",
                licence=stated(row.get("licence") or NOT_STATED, row.get("licence_url") or ""),
                split=row.get("split", "") if row.get("split", "") in SPLITS else "",
                grey_or_ir=(row.get("grey_or_ir") or "0") not in ("0", ""),
                note=row.get("note") or "",
                boxes=tuple(boxes.get(row["file"] or "", ())),
                named=named,
                taken_at=row.get("time") or "",
                **{
                    name: row.get(name) or ""
                    for name in ("page", "author", "licence_url", "place", "checks", "condition")
                },
            )
        )
    if unsorted:
        log.warning("%s", _unsorted(unsorted, manifest.parent))
    if missing_files:
        number, name = missing_files[0]
        others = f" (and {len(missing_files) - 1} more of {len(rows)})" if len(missing_files) > 1 else ""
        raise CatalogError(
            f"{manifest}, line {number}: file {name!r}{others} does not exist; "
            "restore what is missing or remove its rows from the table"
        )
    return pictures


def _warn_of_untabled(root: Path, names: Mapping[str, str], pictures: Sequence[Picture]) -> None:
    """Say so where folders named by labels hold pictures that the table does not: nothing is learned from those."""
    known = {picture.file.resolve() for picture in pictures}
    loose = 0
    for folder in root.iterdir():
        if folder.is_dir() and label_of(folder.name, names):
            files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
            loose += sum(file.resolve() not in known for file in files)
    if loose:
        log.warning(
            "%s: %d pictures in its folders are not in %s and are left out; take them in with "
            "`bear-alarm gather folder %s --out %s`",
            root, loose, MANIFEST, root, root,
        )  # fmt: skip


def _unsorted(count: int, root: Path) -> str:
    return (
        f"{root}: {count} unsorted picture{'s are' if count > 1 else ' is'} left out; move what lies in {UNSORTED}/ "
        f"into folders named by labels, then run `bear-alarm gather sort --out {root}`"
    )


def _read_boxes(table: Path) -> dict[str, list[BoxXYWH]]:
    """Boxes by file from a table of corners ``file,class,x1,y1,x2,y2`` (fractions)."""
    boxes: dict[str, list[BoxXYWH]] = defaultdict(list)
    if not table.exists():
        return boxes
    for number, row in enumerate(_read_rows(table)[1], start=2):
        try:
            x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
            file = row["file"]
            # A hair outside is rounding; pixels, swapped corners and "nan" are not.
            if not (-0.01 <= x1 < x2 <= 1.01 and -0.01 <= y1 < y2 <= 1.01):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise CatalogError(
                f"{table}, line {number}: expected file,class,x1,y1,x2,y2 with fractions 0 to 1, x1 < x2 and y1 < y2"
            ) from None
        left, top, right, bottom = (min(max(corner, 0.0), 1.0) for corner in (x1, y1, x2, y2))
        boxes[file].append((left, top, right - left, bottom - top))
    return boxes


def _read_rows(table: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    """Columns and rows of a CSV file. Raises CatalogError when it is none."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            return reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogError(f"{table}: cannot be read as a CSV table ({error}); save it as UTF-8 CSV") from None


# Leaving out what a model that is passed on may not be trained on.


def only_shippable(catalog: Catalog) -> Catalog:
    """Return the catalogue without pictures whose licence keeps a model from being passed on (``left_out``).

    Says how many there are, by licence. Raises CatalogError where none is left.
    """
    kept = tuple(picture for picture in catalog.pictures if may_ship(picture.licence))
    out = tuple(picture for picture in catalog.pictures if not may_ship(picture.licence))
    if not out:
        return catalog
    words = (
        f"{catalog.root}: {len(out)} of {len(catalog.pictures)} pictures are left out, a model trained on them may "
        f"not be passed on ({counted(picture.licence for picture in out)})"
    )
    if not kept:
        raise CatalogError(f"{words}; gather others, or train without --shippable")
    log.warning("%s", words)
    digest = table_digest(kept, catalog.root)
    return replace(catalog, pictures=kept, digest=digest, left_out=(*catalog.left_out, *out))


COLUMNS = (
    "file", "label", "group", "source", "url", "page", "author", "licence", "licence_url", "time", "place",
    "note", "checks", "split",
)  # fmt: skip
BOXES = "boxes.csv"
BOX_COLUMNS = ("file", "class", "x1", "y1", "x2", "y2")
LEFT_OUT = "LEFT_OUT.csv"
LEFT_OUT_COLUMNS = ("url", "page", "kind", "words")
LOCK = ".gather.lock"

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]+")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character, or a byte of a file's name that is not UTF-8

Values = Mapping[str, str]
Boxes = Sequence[tuple[str, BoxXYWH]]  # what is in it, and where


def plain_text(words: str) -> str:
    """Return words as one line of UTF-8 can hold them: control characters become a space, surrogates U+FFFD."""
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub(" ", words))


class _Lines(list[str]):
    """Takes the rows of a ``csv`` writer whose lines end in CR LF, so that it quotes both; here they end in LF."""

    def write(self, row: str) -> None:
        """Write one row."""
        self.append(row.removesuffix("\r\n") + "\n")


def check_no_loose(root: Path, option: str) -> None:
    """Check that a table hides no pictures in ``root`` without one (``option`` named it). Raises OptionError."""
    if root.exists() and not root.is_dir():
        raise OptionError(f"{option} {root}: is no folder; give the folder of pictures, or a new one")
    if not root.is_dir() or (root / MANIFEST).exists():
        return
    for folder in sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith(".")):
        if any(file.suffix.lower() in SUFFIXES for file in folder.rglob("*")):
            raise OptionError(
                f"{option} {root}: has folders of pictures such as {folder.name!r}, no {MANIFEST}, and would be read "
                f"no more with one; take them in first (`bear-alarm gather folder {root} --out {root}`), or give a new "
                "folder"
            )


def csv_bytes(columns: Sequence[str], rows: Iterable[Values]) -> bytes:
    """Return a CSV table as UTF-8, lines end in LF; what a row lacks is empty."""
    lines = _Lines()
    writer = csv.DictWriter(lines, columns, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return "".join(lines).encode("utf-8")


@dataclass
class _Sheet:
    """One CSV file: its columns and rows as they were read, and as they are to be written."""

    path: Path
    columns: list[str]
    rows: list[dict[str, str]]
    stamp: tuple[int, int] | None  # of the file when it was read or written last
    changed: bool = False

    @classmethod
    def read(cls, path: Path, columns: Sequence[str]) -> Self:
        """Read the file, empty if there is none; ``columns`` that it lacks are added. Raises CatalogError."""
        stamp = _stamp(path)
        if stamp is None:
            return cls(path, list(columns), [], None)
        rows: list[dict[str, str]] = []
        try:
            with path.open(newline="", encoding="utf-8-sig") as opened:
                reader = csv.DictReader(opened, restval="")
                own = list(reader.fieldnames or [])
                for row in reader:
                    if None in row:
                        raise CatalogError(f"{path}, line {reader.line_num}: more values than columns; mend the line")
                    rows.append(dict(row))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CatalogError(f"{path}: cannot be read as a CSV table ({error}); save it as UTF-8 CSV") from None
        return cls(path, own + [name for name in columns if name not in own], rows, stamp)

    def write(self) -> None:
        """Put the rows in the file's place, in one step. Raises OptionError where it cannot be written."""
        replace_whole(self.path, csv_bytes(self.columns, self.rows))
        self.stamp, self.changed = _stamp(self.path), False


class Table:
    """The tables of one folder, held by this process until it is closed; use it in a ``with``, which writes them.

    Raises OptionError when the folder cannot be written or another process holds it, CatalogError when a table in
    it is damaged.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._pending: list[Callable[[], object]] = []  # since the last write, to be done again on another's table
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock: int | None = os.open(self.root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OptionError(f"{self.root}: cannot be written to ({error.strerror}); choose another --out") from None
        try:
            if not try_lock(self._lock):
                raise OptionError(
                    f"{self.root}: another program is gathering into it; wait for it, or choose another --out"
                )
            self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.write()  # after Ctrl-C too: what came stays
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the folder; what was not written is lost."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def rows(self) -> Sequence[Values]:
        """Return the pictures' rows, in the table's order."""
        return self._pictures.rows

    @property
    def left_out(self) -> Sequence[Values]:
        """Return what was looked at and left out: address or path, page, kind, words."""
        return self._out.rows

    def add(self, row: Values, boxes: Boxes = ()) -> None:
        """Add a picture, its boxes as fractions of it; its words are made ``plain_text``.

        Raises CatalogError when the file stands there already, or its name is no plain text.
        """
        if row["file"] in self._rows:
            raise CatalogError(f"{self._pictures.path}: {row['file']!r} stands there already")
        plain = self._plain(row)
        lines = [_box_row(row["file"], plain_text(name), box) for name, box in boxes]
        self._do(lambda: self._add(plain, lines))

    def change(self, file: str, values: Values) -> None:
        """Change some values of a picture's row; where its ``file`` changes, its boxes follow.

        Raises KeyError where there is no such row, CatalogError where the new name is no plain text.
        """
        if file not in self._rows:
            raise KeyError(file)
        plain = self._plain(values)
        self._do(lambda: self._change(file, plain))

    def leave_out(self, url: str, page: str, kind: str, words: str) -> None:
        """Remember what was left out and why; an address or path stands there once, with what was said last."""
        row = {"url": url, "page": page, "kind": kind, "words": words}
        plain = {name: plain_text(value) for name, value in row.items()}
        self._do(lambda: self._leave_out(plain))

    def let_in(self, url: str) -> None:
        """Forget that an address or path was left out, where it was."""
        if (plain := plain_text(url)) in self._left_out:
            self._do(lambda: self._let_in(plain))

    def write(self) -> None:
        """Bring what changed to the disk: boxes first, so that no picture is ever without its own.

        A table that somebody else has changed meanwhile is read again, and keeps their changes.
        """
        if not self._pending:
            return
        if any(sheet.stamp != _stamp(sheet.path) for sheet in self._sheets):
            self._read()
            for action in self._pending:
                action()
        for sheet in self._sheets:
            if sheet.changed:
                sheet.write()
        self._pending.clear()

    @property
    def _sheets(self) -> tuple[_Sheet, ...]:
        return self._boxes, self._pictures, self._out

    def _read(self) -> None:
        self._pictures = _Sheet.read(self.root / MANIFEST, COLUMNS)
        self._boxes = _Sheet.read(self.root / BOXES, BOX_COLUMNS)
        self._out = _Sheet.read(self.root / LEFT_OUT, LEFT_OUT_COLUMNS)
        for sheet, needed in ((self._pictures, ("file", "label")), (self._boxes, ("file",))):
            missing = [name for name in needed if sheet.rows and name not in sheet.rows[0]]
            if missing:
                raise CatalogError(f"{sheet.path}: column {missing[0]!r} is missing; give the right table")
        self._rows = {row["file"]: row for row in self._pictures.rows}
        self._left_out = {row.get("url", ""): row for row in self._out.rows}

    def _plain(self, values: Values) -> dict[str, str]:
        file = values.get("file", "")
        if file != plain_text(file):
            raise CatalogError(
                f"{str(self.root / file)!r}: its name is not UTF-8 text on one line; rename it, and run it again"
            )
        return {name: plain_text(value) for name, value in values.items()}

    def _do(self, action: Callable[[], object]) -> None:
        action()
        self._pending.append(action)

    def _add(self, row: Values, boxes: Sequence[dict[str, str]]) -> None:
        if row["file"] in self._rows:  # somebody else has added it meanwhile
            return
        self._take_columns(row)
        self._rows[row["file"]] = new = dict(row)
        self._pictures.rows.append(new)
        self._pictures.changed = True
        self._boxes.rows += boxes
        self._boxes.changed |= bool(boxes)

    def _change(self, file: str, values: Values) -> None:
        row = self._rows.pop(file, None)
        if row is None:  # somebody else has removed it meanwhile
            return
        self._take_columns(values)
        row.update(values)
        new = row["file"]
        self._rows[new] = row
        self._pictures.changed = True
        for box in self._boxes.rows if new != file else ():
            if box["file"] == file:
                box["file"] = new
                self._boxes.changed = True

    def _leave_out(self, row: dict[str, str]) -> None:
        there = self._left_out.get(row["url"])
        if there is None:
            self._left_out[row["url"]] = row
            self._out.rows.append(row)
        elif {**there, **row} == there:
            return
        else:
            there.update(row)
        self._out.changed = True

    def _let_in(self, url: str) -> None:
        if self._left_out.pop(url, None) is not None:
            self._out.rows = [row for row in self._out.rows if row.get("url") != url]
            self._out.changed = True

    def _take_columns(self, row: Iterable[str]) -> None:
        self._pictures.columns += [name for name in row if name not in self._pictures.columns]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _box_row(file: str, name: str, box: BoxXYWH) -> dict[str, str]:
    x, y, w, h = box
    corners = (x, y, x + w, y + h)
    if not (w > 0 and h > 0 and all(-1e-6 <= corner <= 1 + 1e-6 for corner in corners)):
        raise CatalogError(f"{file}: box {box} does not lie inside the picture; boxes are fractions of it")
    values = [f"{min(max(corner, 0.0), 1.0):.5f}" for corner in corners]
    return dict(zip(BOX_COLUMNS, (file, name, *values), strict=True))
