"""Keeping what came: checked, compared with what is there, written under its label, and a row added to the table."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator

from edge.detect.camera_check import is_grey
from edge.errors import OptionError, PictureError
from edge.files import replace_whole
from edge.pictures import picture_bytes, read_picture
from train.catalog.licences import find_licence
from train.catalog.picture import CAMERAS, SPLITS, name_inside
from train.catalog.read import UNSORTED
from train.catalog.table import Table, Values, plain_text
from train.gather.better import boxes_inside, brings_label, brings_licence, is_better, labels_differ
from train.gather.duplicates import Duplicates, phash
from train.gather.found import TRAIL_CAMERA, Failed, Found, photo_key, safe_name
from train.gather.looks import Look
from train.gather.tally import (
    BETTER,
    DUPLICATE,
    IN_THE_TABLE,
    LABELLED,
    LEFT_OUT_FOLDER,
    NEW,
    OTHER_LABEL,
    THERE,
    Tally,
)
from train.gather.verify import Checked, RefusedError, check

log = logging.getLogger(__name__)

EVERY, EVERY_S = 25, 5.0  # pictures and seconds between writes of the table

_SHA = re.compile(r"\bsha256=([0-9a-f]{64})\b")
_HASH = re.compile(r"\bphash=([0-9a-f]{16})\b")


class Keeper:
    """Takes pictures into a folder. ``track`` shows how far it is with hashing what was there before."""

    def __init__(
        self, table: Table, track: Callable[[Iterable[Values], str], Iterator[Values]] = lambda rows, _: iter(rows)
    ) -> None:
        self.table, self.tally = table, Tally()
        self._keys = {_key(row): "" for row in table.left_out if row.get("url")}  # to file; "" where there is none
        self._digests: dict[str, str] = {}  # of the bytes, to file
        self._rows = {row["file"]: row for row in table.rows}
        self._duplicates = Duplicates(self._look)
        self._parts = {row.get("split", "") for row in table.rows} & set(SPLITS)
        self._moved: list[str] = []  # files that the table names elsewhere once it is written
        self._unsaved, self._saved_at = 0, time.monotonic()
        for row in track(list(table.rows), "looking at the pictures that are there"):
            self._remember(row)

    def wants(self, found: Found) -> bool:
        """Whether a picture is neither there nor left out already; one that is, is counted.

        One that is there is wanted again with a label or a licence that it lacks.
        """
        key = found.key
        if not key:
            return True
        there = self._rows.get(self._keys.get(key, ""))
        lacks = there is not None and (brings_label(found, there) or brings_licence(found, there))
        if key in self._keys and not lacks:
            self.tally.count(THERE)
            return False
        self._keys[key] = ""  # offered twice in one run
        return True

    def take(self, found: Found, data: bytes | Failed) -> str:
        """Keep a picture, or say why not; returns the kind that is counted. Raises OptionError on a full disk."""
        kind, words = self._take(found, data)
        name = found.url or str(found.file or found.name)
        self.tally.count(kind, ": ".join(part for part in (name, words) if part) if words else "")
        if kind in IN_THE_TABLE:
            self.table.let_in(found.address)
        elif found.address and (not found.url or not isinstance(data, Failed) or data.for_good):
            self.table.leave_out(found.address, found.page, kind, words)
        self._unsaved += 1
        if self._unsaved >= EVERY or time.monotonic() - self._saved_at > EVERY_S:
            self.write()
        return kind

    def write(self) -> None:
        """Bring the table to the disk; what it names elsewhere from then on is removed. Raises OptionError."""
        self.table.write()
        self._unsaved, self._saved_at = 0, time.monotonic()
        for file in self._moved:
            try:
                (self.table.root / file).unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: stays where it was (%s)", self.table.root / file, error.strerror)
        self._moved.clear()

    def _take(self, found: Found, data: bytes | Failed) -> tuple[str, str]:
        if isinstance(data, Failed):
            return data.kind, data.words
        try:
            checked = check(data)
        except RefusedError as error:
            return error.kind, error.words
        code = phash(checked.image)
        twin, kind = self._digests.get(checked.sha256), THERE
        if twin is None:
            twin, kind = self._duplicates.find(checked.image, code, found.source, found.fixed_camera), DUPLICATE
        row = self._row(found, checked, code)
        if twin is not None:
            return self._compare(self._rows[twin], found, checked, row, data if kind == DUPLICATE else None)
        row["file"] = self._write(found, checked, data)
        self.table.add(row, boxes_inside(found, checked))
        self._remember(row, checked)
        return NEW, ""

    def _compare(
        self, there: Values, found: Found, checked: Checked, row: dict[str, str], data: bytes | None
    ) -> tuple[str, str]:
        """What becomes of a copy of the picture ``there``; ``data``: None where its bytes are the same."""
        if labels_differ(found, there):
            return OTHER_LABEL, f"stands in the table as {there['label']} ({there['file']}) and would be {found.label}"
        if is_better(found, checked, there):
            self._replace(there, found, checked, row, data)
            return BETTER, ""
        if brings_label(found, there) and (self.table.root / there["file"]).is_file():
            self._label(there, found)
            return LABELLED, ""
        return (THERE, "") if data is None else (DUPLICATE, f"the same as {there['file']}")

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
            "note": found.noted,
            "checks": f"{checked.words} phash={code:016x}",
            "split": self._part(found),
            "condition": CAMERAS[0] if found.trail_camera else "",
            "grey_or_ir": "1" if is_grey(checked.image) else "0",
        }

    def _part(self, found: Found) -> str:
        """Where the table says parts: that of the same group, else train; tests are not enlarged unasked."""
        if self._parts != set(SPLITS):
            return ""
        same = (row for row in self._rows.values() if _source(row) == found.source)
        parts = [
            row.get("split", "")
            for row in same
            if not found.group or (row.get("group_id") or row.get("group")) == found.group
        ]
        return next((part for part in parts if part in SPLITS), "train")

    def _write(self, found: Found, checked: Checked, data: bytes) -> str:
        """Write the file, unless it lies in the folder; returns its name there. Raises OptionError."""
        inside = name_inside(found.file, self.table.root) if found.file else None
        if inside and inside not in self._rows:
            return inside
        return self._put(
            f"{safe_name(found.label)}/{safe_name(found.source)}", safe_name(found.name) + checked.suffix, data
        )

    def _put(self, folder: str, name: str, data: bytes) -> str:
        """Write a file under its name, or one like it where another has that; returns where. Raises OptionError."""
        path = self.table.root / folder / name
        if path.exists() and path.read_bytes() != data:
            path = path.with_name(f"{path.stem}-{hashlib.sha256(data).hexdigest()[:8]}{path.suffix}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OptionError(f"{path.parent}: cannot be made ({error.strerror})") from None
        replace_whole(path, data)
        return f"{folder}/{path.name}"

    def _replace(self, there: Values, found: Found, checked: Checked, row: dict[str, str], data: bytes | None) -> None:
        """A better copy takes the row of ``there``: label, part, boxes and note stay.

        Where the table says a part, source and group stay too: a part holds whole groups. The old file moves away;
        where ``data`` is None its bytes are the same, and it stays.
        """
        old = there["file"]
        kept = {name: there[name] for name in ("label", "split", "note") if there.get(name)}
        if brings_label(found, there):
            del kept["label"]
        if there.get("split"):
            kept |= {name: there.get(name, "") for name in ("source", "group")}
        else:
            kept |= dict.fromkeys({"source_repo", "group_id"} & set(there), "")  # other names of what the row says
        row = row | kept | {"file": old if data is None else self._write(found, checked, data)}
        if there.get("url") and _key(there) != found.key:
            self.table.leave_out(there["url"], there.get("page", ""), DUPLICATE, f"gave way to {row['url']}")
        self._forget(old)
        self.table.change(old, row)
        self._remember({**there, **row}, checked)
        if data is None:
            return
        self.write()  # before the old file moves: a table never names what is gone
        away = self.table.root / LEFT_OUT_FOLDER / old
        try:
            away.parent.mkdir(parents=True, exist_ok=True)
            (self.table.root / old).replace(away)
        except OSError as error:
            log.warning("%s: stays where it was (%s)", self.table.root / old, error.strerror)

    def _label(self, there: Values, found: Found) -> None:
        """Give a picture that nobody had labelled its label; its file moves out of unsorted/."""
        old, new = (
            there["file"],
            {
                "label": found.label,
                "note": found.noted if there.get("note") in (None, "", TRAIL_CAMERA) else there["note"],
            },
        )
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
        """Know a row again; ``checked``: its picture, where it is at hand."""
        checks, file = row.get("checks") or "", row["file"]
        sha, code = _SHA.search(checks), _HASH.search(checks)
        self._rows[file] = row
        if row.get("url"):
            self._keys[_key(row)] = file
        if sha:
            self._digests[sha[1]] = file
        if code:
            self._duplicates.add(file, _source(row), int(code[1], 16), checked.image if checked else None)
        else:
            self._look_at(row)

    def _look_at(self, row: Values) -> None:
        """Hash a picture that came into the table without this program."""
        try:
            checked = check((self.table.root / row["file"]).read_bytes())
        except (OSError, RefusedError):  # training says what is wrong with it
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

    def _look(self, file: str) -> Look | None:
        try:
            return Look.of(read_picture(self.table.root / file))
        except PictureError:
            return None


def sha256_of(row: Values) -> str:
    """The digest of a row's file as it was gathered; "" where the table does not say."""
    found = _SHA.search(row.get("checks") or "")
    return found[1] if found else ""


def _key(row: Values) -> str:
    return plain_text(photo_key(row["url"]))


def _source(row: Values) -> str:
    return row.get("source_repo") or row.get("source") or ""
