"""Import pictures into a folder: check each, compare it with the present ones, write it, and add its row.

``sort_moved`` updates the table after a person has moved pictures between the label folders.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.detect.camera_check import is_grey
from edge.errors import OptionError, PictureError
from edge.files import replace_whole
from edge.pictures import SUFFIXES, picture_bytes, read_picture
from edge.schema import BoxXYWH
from train.data.decisions import digest_of
from train.data.gather.check import Checked, RefusedError, check
from train.data.gather.duplicates import Duplicates, Thumbnail, phash
from train.data.gather.offers import (
    BETTER,
    DUPLICATE,
    IN_THE_TABLE,
    LABELLED,
    LEFT_OUT_FOLDER,
    NEW,
    OTHER_LABEL,
    THERE,
    TRAIL_CAMERA,
    Failed,
    ImportCounts,
    Offer,
    photo_key,
    safe_name,
)
from train.data.licences import find_licence
from train.data.pictures import CAMERAS, SPLITS, TRAINING_LABELS, UNSORTED, known_label, name_inside
from train.data.table import Table, Values, plain_text

log = logging.getLogger(__name__)

LARGER = 1.5  # a copy with so many times the pixels is a better one
_SIZE = re.compile(r"\b(\d+)x(\d+)\b")


def labels_differ(found: Offer, there: Values) -> bool:
    """Return True if both have a label, and not the same one."""
    its_label, label = known_label(there["label"]), known_label(found.label)
    return UNSORTED not in (its_label, label) and its_label != label


def brings_label(found: Offer, there: Values) -> bool:
    """Return True if the present picture is unsorted and the offered copy has a label."""
    return known_label(there["label"]) == UNSORTED != known_label(found.label)


def brings_licence(found: Offer, there: Values) -> bool:
    """Return True if only the offered copy's licence lets a model be passed on."""
    return find_licence(found.licence, found.licence_url).ships and not _ships(there)


def is_better(found: Offer, checked: Checked, there: Values) -> bool:
    """Return True if a copy should replace the present one: by licence, else by size."""
    if find_licence(found.licence, found.licence_url).ships != _ships(there):
        return brings_licence(found, there)
    size = _SIZE.search(there.get("checks") or "")
    pixels = int(size[1]) * int(size[2]) if size else 0
    return bool(pixels) and checked.size_wh[0] * checked.size_wh[1] >= LARGER * pixels


def boxes_inside(found: Offer, checked: Checked) -> list[tuple[str, BoxXYWH]]:
    """Return the boxes as fractions, cut at the picture's edge, without those outside."""
    w, h = checked.size_wh
    scaled = [(name, (box[0] / w, box[1] / h, box[2] / w, box[3] / h)) for name, box in found.boxes_px]
    boxes = []
    for name, (left, top, width, height) in (*found.boxes, *scaled):
        x1, y1 = max(left, 0.0), max(top, 0.0)
        x2, y2 = min(left + width, 1.0), min(top + height, 1.0)
        if x2 - x1 > 1e-4 and y2 - y1 > 1e-4:
            boxes.append((name, (x1, y1, x2 - x1, y2 - y1)))
    return boxes


def _ships(there: Values) -> bool:
    return find_licence(there.get("licence"), there.get("licence_url")).ships


WRITE_EVERY, WRITE_EVERY_S = 25, 5.0  # pictures and seconds between writes of the table
SHA256 = re.compile(r"\bsha256=([0-9a-f]{64})\b")
_HASH = re.compile(r"\bphash=([0-9a-f]{16})\b")


class PictureImporter:
    """Imports pictures into a folder. ``track`` follows the hashing of the pictures that are in it before."""

    def __init__(
        self, table: Table, track: Callable[[Iterable[Values], str], Iterator[Values]] = lambda rows, _: iter(rows)
    ) -> None:
        self.table, self.counts = table, ImportCounts()
        self._keys = {_key(row): "" for row in table.skipped if row.get("url")}  # to file; "" if there is none
        self._digests: dict[str, str] = {}  # of the bytes, to file
        self._rows = {row["file"]: row for row in table.rows}
        self._duplicates = Duplicates(self._thumbnail)
        self._parts = {row.get("split", "") for row in table.rows} & set(SPLITS)
        self._moved: list[str] = []  # old names of files: removed once the table is written
        self._unsaved, self._saved_at = 0, time.monotonic()
        for row in track(list(table.rows), "reading the pictures in the folder"):
            self._remember(row)

    def wants(self, found: Offer) -> bool:
        """Return True if a picture is neither in the table nor skipped before; count it if it is.

        A picture in the table is wanted again with a label or a licence that it lacks.
        """
        key = found.key
        if not key:
            return True
        there = self._rows.get(self._keys.get(key, ""))
        lacks = there is not None and (brings_label(found, there) or brings_licence(found, there))
        if key in self._keys and not lacks:
            self.counts.add(THERE)
            return False
        self._keys[key] = ""  # offered twice in one run
        return True

    def take(self, found: Offer, data: bytes | Failed) -> str:
        """Import a picture or skip it; return the kind that was counted. Raises OptionError on a full disk."""
        kind, words = self._take(found, data)
        name = found.url or str(found.file or found.name)
        self.counts.add(kind, ": ".join(part for part in (name, words) if part) if words else "")
        if kind in IN_THE_TABLE:
            self.table.forget_skipped(found.address)
        elif found.address and (not found.url or not isinstance(data, Failed) or data.for_good):
            self.table.record_skipped(found.address, found.page, kind, words)
        self._unsaved += 1
        if self._unsaved >= WRITE_EVERY or time.monotonic() - self._saved_at > WRITE_EVERY_S:
            self.write()
        return kind

    def write(self) -> None:
        """Write the table, then remove files under their old names. Raises OptionError."""
        self.table.write()
        self._unsaved, self._saved_at = 0, time.monotonic()
        for file in self._moved:
            try:
                (self.table.root / file).unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: cannot be removed (%s)", self.table.root / file, error.strerror)
        self._moved.clear()

    def _take(self, found: Offer, data: bytes | Failed) -> tuple[str, str]:
        if isinstance(data, Failed):
            return data.kind, data.words
        try:
            checked = check(data)
        except RefusedError as error:
            return error.kind, error.words
        code = phash(checked.image)
        copy_of, kind = self._digests.get(checked.sha256), THERE
        if copy_of is None:
            copy_of, kind = self._duplicates.find(checked.image, code, found.source, found.fixed_camera), DUPLICATE
        row = self._row(found, checked, code)
        if copy_of is not None:
            return self._compare(self._rows[copy_of], found, checked, row, data if kind == DUPLICATE else None)
        row["file"] = self._write(found, checked, data)
        self.table.add(row, boxes_inside(found, checked))
        self._remember(row, checked)
        return NEW, ""

    def _compare(
        self, there: Values, found: Offer, checked: Checked, row: dict[str, str], data: bytes | None
    ) -> tuple[str, str]:
        """Handle a copy of the picture ``there``, and return its kind. ``data``: None if the bytes are the same."""
        if labels_differ(found, there):
            return OTHER_LABEL, f"is in the table as {there['label']} ({there['file']}) and would be {found.label}"
        if is_better(found, checked, there):
            self._replace(there, found, checked, row, data)
            return BETTER, ""
        if brings_label(found, there) and (self.table.root / there["file"]).is_file():
            self._label(there, found)
            return LABELLED, ""
        return (THERE, "") if data is None else (DUPLICATE, f"the same as {there['file']}")

    def _row(self, found: Offer, checked: Checked, code: int) -> dict[str, str]:
        licence = find_licence(found.licence, found.licence_url)
        return {
            "label": found.label,
            "group": found.group,
            "source": found.source,
            "url": found.url or found.known_by,
            "page": found.page,
            "author": found.author,
            "licence": licence.name or found.licence,
            "licence_url": found.licence_url or licence.url,
            "time": found.taken_at,
            "place": found.place,
            "note": found.full_note,
            "checks": f"{checked.words} phash={code:016x}",
            "split": self._part(found),
            "condition": CAMERAS[0] if found.trail_camera else "",
            "grey_or_ir": "1" if is_grey(checked.image) else "0",
        }

    def _part(self, found: Offer) -> str:
        """Return the part, if the table names parts: that of the same group, else train; the test part never grows."""
        if self._parts != set(SPLITS):
            return ""
        same = (row for row in self._rows.values() if _source(row) == found.source)
        parts = [
            row.get("split", "")
            for row in same
            if not found.group or (row.get("group_id") or row.get("group")) == found.group
        ]
        return next((part for part in parts if part in SPLITS), "train")

    def _write(self, found: Offer, checked: Checked, data: bytes) -> str:
        """Write the file, unless it is in the folder already; return its name there. Raises OptionError."""
        inside = name_inside(found.file, self.table.root) if found.file else None
        if inside and inside not in self._rows:
            return inside
        return self._put(
            f"{safe_name(found.label)}/{safe_name(found.source)}", safe_name(found.name) + checked.suffix, data
        )

    def _put(self, folder: str, name: str, data: bytes) -> str:
        """Write a file under its name, or with a digest if the name is taken; return the name. Raises OptionError."""
        path = self.table.root / folder / name
        if path.exists() and path.read_bytes() != data:
            path = path.with_name(f"{path.stem}-{hashlib.sha256(data).hexdigest()[:8]}{path.suffix}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{path.parent}: cannot be made ({error.strerror})") from None
        replace_whole(path, data)
        return f"{folder}/{path.name}"

    def _replace(self, there: Values, found: Offer, checked: Checked, row: dict[str, str], data: bytes | None) -> None:
        """Replace the picture of the row ``there`` by a better copy: label, part, boxes and note stay.

        If the row names a part, source and group stay too: a part has whole groups. The old file moves away, unless
        its bytes are the same (``data`` is None).
        """
        old = there["file"]
        kept = {name: there[name] for name in ("label", "split", "note") if there.get(name)}
        if brings_label(found, there):
            del kept["label"]
        if there.get("split"):
            kept |= {name: there.get(name, "") for name in ("source", "group")}
        else:
            kept |= dict.fromkeys({"source_repo", "group_id"} & set(there), "")  # other names of the same columns
        row = row | kept | {"file": old if data is None else self._write(found, checked, data)}
        if there.get("url") and _key(there) != found.key:
            self.table.record_skipped(there["url"], there.get("page", ""), DUPLICATE, f"replaced by {row['url']}")
        self._forget(old)
        self.table.change(old, row)
        self._remember({**there, **row}, checked)
        if data is None:
            return
        self.write()  # before the old file moves: a table never names a missing file
        away = self.table.root / LEFT_OUT_FOLDER / old
        try:
            away.parent.mkdir(parents=True, exist_ok=True)
            (self.table.root / old).replace(away)
        except OSError as error:
            log.warning("%s: cannot be removed (%s)", self.table.root / old, error.strerror)

    def _label(self, there: Values, found: Offer) -> None:
        """Give an unsorted picture its label; its file moves out of unsorted/."""
        old, note = there["file"], there.get("note")
        new = {"label": found.label, "note": found.full_note if note in (None, "", TRAIL_CAMERA) else there["note"]}
        folder, _, name = old.rpartition("/")
        if (inside := f"{folder}/").startswith(f"{UNSORTED}/"):
            data = picture_bytes(self.table.root / old)
            folder = f"{safe_name(found.label)}/{inside.removeprefix(f'{UNSORTED}/')}".rstrip("/")
            new["file"] = self._put(folder, name, data)
            self._moved.append(old)
        self._forget(old)
        self.table.change(old, new)
        self._remember({**there, "file": old, **new})

    def _remember(self, row: Values, checked: Checked | None = None) -> None:
        """Index a row, to recognise it later; ``checked``: its picture, if at hand."""
        checks, file = row.get("checks") or "", row["file"]
        sha, code = SHA256.search(checks), _HASH.search(checks)
        self._rows[file] = row
        if row.get("url"):
            self._keys[_key(row)] = file
        if sha:
            self._digests[sha[1]] = file
        if code:
            self._duplicates.add(file, _source(row), int(code[1], 16), checked.image if checked else None)
        else:
            self._hash(row)

    def _hash(self, row: Values) -> None:
        """Hash a picture that another program added to the table."""
        try:
            checked = check((self.table.root / row["file"]).read_bytes())
        except (OSError, RefusedError):  # training reports it
            return
        code = phash(checked.image)
        self._digests[checked.sha256] = row["file"]
        self._duplicates.add(row["file"], _source(row), code, checked.image)
        self.table.change(
            row["file"], {"checks": f"{row.get('checks') or ''} {checked.words} phash={code:016x}".strip()}
        )

    def _forget(self, file: str) -> None:
        row = self._rows.pop(file)
        self._duplicates.forget(file)
        self._digests = {sha: name for sha, name in self._digests.items() if name != file}
        if row.get("url"):
            self._keys[_key(row)] = ""

    def _thumbnail(self, file: str) -> Thumbnail | None:
        try:
            return Thumbnail.of(read_picture(self.table.root / file))
        except PictureError:
            return None


def _key(row: Values) -> str:
    return plain_text(photo_key(row["url"]))


def _source(row: Values) -> str:
    return row.get("source_repo") or row.get("source") or ""


def sha256_of(row: Values) -> str:
    """Return the digest of a row's file when it was gathered; "" if the table has none."""
    found = SHA256.search(row.get("checks") or "")
    return found[1] if found else ""


@dataclass(frozen=True)
class Sorted:
    """The result of sorting."""

    moved: dict[str, int]  # new label -> pictures
    unsorted: int  # pictures that are still unsorted
    gone: tuple[str, ...]  # files of the table that are missing
    unlisted: tuple[str, ...]  # pictures in label folders that are not in the table
    folders: tuple[str, ...]  # of unlisted and moved pictures: names that are no label
    odd: tuple[str, ...]  # pictures with names that a table cannot have


def sort_moved(out: Path) -> Sorted:
    """Relabel each picture that was moved into another label's folder, known by its bytes. Raises OptionError."""
    if not out.is_dir():
        raise OptionError(f"{out}: no such folder; give the one that pictures were gathered into with --out")
    moved: dict[str, int] = {}
    gone: list[str] = []
    unnamed: set[str] = set()
    with Table(out) as table:
        known = {row["file"] for row in table.rows}
        missing = {row["file"]: dict(row) for row in table.rows if not (out / row["file"]).is_file()}
        unlisted = _unlisted(out, known)
        odd = [name for name in unlisted if plain_text(name) != name]
        unlisted = [name for name in unlisted if name not in odd]
        places = {digest_of(out / name): name for name in unlisted} if missing else {}
        for file, row in missing.items():
            there = places.get(sha256_of(row))
            if there is None:
                gone.append(file)
                continue
            folder = there.split("/")[0]
            label = known_label(folder)
            if label not in (*TRAINING_LABELS, UNSORTED):
                unnamed.add(folder)
                continue
            table.change(file, {"file": there, "label": label})
            unlisted.remove(there)
            moved[label] = moved.get(label, 0) + 1
        left = sum(row.get("label") == UNSORTED for row in table.rows)
    return Sorted(moved, left, tuple(gone), tuple(unlisted), tuple(sorted(unnamed)), tuple(odd))


def _unlisted(out: Path, known: set[str]) -> list[str]:
    names = []
    for file in sorted(out.rglob("*")):
        inside = file.relative_to(out)
        if len(inside.parts) < 2 or inside.parts[0] == LEFT_OUT_FOLDER or any(p.startswith(".") for p in inside.parts):
            continue
        if file.suffix.lower() in SUFFIXES and inside.as_posix() not in known and file.is_file():
            names.append(inside.as_posix())
    return names
