"""Keeping what came: checked, compared with what is there, written under its label, and a row added to the table."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.atomic import replace_whole
from edge.errors import OptionError, PictureError
from edge.pictures import read_picture
from train.catalog.licences import find_licence
from train.catalog.picture import SPLITS, name_inside
from train.catalog.read import UNSORTED
from train.catalog.table import Table, Values
from train.gather.download import Failed
from train.gather.duplicates import Duplicates, Look, phash
from train.gather.found import Found, photo_key, safe_name
from train.gather.verify import Checked, RefusedError, check

log = logging.getLogger(__name__)

NEW, THERE, BETTER = "new", "already there", "better copies"
DUPLICATE, OTHER_LABEL = "duplicates", "duplicates of pictures with another label"
LEFT_OUT_FOLDER = "left-out"  # pictures that a better copy replaced
LARGER = 1.5  # times the pixels that make the same picture a better one
EVERY, EVERY_S = 25, 5.0  # pictures and seconds between writes of the table
KEPT_LOOKS = 64

_SHA = re.compile(r"\bsha256=([0-9a-f]{64})\b")
_HASH = re.compile(r"\bphash=([0-9a-f]{16})\b")
_SIZE = re.compile(r"\b(\d+)x(\d+)\b")


@dataclass
class Tally:
    """What became of the pictures that were offered, by kind, and a few words on some."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def count(self, kind: str, words: str = "") -> None:
        """One more of a kind."""
        self.counts[kind] += 1
        if words:
            self.examples.setdefault(kind, words)

    @property
    def kept(self) -> int:
        """How many came in, better copies of what was there included."""
        return self.counts[NEW] + self.counts[BETTER]

    def lines(self, out: Path, total: int) -> list[str]:
        """What to say at the end."""
        there = f", {self.counts[THERE]} were there already" if self.counts[THERE] else ""
        new = f"{self.counts[NEW]} new picture{'' if self.counts[NEW] == 1 else 's'}"
        lines = [f"{new} in {out}, which now has {total}{there}."]
        if self.counts[BETTER]:
            lines.append(
                f"{self.counts[BETTER]} are better copies of pictures that were there (by licence or size); "
                f"the old files lie in {out / LEFT_OUT_FOLDER}."
            )
        out_of = {kind: n for kind, n in self.counts.most_common() if kind not in (NEW, THERE, BETTER)}
        if out_of:
            lines.append("Left out: " + ", ".join(f"{n} {kind}" for kind, n in out_of.items()) + ".")
            lines += [f"  {kind}: {self.examples[kind]}" for kind in out_of if kind in self.examples]
        return lines


class Keeper:
    """Takes pictures into a folder. ``track`` shows how far it is with hashing what was there before."""

    def __init__(
        self, table: Table, track: Callable[[Iterable[Values], str], Iterator[Values]] = lambda rows, _: iter(rows)
    ) -> None:
        self.table, self.tally = table, Tally()
        self._keys = {photo_key(row["url"]) for row in (*table.rows, *table.left_out) if row.get("url")}
        self._digests: dict[str, str] = {}  # of the bytes, to file
        self._rows = {row["file"]: row for row in table.rows}
        self._looks: dict[str, Look | None] = {}
        self._duplicates = Duplicates(self._look)
        self._parts = {row.get("split", "") for row in table.rows} & set(SPLITS)
        self._unsaved, self._saved_at = 0, time.monotonic()
        for row in track(list(table.rows), "looking at the pictures that are there"):
            self._remember(row)

    def wants(self, found: Found) -> bool:
        """Whether a picture is neither there nor left out already; one that is, is counted."""
        if found.key and found.key in self._keys:
            self.tally.count(THERE)
            return False
        if found.key:
            self._keys.add(found.key)  # offered twice in one run
        return True

    def take(self, found: Found, data: bytes | Failed) -> str:
        """Keep a picture, or say why not; returns the kind that is counted. Raises OptionError on a full disk."""
        kind, words = self._take(found, data)
        name = found.url or str(found.file or found.name)
        self.tally.count(kind, f"{name}: {words}" if words else "")
        for_good = not isinstance(data, Failed) or data.for_good
        if kind not in (NEW, THERE, BETTER) and found.url and for_good:
            self.table.leave_out(found.url, found.page, kind, words)
        self._unsaved += 1
        if self._unsaved >= EVERY or time.monotonic() - self._saved_at > EVERY_S:
            self.table.write()
            self._unsaved, self._saved_at = 0, time.monotonic()
        return kind

    def _take(self, found: Found, data: bytes | Failed) -> tuple[str, str]:
        if isinstance(data, Failed):
            return data.kind, data.words
        try:
            checked = check(data)
        except RefusedError as error:
            return error.kind, error.words
        if checked.sha256 in self._digests:
            there = self._rows[self._digests[checked.sha256]]
            return _same(there, found, THERE)
        code = phash(checked.image)
        twin = self._duplicates.find(checked.image, code, found.source, found.fixed_camera)
        if twin is not None:
            there = self._rows[twin]
            kind, words = _same(there, found, DUPLICATE)
            if kind == OTHER_LABEL or not _better(found, checked, there):
                return kind, words
            self._replace(there, found, checked, code, data)
            return BETTER, ""
        row = self._row(found, checked, code)
        row["file"] = self._write(found, checked, data)
        self.table.add(row, _boxes(found, checked))
        self._remember(row)
        return NEW, ""

    def _row(self, found: Found, checked: Checked, code: int) -> dict[str, str]:
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
            "note": found.note,
            "checks": f"{checked.words} phash={code:016x}",
            "split": self._part(found),
        }

    def _part(self, found: Found) -> str:
        """Where the table says parts: that of the same group, else train; tests are not enlarged unasked."""
        if self._parts != set(SPLITS):
            return ""
        same = (row for row in self._rows.values() if row.get("source") == found.source)
        parts = [row.get("split", "") for row in same if not found.group or row.get("group") == found.group]
        return next((part for part in parts if part in SPLITS), "train")

    def _write(self, found: Found, checked: Checked, data: bytes) -> str:
        """Write the file, unless it lies in the folder; returns its name there. Raises OptionError."""
        inside = name_inside(found.file, self.table.root) if found.file else None
        if inside and inside not in self._rows:
            return inside
        folder = Path(safe_name(found.label)) / safe_name(found.source)
        stem = safe_name(found.name)
        name = folder / f"{stem}{checked.suffix}"
        if (self.table.root / name).exists() and (self.table.root / name).read_bytes() != data:
            name = folder / f"{stem}-{checked.sha256[:8]}{checked.suffix}"
        try:
            (self.table.root / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{self.table.root / folder}: cannot be made ({error.strerror})") from None
        replace_whole(self.table.root / name, data)
        return name.as_posix()

    def _replace(self, there: Values, found: Found, checked: Checked, code: int, data: bytes) -> None:
        """A better copy takes the row of ``there``: label, part, boxes and note stay, the old file moves away."""
        old = there["file"]
        row = self._row(found, checked, code)
        row |= {name: there[name] for name in ("label", "split", "note") if there.get(name)}
        row |= dict.fromkeys({"source_repo", "group_id"} & set(there), "")  # other names of what the row says itself
        row["file"] = self._write(found, checked, data)
        self._forget(old)
        self.table.change(old, row)
        self.table.write()  # before the old file moves: a table never names what is gone
        away = self.table.root / LEFT_OUT_FOLDER / old
        try:
            away.parent.mkdir(parents=True, exist_ok=True)
            (self.table.root / old).replace(away)
        except OSError as error:
            log.warning("%s: stays where it was (%s)", self.table.root / old, error.strerror)
        self._remember(row)

    def _remember(self, row: Values) -> None:
        checks = row.get("checks") or ""
        sha, code = _SHA.search(checks), _HASH.search(checks)
        self._rows[row["file"]] = row
        if sha:
            self._digests[sha[1]] = row["file"]
        source = row.get("source_repo") or row.get("source") or ""
        if code:
            self._duplicates.add(row["file"], source, int(code[1], 16))
        else:
            self._look_at(row, source)

    def _look_at(self, row: Values, source: str) -> None:
        """Hash a picture that came into the table without this program."""
        try:
            checked = check((self.table.root / row["file"]).read_bytes())
        except (OSError, RefusedError):  # training says what is wrong with it
            return
        code = phash(checked.image)
        self._digests[checked.sha256] = row["file"]
        self._duplicates.add(row["file"], source, code)
        self.table.change(
            row["file"], {"checks": f"{row.get('checks') or ''} {checked.words} phash={code:016x}".strip()}
        )

    def _forget(self, file: str) -> None:
        self._duplicates.forget(file)
        self._digests = {sha: name for sha, name in self._digests.items() if name != file}
        self._rows.pop(file, None)
        self._looks.pop(file, None)

    def _look(self, file: str) -> Look | None:
        if file not in self._looks:
            while len(self._looks) >= KEPT_LOOKS:
                self._looks.pop(next(iter(self._looks)))
            try:
                self._looks[file] = Look.of(read_picture(self.table.root / file))
            except PictureError:
                self._looks[file] = None
        return self._looks[file]


def sha256_of(row: Values) -> str:
    """The digest of a row's file as it was gathered; "" where the table does not say."""
    found = _SHA.search(row.get("checks") or "")
    return found[1] if found else ""


def _same(there: Values, found: Found, kind: str) -> tuple[str, str]:
    if found.label in (there["label"], UNSORTED):
        return kind, "" if kind == THERE else f"the same as {there['file']}"
    return OTHER_LABEL, f"stands in the table as {there['label']} ({there['file']}) and would be {found.label}"


def _better(found: Found, checked: Checked, there: Values) -> bool:
    """Whether a copy should take the place of the one that is there: by licence, else by size."""
    before, now = find_licence(there.get("licence")).ships, find_licence(found.licence, found.licence_url).ships
    if before != now:
        return now
    size = _SIZE.search(there.get("checks") or "")
    pixels = int(size[1]) * int(size[2]) if size else 0
    return bool(pixels) and checked.size_wh[0] * checked.size_wh[1] >= LARGER * pixels


def _boxes(found: Found, checked: Checked) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Boxes as fractions, cut at the picture's edge; what lies outside is no box."""
    w, h = checked.size_wh
    scaled = [(name, (box[0] / w, box[1] / h, box[2] / w, box[3] / h)) for name, box in found.boxes_px]
    boxes = []
    for name, (left, top, width, height) in (*found.boxes, *scaled):
        x1, y1 = max(left, 0.0), max(top, 0.0)
        x2, y2 = min(left + width, 1.0), min(top + height, 1.0)
        if x2 - x1 > 1e-4 and y2 - y1 > 1e-4:
            boxes.append((name, (x1, y1, x2 - x1, y2 - y1)))
    return boxes
