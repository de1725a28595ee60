"""Keeping what came: checked, compared with what is there, written under its label, and a row added to the table."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from edge.detect.night import is_grey
from edge.errors import OptionError, PictureError
from edge.files import replace_whole
from edge.pictures import SUFFIXES, decode_picture, jpeg_is_whole, jpeg_or_none, picture_bytes, read_picture
from edge.schema import BoxXYWH, Picture
from train.data.gather.duplicates import Duplicates, Look, phash
from train.data.gather.found import (
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
    Found,
    Tally,
    need,
    photo_key,
    safe_name,
)
from train.data.licences import find_licence
from train.data.pictures import CAMERAS, SPLITS, TRAINING_LABELS, name_inside
from train.data.table import ALIASES, UNSORTED, Table, Values, plain_text, unknown_label

# What a person means by ``--label``: a label, a known name for one, or what is on the picture and its label.


def plain_label(words: str, more: Mapping[str, str] | None = None) -> tuple[str, str]:
    """Return the label, and a note on what is on the picture where the words say more than the label.

    ``grizzly`` → brown_bear, grizzly; ``dog=no_bear`` → no_bear, dog. Raises OptionError with one sentence.
    """
    name, _, label = words.partition("=")
    known = _plain(name)
    label = _plain(label) or (more or {}).get(known) or ALIASES.get(known, known)
    if label not in (*TRAINING_LABELS, UNSORTED):
        raise OptionError(unknown_label(words))
    return label, "" if known == label else name.strip()


def category_labels(options: Iterable[str], categories: Iterable[str]) -> dict[str, str]:
    """``["ursus americanus=black_bear"]`` → ``{"ursus americanus": "black_bear"}``, for categories a set has.

    A category may stand alone where it is itself a label or a known name of one. Raises OptionError.
    """
    there = list(categories)
    labels: dict[str, str] = {}
    for option in options:
        name = option.partition("=")[0].strip().lower()
        if name not in there:
            raise OptionError(f"--label {option!r}: the set has no category {name!r}; it has {', '.join(there[:30])}")
        labels[name] = plain_label(option)[0]
    return labels


def known_label(words: str) -> str:
    """Return the label that a table or a person means, by whatever name it is known: ``Bear`` is bear_any."""
    return ALIASES.get(_plain(words), _plain(words))


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


# Whether bytes are a still picture that can be trained on; what is not is refused with its kind.


SMALLEST_PX = 64  # of the shorter side; below, a bear of 45 pixels hardly fits in
MAX_PIXELS = 100_000_000  # a panorama that takes 300 MB decoded
# What Pillow calls the formats, and the suffix that says so. MPO is the JPEG of cameras with a preview in it.
FORMATS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}

EMPTY, TOO_SMALL, TOO_LARGE = "empty", "too small", "too large"
TRUNCATED, CORRUPT, ANIMATED, WRONG_TYPE = "truncated", "corrupt", "animated", "not a picture"


class RefusedError(Exception):
    """A picture is left out: of what kind, and in words. Caught inside this package."""

    def __init__(self, kind: str, words: str) -> None:
        self.kind, self.words = kind, words
        super().__init__(f"{kind}: {words}")


@dataclass(frozen=True)
class Checked:
    """A picture that can be trained on."""

    suffix: str
    size_wh: tuple[int, int]  # upright
    sha256: str
    image: Picture  # uint8 (H, W, 3) BGR

    @property
    def words(self) -> str:
        """Return what the table keeps of the check."""
        return f"{self.size_wh[0]}x{self.size_wh[1]} {self.suffix[1:]} sha256={self.sha256}"


def check(data: bytes) -> Checked:
    """Return the picture in a file's bytes. Raises RefusedError, MissingExtraError without Pillow."""
    if not data:
        raise RefusedError(EMPTY, "0 bytes")
    what = _opened(data)
    suffix, (width, height) = what
    if min(width, height) < SMALLEST_PX:
        raise RefusedError(TOO_SMALL, f"{width}x{height} pixels, and the shorter side must have {SMALLEST_PX}")
    if width * height > MAX_PIXELS:
        raise RefusedError(TOO_LARGE, f"{width}x{height} pixels, more than {MAX_PIXELS // 1_000_000} million")
    _decoded(data)
    try:
        image = decode_picture(data, "it")  # as training reads it
    except PictureError as error:
        raise RefusedError(CORRUPT, str(error).removeprefix("it: ")) from None
    size_wh = image.shape[1], image.shape[0]
    return Checked(suffix, size_wh, hashlib.sha256(data).hexdigest(), image)


def _opened(data: bytes) -> tuple[str, tuple[int, int]]:
    """Suffix and size, from the file's head."""
    pil = need("PIL.Image")
    try:
        with warnings.catch_warnings(action="ignore"), pil.open(io.BytesIO(data)) as opened:  # it warns of large ones
            kind, size, frames = opened.format or "", opened.size, int(getattr(opened, "n_frames", 1))
    except pil.DecompressionBombError:
        raise RefusedError(TOO_LARGE, f"more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except Exception:  # Pillow's readers raise whatever a damaged head leads to
        if jpeg_or_none(data):
            kind = TRUNCATED if not jpeg_is_whole(data) else CORRUPT
            raise RefusedError(kind, f"a JPEG of {len(data)} bytes that cannot be opened") from None
        raise RefusedError(WRONG_TYPE, _looks_like(data)) from None
    if kind == "GIF" and frames == 1:
        raise RefusedError(WRONG_TYPE, "a GIF, which training does not read")
    if frames > 1 and kind != "MPO":
        raise RefusedError(ANIMATED, f"{frames} pictures in one {kind}")
    if kind not in FORMATS:
        raise RefusedError(WRONG_TYPE, f"{kind or 'a format'} that training does not read")
    return FORMATS[kind], (int(size[0]), int(size[1]))


def _decoded(data: bytes) -> None:
    """Check that it can be decoded to its last row (OpenCV fills gaps with grey). Raises RefusedError."""
    pil = need("PIL.Image")
    if jpeg_or_none(data) and not jpeg_is_whole(data):
        raise RefusedError(TRUNCATED, f"a JPEG of {len(data)} bytes without its end")
    if jpeg_or_none(data) and (why := _damaged_jpeg(data)):
        raise RefusedError(CORRUPT, f"its data is damaged ({why})")
    try:
        with pil.open(io.BytesIO(data)) as opened:
            opened.load()
    except Exception as error:  # whatever damaged data leads to, in Pillow or in its codecs
        kind = TRUNCATED if "truncated" in str(error).lower() else CORRUPT
        raise RefusedError(kind, f"its data cannot be decoded ({str(error)[:80] or type(error).__name__})") from None


def _damaged_jpeg(data: bytes) -> str:
    """Return what FFmpeg finds wrong with a JPEG, of which OpenCV and Pillow only warn; "" if nothing."""
    codec: Any = av.CodecContext.create("mjpeg", "r")
    codec.options = {"err_detect": "explode"}
    codec.thread_count = 1
    try:
        frames = [*codec.decode(av.Packet(data)), *codec.decode(None)]
    except av.error.PatchWelcomeError:  # a kind of JPEG that it does not know
        return ""
    except av.FFmpegError as error:
        return str(error.strerror or error)[:80]
    return "" if frames else "no picture in it"


def _looks_like(data: bytes) -> str:
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")) or b"<html" in head:
        return "a web page (HTML)"
    if head.startswith((b"<?xml", b"<svg")):
        return "a drawing or text (XML, SVG)"
    if head.startswith((b"{", b"[")):
        return "data (JSON)"
    if data[4:8] == b"ftyp":
        return "a video, HEIC or AVIF, which training does not read"
    return f"{len(data)} bytes of no picture format"


# What an offered picture has that its copy in the table lacks: a label, a licence that ships, more pixels, boxes.


LARGER = 1.5  # times the pixels that make the same picture a better one

_SIZE = re.compile(r"\b(\d+)x(\d+)\b")


def labels_differ(found: Found, there: Values) -> bool:
    """Return True if both have a label, and not the same one by whatever name."""
    its_label, label = known_label(there["label"]), known_label(found.label)
    return UNSORTED not in (its_label, label) and its_label != label


def brings_label(found: Found, there: Values) -> bool:
    """Return True if nobody had labelled the picture that is there, and now it has a label."""
    return known_label(there["label"]) == UNSORTED != known_label(found.label)


def brings_licence(found: Found, there: Values) -> bool:
    """Return True if a model may be passed on with the offered copy and not with the one that is there."""
    return find_licence(found.licence, found.licence_url).ships and not _ships(there)


def is_better(found: Found, checked: Checked, there: Values) -> bool:
    """Return True if a copy should take the place of the one that is there: by licence, else by size."""
    if find_licence(found.licence, found.licence_url).ships != _ships(there):
        return brings_licence(found, there)
    size = _SIZE.search(there.get("checks") or "")
    pixels = int(size[1]) * int(size[2]) if size else 0
    return bool(pixels) and checked.size_wh[0] * checked.size_wh[1] >= LARGER * pixels


def boxes_inside(found: Found, checked: Checked) -> list[tuple[str, BoxXYWH]]:
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


def _ships(there: Values) -> bool:
    return find_licence(there.get("licence"), there.get("licence_url")).ships


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
        """Return True if a picture is neither there nor left out already; one that is, is counted.

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
        """Return what becomes of a copy of the picture ``there``; ``data``: None where its bytes are the same."""
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
        """Return where the table says parts: that of the same group, else train; tests are not enlarged unasked."""
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
        """Let a better copy take the row of ``there``: label, part, boxes and note stay.

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
    """Return the digest of a row's file as it was gathered; "" where the table does not say."""
    found = _SHA.search(row.get("checks") or "")
    return found[1] if found else ""


def _key(row: Values) -> str:
    return plain_text(photo_key(row["url"]))


def _source(row: Values) -> str:
    return row.get("source_repo") or row.get("source") or ""


# After a person has moved pictures between the folders of labels: the table is made to say the same.


@dataclass(frozen=True)
class Sorted:
    """Result of sorting."""

    moved: dict[str, int]  # how many pictures have which new label
    unsorted: int  # how many still lie unsorted
    gone: tuple[str, ...]  # files of the table that are nowhere
    strangers: tuple[str, ...]  # pictures in folders of labels that the table does not know
    folders: tuple[str, ...]  # of strangers and moved pictures, that name no label
    odd: tuple[str, ...]  # pictures whose names no table can hold


def sort_moved(out: Path) -> Sorted:
    """Give each picture that was moved into a label's folder that label, known by its bytes. Raises OptionError."""
    if not out.is_dir():
        raise OptionError(f"{out}: no such folder; give the one that pictures were gathered into with --out")
    moved: dict[str, int] = {}
    gone: list[str] = []
    unnamed: set[str] = set()
    with Table(out) as table:
        known = {row["file"] for row in table.rows}
        missing = {row["file"]: dict(row) for row in table.rows if not (out / row["file"]).is_file()}
        strangers = _strangers(out, known)
        odd = [name for name in strangers if plain_text(name) != name]
        strangers = [name for name in strangers if name not in odd]
        places = {_digest(out / name): name for name in strangers} if missing else {}
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
            strangers.remove(there)
            moved[label] = moved.get(label, 0) + 1
        left = sum(row.get("label") == UNSORTED for row in table.rows)
    return Sorted(moved, left, tuple(gone), tuple(strangers), tuple(sorted(unnamed)), tuple(odd))


def _strangers(out: Path, known: set[str]) -> list[str]:
    names = []
    for file in sorted(out.rglob("*")):
        inside = file.relative_to(out)
        if len(inside.parts) < 2 or inside.parts[0] == LEFT_OUT_FOLDER or any(p.startswith(".") for p in inside.parts):
            continue
        if file.suffix.lower() in SUFFIXES and inside.as_posix() not in known and file.is_file():
            names.append(inside.as_posix())
    return names


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
