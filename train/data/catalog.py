"""Read the pictures of a manifest CSV, or of a folder with one sub-folder for each label. Needs no torch."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edge.errors import CatalogError
from edge.pictures import SUFFIXES
from edge.schema import BoxXYWH
from train.data.decisions import decided
from train.data.licences import NOT_STATED, counted, may_ship, stated
from train.data.pictures import (
    ALIASES,
    LABELS,
    SPLITS,
    UNSORTED,
    Catalog,
    Picture,
    label_of,
    table_digest,
    unknown_label,
)
from train.data.table import MANIFEST, read_csv

log = logging.getLogger(__name__)

CLIP_LABELS = ("video_bear", "video_no_bear")  # rows of a manifest that are clips, not stills


def read_catalog(path: Path | str, aliases: Mapping[str, str] | None = None, called: str | None = None) -> Catalog:
    """Return the catalogue of a manifest CSV, or of a folder with one sub-folder for each label.

    ``aliases`` maps further names to labels (``{"dog": "no_bear"}``). ``called``: the source of pictures that name
    none, by default the folder's or the manifest's name. Raises CatalogError with one sentence if a column, file or
    label is missing or unknown, or there are no pictures.
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

    Raises CatalogError if the table cannot be read.
    """
    table = folder / MANIFEST
    if not table.is_file():
        return {}
    return {
        (folder / (row.get("file") or "")).resolve(): stated(
            row.get("licence") or NOT_STATED, row.get("licence_url") or ""
        )
        for row in read_csv(table)[1]
    }


def source_name(path: Path) -> str:
    """Return the source of pictures that name none: their folder's name, or the manifest's."""
    manifest = path / MANIFEST if path.is_dir() else path
    return manifest.stem if manifest.exists() else path.resolve().name


def _resolve(named: str, names: Mapping[str, str], where: object) -> str:
    label = label_of(named, names)
    if label is None:
        raise CatalogError(f"{where}: {unknown_label(named)}")
    return label


def _from_folder(root: Path, names: Mapping[str, str], called: str) -> list[Picture]:
    pictures = []
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        # Hidden files are skipped: a Mac writes ``._IMG_0001.JPG`` on cards.
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
            # A sub-folder is a camera or burst; a picture outside one is a group of its own.
            group = inside if inside != "." else f"{folder.name}/{file.name}"
            pictures.append(Picture(file, label, called, group, named=folder.name))
    return pictures


def _from_manifest(manifest: Path, names: Mapping[str, str], called: str) -> list[Picture]:
    columns, rows = read_csv(manifest)
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
            raise CatalogError(f"{manifest}, line {number}: file {row['file']!r} is in the table twice; remove one row")
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
    """Warn if label folders have pictures that are not in the table: training does not use them."""
    known = {picture.file.resolve() for picture in pictures}
    loose = 0
    for folder in root.iterdir():
        if folder.is_dir() and label_of(folder.name, names):
            files = (file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
            loose += sum(file.resolve() not in known for file in files)
    if loose:
        log.warning(
            "%s: %d pictures in its folders are not in %s and are skipped; import them with "
            "`bear-alarm gather folder %s --out %s`",
            root, loose, MANIFEST, root, root,
        )  # fmt: skip


def _unsorted(count: int, root: Path) -> str:
    return (
        f"{root}: {count} unsorted picture{'s are' if count > 1 else ' is'} skipped; move the files in {UNSORTED}/ "
        f"into folders named by labels, then run `bear-alarm gather sort --out {root}`"
    )


def _read_boxes(table: Path) -> dict[str, list[BoxXYWH]]:
    """Return boxes by file from a table of corners ``file,class,x1,y1,x2,y2`` (fractions)."""
    boxes: dict[str, list[BoxXYWH]] = defaultdict(list)
    if not table.exists():
        return boxes
    for number, row in enumerate(read_csv(table)[1], start=2):
        try:
            x1, y1, x2, y2 = (float(row[name]) for name in ("x1", "y1", "x2", "y2"))
            file = row["file"]
            # Slightly outside is rounding; pixels, swapped corners and "nan" are not.
            if not (-0.01 <= x1 < x2 <= 1.01 and -0.01 <= y1 < y2 <= 1.01):
                raise ValueError
        except (KeyError, TypeError, ValueError):
            raise CatalogError(
                f"{table}, line {number}: expected file,class,x1,y1,x2,y2 with fractions 0 to 1, x1 < x2 and y1 < y2"
            ) from None
        left, top, right, bottom = (min(max(corner, 0.0), 1.0) for corner in (x1, y1, x2, y2))
        boxes[file].append((left, top, right - left, bottom - top))
    return boxes


def only_shippable(catalog: Catalog) -> Catalog:
    """Return the catalogue without pictures whose licence keeps a model from being passed on (``left_out``).

    Warns how many there are, by licence. Raises CatalogError if none are left.
    """
    kept = tuple(picture for picture in catalog.pictures if may_ship(picture.licence))
    out = tuple(picture for picture in catalog.pictures if not may_ship(picture.licence))
    if not out:
        return catalog
    words = (
        f"{catalog.root}: {len(out)} of {len(catalog.pictures)} pictures are skipped: a model trained on them may "
        f"not be passed on ({counted(picture.licence for picture in out)})"
    )
    if not kept:
        raise CatalogError(f"{words}; gather others, or train without --shippable")
    log.warning("%s", words)
    digest = table_digest(kept, catalog.root)
    return replace(catalog, pictures=kept, digest=digest, left_out=(*catalog.left_out, *out))
